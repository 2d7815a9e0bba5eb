"""Nothing of flowml's waits for an import of the user's, nor the user's for one of flowml's."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from mlflow.tracking._model_registry.utils import get_registry_uri
from mlflow.utils.import_hooks import register_post_import_hook

from flowml.store.backend import connection

NEVER_LOADED = "this_is_no_module"


@pytest.fixture
def connected(project) -> None:
    """Connect to the project's store, as the first tracked call of a process does."""
    connection.connect()


@pytest.mark.slow
@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, marks=[pytest.mark.e2e, pytest.mark.timeout(400)]),
        pytest.param(5, marks=[pytest.mark.slow, pytest.mark.timeout(1600)]),
        pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
    ],
)
def test_a_program_that_imports_while_flowml_sends_does_not_hang(rounds, prefect_server, flowml_empty_store):
    """First imports in several tasks, evaluations and autologging meet flowml's sending, which imports nothing."""
    from prefect.settings import PREFECT_API_URL

    told = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "EMPTY_STORE": str(flowml_empty_store)}
    command = [sys.executable, str(Path(__file__).with_name("importing.py")), str(rounds)]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False)
    assert f"{rounds} rounds, failed: []" in done.stdout, done.stdout + done.stderr


def test_other_threads_can_import_while_a_hook_of_mlflows_runs(connected):
    """A hook for a module that is loaded already, as `evaluate` registers them, holds nothing that imports need."""
    called: list[object] = []

    def hook(module):
        other = threading.Thread(target=find_spec, args=[NEVER_LOADED])
        other.start()
        other.join(timeout=10)
        called.append((module.__name__, other.is_alive()))

    register_post_import_hook(hook, "threading")
    assert called == [("threading", False)]


@pytest.mark.filterwarnings("ignore::ImportWarning")  # MLflow's hooks load by a method that Python gave up
def test_a_hook_for_a_module_that_is_loaded_later_is_called_then(connected, tmp_path, monkeypatch):
    """Hooks of MLflow's for modules to come are kept, and called once with the module."""
    (tmp_path / "loaded_later.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    called: list[str] = []
    register_post_import_hook(lambda module: called.append(module.__name__), "loaded_later")
    assert not called
    importlib.import_module("loaded_later")
    assert called == ["loaded_later"]


def test_pyspark_is_not_looked_for_again_and_again(connected, tmp_path, monkeypatch):
    """Asking which registry is in force, as MLflow does for each version, searches for no module that is not there."""
    searched: list[str] = []

    class Noting:
        def find_spec(self, name, _path=None, _target=None):
            searched.append(name)

    monkeypatch.setattr(sys, "meta_path", [Noting(), *sys.meta_path])
    assert get_registry_uri()
    assert "pyspark" not in searched
