"""How long, as it is typed: 90s, 10m, 2h or 1d."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from flowml.formats import seconds

Duration = Annotated[float, cyclopts.Parameter(converter=lambda _, tokens: seconds(tokens[0].value))]
