"""An audit as one HTML file: it needs nothing from elsewhere, prints well, and shows every name as text."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.resources import files

from flowml.ops.auditing.chain import Chain


def page_of(chain: Chain) -> str:
    """Return the page.

    Args:
        chain: What it shows.
    """
    from jinja2 import Environment

    text = files("flowml.ops.auditing").joinpath("page.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True).from_string(text)
    return template.render(chain=chain, written=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC")
