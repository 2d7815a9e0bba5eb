"""What the servers are given, by options, settings and defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowml import SettingsError, settings
from flowml.ops.servers.options import Choice, Wanted, choose


def chosen(**options: str) -> tuple[Choice, list[str]]:
    """Choose, with settings as they are now; and what the user is told."""
    said: list[str] = []
    settings.reload()
    return choose(Wanted(**options), said.append), [line for line in said if "Port" not in line]


def test_the_defaults_are_in_the_projects_home(project: Path) -> None:
    """Databases and artifacts are under .flowml, MLflow's where flows write to."""
    given, said = chosen()
    assert given.mlflow_db == f"sqlite:///{project}/.flowml/mlflow.db"
    assert given.prefect_db == f"sqlite:///{project}/.flowml/prefect/prefect.db"
    assert given.artifacts == (project / ".flowml" / "artifacts").as_uri()
    assert (given.host, said) == ("127.0.0.1", [])


def test_an_option_is_relative_to_here_and_a_setting_to_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each is read; and an option wins."""
    (project / "pyproject.toml").write_text('[tool.flowml]\nartifacts = "files"\nprefect_db = "p.db"\n')
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    given, _ = chosen()
    assert (given.artifacts, given.prefect_db) == ((project / "files").as_uri(), f"sqlite:///{project}/p.db")
    given, _ = chosen(artifacts="mine", prefect_db="q.db", mlflow_db="m.db")
    assert given.artifacts == (project / "below" / "mine").as_uri()
    assert given.prefect_db == f"sqlite:///{project}/below/q.db"
    assert given.mlflow_db == f"sqlite:///{project}/below/m.db"


@pytest.mark.parametrize("told", ["http://elsewhere:5000", "databricks", "databricks://profile"])
def test_flows_that_write_elsewhere_are_mentioned(project: Path, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """A tracking server is no database for ours, which then shows the project's own."""
    monkeypatch.setenv("FLOWML_TRACKING_URI", told)
    given, said = chosen()
    assert given.mlflow_db == f"sqlite:///{project}/.flowml/mlflow.db"
    assert said == [f"Flows do not write to the database of this MLflow server: they are told to use {told}."]


def test_the_database_that_flows_write_to_is_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking URI that is a database is what the server shows."""
    monkeypatch.setenv("FLOWML_TRACKING_URI", f"sqlite:///{project}/runs.db")
    given, said = chosen()
    assert (given.mlflow_db, said) == (f"sqlite:///{project}/runs.db", [])


@pytest.mark.usefixtures("project")
def test_a_server_is_no_database() -> None:
    """The option takes a file or a database, and says so."""
    with pytest.raises(SettingsError, match=r"--mlflow-db cannot be 'http://elsewhere:5000': it is a file, or a data"):
        chosen(mlflow_db="http://elsewhere:5000")
