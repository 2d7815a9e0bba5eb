"""What the README and the pages tell the reader to run, runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.pages.blocks import Block, blocks_of
from tests.pages.conftest import Reader
from tests.runs import all_runs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = {"text", "dockerfile", "yaml"}  # output, drawings, other programs' files
RUN = {"python", "sh", "console", "toml"}


def to_run(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    return [block for block in blocks_of(page) if not block.reason and block.language in RUN]


LONG = {"gate.md", "reproduce.md", "tests.md", "genai.md", "command-line.md", "tuning.md", "distributed.md"}
"""Pages whose commands take ten seconds or more: slow tests."""


def params() -> list[object]:
    """Each page; one whose commands are run takes longer, and is end to end."""
    found = []
    for page in PAGES:
        has_commands = any(block.commands and block.language in {"sh", "console"} for block in to_run(page))
        marks = [pytest.mark.e2e, pytest.mark.timeout(600)] if has_commands else []
        marks += [pytest.mark.slow] if page.name in LONG else []
        found.append(pytest.param(page, marks=marks, id=page.relative_to(ROOT).as_posix()))
    return found


def documented_tags() -> list[re.Pattern[str]]:
    """The tags on the page of tags; what is in angle brackets may be anything."""
    page = (ROOT / "docs" / "reference" / "tags.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
    named = [name for cell in cells for name in re.findall("`([^`]+)`", cell)]
    return [re.compile(re.sub(r"<[^>]*>", ".+", re.escape(name))) for name in named]


@pytest.mark.parametrize("page", params())
def test_all_that_a_page_says_runs(page: Path, reader: Reader, client: MlflowClient) -> None:
    """Each block of a page runs, or says in its source why not; the tags of its runs are on the page of tags."""
    for block in to_run(page):
        reader.do(block)
    tags = {tag for run in all_runs(client) for tag in run.data.tags if tag.startswith(("flowml.", "prefect."))}
    assert [tag for tag in sorted(tags) if not any(form.fullmatch(tag) for form in documented_tags())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_has_a_language(page: Path) -> None:
    """A block says what it is, so that none is passed over because nobody knows whether it runs."""
    assert {block.language for block in blocks_of(page)} <= SHOWN | RUN
    assert page.read_text("utf-8").count("\n```") == 2 * len(blocks_of(page))
