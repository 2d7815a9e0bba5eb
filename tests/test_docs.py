"""What the README and the pages say is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cyclopts.argument import Argument
from mlflow import MlflowClient

from flowml.cli import app
from tests.pages.blocks import blocks_of
from tests.runs import run_of, runs_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_readmes_first_example_is_the_hello_flow(client: MlflowClient) -> None:
    """The example runs as it stands, is that of flows/hello.py, and leaves the runs that the README shows."""
    readme = (ROOT / "README.md").read_text()
    example = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    copied = (ROOT / "flows" / "hello.py").read_text()
    body = example.partition("\n\n\n")[2].rpartition("\n\n\n")[0]
    assert body in copied
    path = Path("hello.py")
    path.write_text(example)
    exec(compile(example, str(path.resolve()), "exec"), {"__name__": "example"})
    root = run_of(client, "hello")
    assert root.data.params == {"names": '["Ada", "Grace", "Katherine"]'}
    assert root.data.metrics["best"] == 18
    assert sorted(run.data.metrics["score"] for run in runs_of(client, "score")) == [6, 10, 18]


def test_every_example_of_migrating_runs(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand and without a tracker call the search gives the same, and the author's search finds a run of his own."""
    page = (ROOT / "docs" / "moving" / "mlflow.md").read_text()
    by_hand, without, registering = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = [_run(Path(f"{name}.py"), code, capsys) for name, code in (("by_hand", by_hand), ("without", without))]
    best = client.get_run(printed[0])
    assert best.info.run_name == "ridge-0.1"
    assert best.data.metrics["r2"] == pytest.approx(float(printed[1]))
    assert {client.get_experiment(run.info.experiment_id).name for run in runs_of(client, "fit")} == {"ridge-search"}
    assert [run.data.metrics.get("r2") for run in runs_of(client, "fit")].count(None) == 2
    assert _run(Path("registering.py"), registering, capsys) == "1"
    assert run_of(client, "tune").data.params["learning_rate"] == "0.1"
    assert run_of(client, "tune").data.params["sampler"] == "grid"
    assert run_of(client, "refit").data.params["max_iter"] == "20"


def _run(path: Path, code: str, capsys: pytest.CaptureFixture[str]) -> str:
    path.write_text(code)
    capsys.readouterr()
    exec(compile(code, str(path.resolve()), "exec"), {"__name__": "example"})
    return capsys.readouterr().out.strip().splitlines()[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the project."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_picture_is_made_and_shown() -> None:
    """tools/pictures.py makes each picture of the folder and no other, and a page shows it."""
    made = re.findall(r'^    "([\w-]+\.png)":', (ROOT / "tools" / "pictures.py").read_text(), re.MULTILINE)
    shown = {Path(link).name for page in PAGES for link in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())}
    assert sorted(made) == sorted(shown) == sorted(path.name for path in (ROOT / "docs" / "images").iterdir())


def test_every_command_is_on_a_page() -> None:
    """Each command of the program is described, and each of its options where it has a section of its own."""
    reference = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    sections = dict(re.findall(r"^## flowml (\w+)\n(.*?)(?=^## |\Z)", reference, re.DOTALL | re.MULTILINE))
    pages = [page.read_text() for page in PAGES]
    commands = [name for name in app.app if not name.startswith("-")]
    assert set(sections) <= set(commands)
    assert [name for name in commands if not any(f"flowml {name}" in page for page in pages)] == []
    for name, section in sections.items():
        options = [argument.names[0] for argument in _arguments(name)]
        missing = [option for option in options if option.startswith("--") and f"{option}" not in section]
        assert missing == [], f"flowml {name}"


def test_every_command_that_a_page_names_is_there() -> None:
    """No page, not even in a block that is not run, names a command or an option that the program does not have."""
    commands = {name for name in app.app if not name.startswith("-")}
    wrong = []
    for page in PAGES:
        shown = [line for block in blocks_of(page) if block.language in {"sh", "console"} for line in block.commands]
        for line in [*shown, *re.findall(r"`(flowml [^`\n]+)`", page.read_text())]:
            for name, rest in re.findall(r"^flowml (\w[\w-]*)(.*)", line):
                options = {option for one in _arguments(name) for option in one.names} if name in commands else set()
                named = set(re.findall(r"(?<= )--?[a-z][\w-]*", rest))
                if name not in commands or not named <= {*options, "--help"}:
                    wrong.append(f"{page.name}: {line}")
    assert wrong == []


def _arguments(command: str) -> list[Argument]:
    """The arguments of a command, or of all that a group of them has."""
    one = app.app[command]
    each = [one] if one.default_command else [one[name] for name in one if not name.startswith("-")]
    return [argument for command in each for argument in command.assemble_argument_collection()]


def test_every_target_that_a_page_names_is_there() -> None:
    """Each target of make that is named on a page is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert named <= targets
