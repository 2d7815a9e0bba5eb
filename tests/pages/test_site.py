"""The site of the pages, as `make docs` builds it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Fetched(HTMLParser):
    """Collects what a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of a script, a style, a picture or a frame."""
        self.addresses += [value or "" for name, value in attrs if name == FETCHED.get(tag)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Without MkDocs these tests are skipped; in CI they fail."""
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("MkDocs is not installed; `make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    """MkDocs has nothing to warn of, and each page of the folder is in the site."""
    docs = ROOT / "docs"
    pages = [page.relative_to(docs).with_suffix(".html") for page in docs.rglob("*.md")]
    assert [page for page in pages if not (site / page).is_file()] == []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    """No page has a script, style, font or picture of another host, and no style refers to one."""
    fetched = []
    for page in site.rglob("*.html"):
        reader = Fetched()
        reader.feed(page.read_text("utf-8"))
        fetched += [address for address in reader.addresses if re.match(r"(https?:)?//", address)]
    for style in site.rglob("*.css"):
        fetched += re.findall(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')]+)", style.read_text("utf-8"))
    assert fetched == []


def test_the_reference_has_every_public_name(site: Path) -> None:
    """Each public name of the package has its entry in the page of the Python API, with a signature."""
    import flowml

    shown = (site / "reference" / "api.html").read_text("utf-8")
    old = {"carry", "describe"}
    assert [name for name in flowml.__all__ if name not in old and not re.search(rf'id="[^"]*\b{name}"', shown)] == []
