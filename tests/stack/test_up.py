"""``flowml up`` with real servers, which all tests of this file share."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from flowml.stack import ports
from tests.stack.conftest import Project, urls

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FLOW = """
import subprocess, sys
from pathlib import Path
from flowml import flow

CHILD = "from prefect.settings import get_current_settings as now; print(now().api.url)"

@flow
def found(child: str) -> Path:
    note = Path("note.txt")
    note.write_text("written by a flow")
    return note

found(subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.strip())
"""

SEEN = "from flowml import flow; from prefect.settings import get_current_settings as now; print(now().api.url)"


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """Ask a server as any program would."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


def test_taken_ports_are_passed_over(running: tuple[Project, str]) -> None:
    """Where others listen, the next free port is taken and named."""
    said = running[1]
    assert "Port 4200 is taken: the prefect server takes" in said
    assert "Port 5000 is taken: the mlflow server takes" in said
    assert all(ask(url) for url in urls(said))


def test_a_flow_finds_both_with_nothing_set(running: tuple[Project, str]) -> None:
    """From a folder below, too: both servers have its run, MLflow's gives out its file, child processes find them."""
    project, said = running
    prefect, mlflow = urls(said)
    ran = project.python("-c", FLOW, below="below")
    assert ran.returncode == 0, ran.stderr
    (flow_run,) = ask(f"{prefect}/api/flow_runs/filter", {})
    assert flow_run["state_name"] == "Completed"
    assert flow_run["parameters"] == {"child": f"{prefect}/api"}

    api = f"{mlflow}/api/2.0/mlflow"
    experiment = ask(f"{api}/experiments/get-by-name?experiment_name=found")["experiment"]
    (run,) = ask(f"{api}/runs/search", {"experiment_ids": [experiment["experiment_id"]]})["runs"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["prefect.flow_run_id"] == flow_run["id"]
    run_id = run["info"]["run_id"]
    files = [file["path"] for file in ask(f"{api}/artifacts/list?run_id={run_id}")["files"]]
    (note,) = [path for path in files if path.endswith("note.txt")]
    query = urllib.parse.urlencode({"path": note, "run_uuid": run_id})
    assert ask(f"{mlflow}/get-artifact?{query}") == "written by a flow"


@pytest.mark.parametrize("where", ["nothing", "environment", "prefect.toml", "profile", "switched off"])
def test_what_the_user_says_wins(running: tuple[Project, str], tmp_path: Path, where: str) -> None:
    """The environment, prefect.toml and a profile come before the local server; so does FLOWML_ENABLED=false."""
    project, said = running
    url, variables = "http://127.0.0.1:1/api", {"HOME": str(tmp_path)}
    toml = project.folder / "below" / "prefect.toml"
    if where == "environment":
        variables["PREFECT_API_URL"] = url
    elif where == "prefect.toml":
        toml.write_text(f'[api]\nurl = "{url}"\n')
    elif where == "profile":
        (tmp_path / ".prefect").mkdir()
        (tmp_path / ".prefect" / "profiles.toml").write_text(
            f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n'
        )
    elif where == "switched off":
        variables["FLOWML_ENABLED"] = "false"
    seen = project.python("-c", SEEN, below="below", **variables)
    toml.unlink(missing_ok=True)
    expected = {"nothing": f"{urls(said)[0]}/api", "switched off": "None"}
    assert seen.stdout.strip() == expected.get(where, url), seen.stderr


def test_a_second_start_finds_the_first(running: tuple[Project, str]) -> None:
    """From a folder below, too, it says that the servers run, and where."""
    project, said = running
    again = project.flowml("up", "--detach", below="below")
    assert again.returncode == 0
    assert "The servers of this project run already" in again.stdout
    assert urls(again.stdout) == urls(said)


def test_options_that_come_too_late_are_named(running: tuple[Project, str]) -> None:
    """What cannot be changed while the servers run is said, not passed over."""
    again = running[0].flowml("up", "--detach", "--mlflow-port", "5999", "--artifacts", "elsewhere")
    assert again.returncode == 0
    assert "--artifacts --mlflow-port changes nothing now" in again.stdout


def test_it_says_what_it_waits_for(running: tuple[Project, str]) -> None:
    """Each server with its address and its log, from the folder that it was started in."""
    assert all(f"its log is .flowml/logs/{name}.log" in running[1] for name in ("prefect", "mlflow"))


def test_status_is_for_people_and_programs(running: tuple[Project, str]) -> None:
    """It ends with 0, has the line that the command ``prefect`` needs, and says what wins over the servers."""
    project, said = running
    prefect, _ = urls(said)
    told = project.flowml("status", PREFECT_API_URL="http://127.0.0.1:1/api")
    assert told.returncode == 0
    assert f"export PREFECT_API_URL={prefect}/api" in told.stdout
    assert "PREFECT_API_URL is set here, and wins" in told.stdout
    data = json.loads(project.flowml("status", "--json").stdout)
    assert data["running"] is True
    assert data["servers"]["prefect"]["url"] == prefect
    assert data["tracking_uri"] == f"sqlite:///{project.folder}/.flowml/mlflow.db"


def test_logs_are_shown_from_their_end(running: tuple[Project, str]) -> None:
    """One server's, or both with a heading; as many lines as asked for."""
    project, _ = running
    assert len(project.flowml("logs", "mlflow", "--lines", "2").stdout.splitlines()) == 2
    both = project.flowml("logs").stdout
    assert both.index("prefect.log") < both.index("mlflow.log")
    assert "http://127.0.0.1" in both


def test_the_page_of_a_run_is_on_the_local_server(running: tuple[Project, str]) -> None:
    """``flowml show`` names both addresses."""
    project, said = running
    shown = project.flowml("show", "found").stdout
    assert all(url in shown for url in urls(said))


def test_down_leaves_nothing(running: tuple[Project, str]) -> None:
    """No process, no taken port, no file that names the servers; the runs stay. The last of this file."""
    project, said = running
    stopped = project.flowml("down", below="below")
    assert stopped.returncode == 0, stopped.stderr
    assert project.processes() == []
    for url in urls(said):
        assert ports.is_free("127.0.0.1", int(url.rpartition(":")[2]))
    assert not (project.folder / ".flowml" / "stack.json").exists()
    assert (project.folder / ".flowml" / "mlflow.db").exists()
    assert project.python("-c", SEEN).stdout.strip() == "None"
