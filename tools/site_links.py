"""What the site needs beyond MkDocs: a page may link to files of the repository, and the site does not hold them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Leave the text of a link whose target is a file outside the folder of the pages.

    Args:
        markdown: The page's text.
        page: The page, of MkDocs.
        config: MkDocs' configuration.
        **_: What else MkDocs tells.

    Returns:
        The text with the links that the site can follow.
    """
    docs = Path(config.docs_dir).resolve()
    folder = docs / PurePosixPath(page.file.src_uri).parent

    def kept(link: re.Match[str]) -> str:
        is_page = (folder / link[2]).resolve().is_relative_to(docs)
        return link[0] if is_page else link[1]

    return LINK.sub(kept, markdown)
