"""Names of any kind in Markdown."""

from __future__ import annotations

import html

import pytest

from flowml import formats


@pytest.mark.parametrize("name", ["a|b", "`rm`", "[x](y)", "<b>", "*a*", "_a_", "@ada", ":smile:", "http://x", "a\\|b"])
def test_a_name_is_read_as_it_is(name: str) -> None:
    """Nothing in a name is Markdown, HTML, a mention or a link; a reader sees the name."""
    written = formats.text(name)
    assert html.unescape(written) == name
    assert not set("|`[]<>*@:") & set(written)


def test_a_name_is_one_short_line() -> None:
    """Line ends would end a table's row, and long names push the rest out of sight."""
    assert formats.text("a\nb\r\n\tc") == "a b c"
    assert formats.text("load_data") == "load_data"
    assert formats.text("x" * 100, most=10) == "x" * 9 + "…"


def test_an_address_cannot_leave_its_link() -> None:
    """Brackets, spaces and line ends in an address are encoded."""
    assert formats.link("a", "http://x/) [b](c\n|") == "[a](http://x/%29%20%5Bb%5D%28c%0A%7C)"
    assert formats.link("a|b", None) == "a&#124;b"
