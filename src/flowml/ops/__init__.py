"""What an operator does: look at runs, start and stop the local servers."""

from flowml.ops.choices import Wanted
from flowml.ops.down import down
from flowml.ops.show import show
from flowml.ops.status import status
from flowml.ops.up import Run

__all__ = ["Run", "Wanted", "down", "show", "status"]
