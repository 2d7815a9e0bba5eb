"""What docs/how-to/serve.md tells people to send with curl: a real server answers as it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.pages.blocks import blocks_of
from tests.serving.conftest import ROOT, Server

PAGE = ROOT / "docs" / "how-to" / "serve.md"
WITH_TOKEN = "$CHURN_TOKEN"


def examples() -> Iterator[tuple[str, str]]:
    """Yield each curl command of the page, and what the page says is answered; empty if it says nothing."""
    for block in blocks_of(PAGE):
        for command in block.commands if block.language == "console" else ():
            if command.startswith("curl "):
                yield command, block.text.rstrip().splitlines()[-1] if "$ curl" in block.text else ""


def send(command: str) -> httpx.Response:
    """Send what curl would."""
    words = iter(shlex.split(command)[1:])
    url, headers, body = "", {"content-type": "application/x-www-form-urlencoded"}, None
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(":")
            headers[name.strip().lower()] = value.strip()
        elif word == "-d":
            body = next(words)
        else:
            assert not word.startswith("-"), f"the test knows no {word}"
            url = word
    return httpx.request("GET" if body is None else "POST", url, headers=headers, content=body, timeout=60)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_page_says_what_is_answered(project: Path, serve: Callable[..., Server]) -> None:
    """Each command is answered with what stands below it, whether curl sends it or another program."""
    (file,) = (block for block in blocks_of(PAGE) if block.file == "churn.py")
    (project / "churn.py").write_text(file.text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "churn.py"], cwd=project, env=environment, check=True, timeout=200)
    server, sent, number = serve("churn@champion", "--sample", "1"), 0, ""
    for example, told in examples():
        if WITH_TOKEN in example:  # test_serve_model.py sends it to a server that asks for one
            continue
        command, expected = (
            re.sub(r"\b[0-9a-f]{32}\b", number, text.replace("http://127.0.0.1:5001", server.url))
            for text in (example, told)
        )
        answer = send(command)
        number = answer.headers.get("x-request-id", number)
        assert answer.json() == json.loads(expected), command
        if shutil.which("curl"):
            words = [*shlex.split(command), "--silent", "--fail"]
            said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
            assert json.loads(said) == json.loads(expected)
        sent += 1
    assert sent == 2
