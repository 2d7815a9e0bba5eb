"""The fenced blocks of a page, and what is said of them in comments that readers do not see.

Directly above a block there may be one comment:

``<!-- not run: why -->``         the block is not run, for this reason
``<!-- first: statements -->``    Python that is run before the block: what the page takes for granted
``<!-- check: statements -->``    Python that is run after it: what the page says of it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^<!-- (?P<word>[a-z ]+):(?P<said>[^\n]*?(?:\n.*?)?)-->\n)?"
    r"^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
COMMENTS = {"not run", "first", "check"}


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: The number of its first line.
        language: What follows the fence, such as ``python``.
        file: The name of the file that it is, if it has a title.
        text: What is in it.
        reason: Why it is not run; empty if it is.
        first: What is run before it.
        check: What is run after it.
    """

    line: int
    language: str
    file: str
    text: str
    reason: str
    first: str
    check: str

    @property
    def commands(self) -> list[str]:
        """The commands in it: each line, or in a transcript those behind a ``$``; a long one is joined."""
        joined = self.text.replace("\\\n", " ")
        if self.language == "console":
            return [line[2:].strip() for line in joined.splitlines() if line.startswith("$ ")]
        lines = [line.partition("  #")[0].strip() for line in joined.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Read the blocks of a page, in order.

    Raises:
        ValueError: If a comment directly above a block is none that is known.
    """
    text = page.read_text("utf-8")
    found = []
    for match in BLOCK.finditer(text):
        word, said = match["word"] or "", (match["said"] or "").strip()
        line = text.count("\n", 0, match.start("language")) + 1
        if word and word not in COMMENTS:
            msg = f"{page}:{line}: a comment above a block says one of {sorted(COMMENTS)}, not {word!r}"
            raise ValueError(msg)
        title = re.search(r'title="([^"]+)"', match["options"])
        found.append(
            Block(
                line=line,
                language=match["language"],
                file=title[1] if title else "",
                text=match["text"],
                reason=said if word == "not run" else "",
                first=said if word == "first" else "",
                check=said if word == "check" else "",
            )
        )
    return found
