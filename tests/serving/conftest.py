"""A registered model whose versions tell their own numbers, and a server of it in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from sklearn.dummy import DummyRegressor
from tests.ends.processes import child, until

from flowml.ops import promoting
from flowml.store.backend.connection import connect

ROOT = Path(__file__).parents[2]
ROWS = pd.DataFrame({"age": [30.0, 41.0], "income": [1.0, 2.5]})
ASKED = {"dataframe_split": ROWS.to_dict(orient="split")}


class Churn:
    """The registered model; each version predicts its own number.

    Args:
        folder: The project's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client: MlflowClient = connect().client
        mlflow.set_tracking_uri(connect().uri)

    def add(self, *, more: str = "", example: Any = ROWS, spoil: Callable[[Path], None] | None = None) -> str:
        """Register a version.

        Args:
            more: A requirement that is added.
            example: Its input example.
            spoil: Is given the folder of its files, to change them.

        Returns:
            Its number.
        """
        known = self.client.search_model_versions("name = 'churn'")
        number = 1 + max((int(one.version) for one in known), default=0)
        model = DummyRegressor(strategy="constant", constant=float(number)).fit(ROWS, [0.0, 1.0])
        signature = mlflow.models.infer_signature(ROWS, model.predict(ROWS))
        logged = mlflow.sklearn.log_model(
            model,
            name="churn",
            input_example=example,
            signature=signature,
            serialization_format="skops",
            pip_requirements=["mlflow", "scikit-learn", "skops", *([more] if more else [])],
        )
        if mlflow.active_run():
            mlflow.end_run()
        if spoil:
            spoil(Path(download_artifacts(logged.model_uri)))
        made = mlflow.register_model(logged.model_uri, "churn")
        assert int(made.version) == number
        return str(made.version)

    def promote(self, version: str, alias: str = "champion") -> None:
        """Give a version the alias."""
        promoting.promote("churn", promoting.wish(alias, who="ada", why="", version=version), expect="any")


@dataclass
class Server:
    """A running server.

    Attributes:
        process: Its process.
        log: What it said.
        url: Where it answers.
        headers: What each request brings.
    """

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def said(self) -> str:
        """Return all that it has said."""
        return self.log.read_text()

    def wait_for(self, line: str, seconds: float = 60) -> None:
        """Wait until it has said something."""
        until(lambda: line in self.said() or self._ended(), f"{line!r} in {self.said()}", seconds)
        assert line in self.said()

    def wait_until_it_is_told_where(self) -> None:
        """Wait until it says where it answers; or has ended."""
        until(lambda: "/invocations" in self.said() or self._ended(), "it says where")
        if found := re.search(r"at (http://\S+)/invocations", self.said()):
            self.url = found[1]

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def ask(self, body: Any = None, **headers: str) -> httpx.Response:
        """Ask the model."""
        return httpx.post(
            f"{self.url}/invocations", json=body or ASKED, headers={**self.headers, **headers}, timeout=60
        )


@pytest.fixture
def churn(project: Path) -> Churn:
    """A registered model without a version."""
    return Churn(project)


@pytest.fixture
def serve(project: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start `flowml serve-model`, and wait until it answers."""
    with ExitStack() as stack:

        def start(*arguments: str, ready: bool = True, **more: str) -> Server:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
            environment |= {"PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1", **more}
            log = tmp_path / f"serve-{len(list(tmp_path.glob('serve-*.log')))}.log"
            words = ["-m", "flowml", "serve-model", *arguments, "--every", "0.2s"]
            process = stack.enter_context(child(*words, log=log, environment=environment, folder=project))
            server = Server(process, log)
            until(
                lambda: re.search(r"at (http://\S+)/invocations", server.said()) or process.poll() is not None, "start"
            )
            if found := re.search(r"at (http://\S+)/invocations", server.said()):
                server.url = found[1]
            if ready:
                server.wait_for("which answers from now on")
                until(lambda: _answers(server.url) or process.poll() is not None, "it answers", every=0.05)
            return server

        yield start


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
