"""A reader who does what a page says, in a project of his own."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from tests.pages.blocks import Block
from tests.runs import run_of, runs_of

from flowml.cli import app
from flowml.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FLOWS = Path(__file__).parents[2] / "flows"


class Reader:
    """Does what the blocks of one page say, one after the other; what one defines, the next one knows.

    Checks know `run_of` and `runs_of` too.
    """

    def __init__(self, patch: pytest.MonkeyPatch, client: MlflowClient) -> None:
        self.patch = patch
        self.module = ModuleType("example")
        vars(self.module).update(run_of=partial(run_of, client), runs_of=partial(runs_of, client))
        patch.setitem(sys.modules, "example", self.module)

    def do(self, block: Block) -> None:
        """Run a block, or write the file that it is."""
        if block.first:
            self.run_python(block.first, f"before_line_{block.line}.py")
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text)
        elif block.language == "python":
            self.run_python(block.text, f"line_{block.line}.py")
        elif block.language in {"sh", "console"}:
            for command in block.commands:
                self.run_command(command)
        elif block.language == "toml":
            Settings(**tomllib.loads(block.text)["tool"]["flowml"])
        if block.check:
            self.run_python(block.check, f"after_line_{block.line}.py")

    def run_python(self, code: str, name: str) -> None:
        """Run statements; they are in a file, because Prefect reads the source of a flow."""
        path = Path(name)
        path.write_text(code)
        exec(compile(code, str(path.resolve()), "exec", dont_inherit=True), self.module.__dict__)

    def run_command(self, command: str) -> None:
        """Run a command of a page in this process, where the modules are loaded already."""
        match shlex.split(command.removesuffix(" | cat")):
            case ["export", *variables]:
                for name, _, value in (variable.partition("=") for variable in variables):
                    self.patch.setenv(name, value)
            case ["flowml", *words]:
                run_flowml(words)
            case ["python", file, *words]:
                self.patch.setattr(sys, "argv", [file, *words])
                runpy.run_path(file, run_name="__main__")
            case ["pytest", *words]:
                subprocess.run([sys.executable, "-m", "pytest", *words], check=True)
            case _:
                pytest.fail(f"nothing here runs `{command}`: say in a comment above the block why it is not run")


def run_flowml(words: list[str]) -> None:
    """Run the command ``flowml``; a run that ends with anything but 0 fails the test."""
    try:
        app.app(words, result_action="return_value")
    except SystemExit as ended:
        assert not ended.code, f"flowml {' '.join(words)} ended with {ended.code}"  # noqa: PT017 - 0 is a good end


@pytest.fixture
def reader(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in an empty project, which has the repository's folder of flows and no server of its own."""
    shutil.copytree(FLOWS, project / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(project)
    before = dict(sys.modules)
    environment = dict(os.environ)
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: project / "results"}):  # no result of another page is found
        yield Reader(monkeypatch, client)
    for name, module in list(sys.modules.items()):
        if name not in before and str(getattr(module, "__file__", "")).startswith(str(project)):
            del sys.modules[name]
    if (project / ".flowml" / "stack.json").exists():
        run_flowml(["down"])
    for name in set(os.environ) - set(environment):
        del os.environ[name]
