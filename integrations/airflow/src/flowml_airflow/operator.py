"""The operator that runs a flow in an interpreter of its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from flowml_airflow.links import MLFLOW_URL, PREFECT_URL, FlowRunInPrefect, RunInMlflow
from flowml_airflow.process import FlowProcess, environment_of, folder_of
from flowml_airflow.versions import AirflowException, AirflowFailException, BaseOperator

_CANNOT_BE = 2  # the exit code of `flowml run` where the flow cannot be run as asked, however often


class FlowmlOperator(BaseOperator):
    """Runs a flow, tracked by flowml, in an interpreter that has flowml; ends as the flow ends.

    The flow's log becomes the task's. What the flow returns is the task's result in XCom, if it is JSON. The pages of
    the run in Prefect's and MLflow's UIs are buttons of the task. In MLflow the flow's run is below that of the DAG
    run, which all flows of a DAG run share.

    Args:
        flow: The flow, as ``flowml run`` takes it: ``flows/train.py:training`` or ``package.module:training``.
        python: The interpreter: that of an environment with flowml.
        parameters: The flow's parameters. They must be JSON.
        env: More environment variables of the flow, such as ``PREFECT_API_URL`` and ``MLFLOW_TRACKING_URI``.
        cwd: The folder that the flow is run in, and named from. Default: that of the DAG's file.
        grace: How many seconds a flow that is told to stop may take until it is killed.

    Example:
        >>> FlowmlOperator(
        ...     task_id="train",
        ...     flow="flows/train.py:training",
        ...     python="/venvs/flowml/bin/python",
        ...     parameters={"day": "{{ ds }}"},
        ... )
    """

    template_fields: Sequence[str] = ("flow", "python", "parameters", "env", "cwd")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "env": "json"}
    operator_extra_links = (FlowRunInPrefect(), RunInMlflow())
    ui_color = "#e8f1fb"

    def __init__(  # noqa: PLR0913 - each is given by its name
        self,
        *,
        flow: str,
        python: str,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        grace: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow = flow
        self.python = python
        self.parameters = parameters
        self.env = env
        self.cwd = cwd
        self.grace = grace
        self._process: FlowProcess | None = None

    def execute(self, context: Any) -> Any:
        """Run the flow, and return what it returned."""
        with tempfile.TemporaryDirectory(prefix="flowml-airflow-") as folder:
            given, outcome = Path(folder, "parameters.json"), Path(folder, "outcome.json")
            given.write_text(self._parameters_as_json(), "utf-8")
            code = self._run(context, given, outcome)
            said = _read(outcome)
        return self._result(code, said)

    def on_kill(self) -> None:
        """Cancel the flow: it has some time to end by itself, and to say so in Prefect and MLflow."""
        process = self._process
        if process is not None and process.stop(self.grace):
            self.log.warning(
                "The flow did not stop within %s seconds and was killed. Its runs stay open until `flowml reap` closes "
                "them.",
                self.grace,
            )

    def _run(self, context: Any, given: Path, outcome: Path) -> int:
        words = [self.python, "-m", "flowml", "run", self.flow, "--parameters", str(given), "--outcome", str(outcome)]
        environment = environment_of(os.environ, context_variables(context), self.env or {})
        folder = self.cwd or folder_of(getattr(self.dag, "fileloc", None))
        if shutil.which(self.python, path=environment.get("PATH")) is None:
            msg = f"python cannot be {self.python!r}: this worker has no such program. Name one that has flowml."
            raise AirflowFailException(msg)
        if folder is not None and not Path(folder).is_dir():
            msg = f"cwd cannot be {folder!r}: there is no such folder on this worker."
            raise AirflowFailException(msg)
        self.log.info("Running the flow %s with %s in %s", self.flow, self.python, folder or Path.cwd())
        process = self._process = FlowProcess(words, environment, folder, self._say)
        pages = _Pages(context["ti"], outcome)
        try:
            return process.wait(pages.push)
        finally:
            if process.code is None:  # Airflow's time is over, or the task is told to stop
                self.on_kill()
            self._push_last(pages, was_stopped=process.was_stopped)

    def _push_last(self, pages: _Pages, *, was_stopped: bool) -> None:
        try:
            pages.push()
        except Exception:
            if not was_stopped:
                raise
            self.log.debug("Airflow takes no XCom any more", exc_info=True)  # it has given the task up

    def _say(self, line: str) -> None:
        self.log.info("%s", line)

    def _parameters_as_json(self) -> str:
        parameters = self.parameters or {}
        if not isinstance(parameters, Mapping):
            msg = f"parameters cannot be {parameters!r}: they are a mapping of the flow's parameters by their names."
            raise AirflowFailException(msg)
        try:
            return json.dumps(dict(parameters), allow_nan=False)
        except (TypeError, ValueError) as error:
            msg = (
                f"parameters cannot be handed to the flow's process: {error}. They must be JSON: text, numbers, true "
                "or false, lists and mappings of these; name what is larger by its path."
            )
            raise AirflowFailException(msg) from None

    def _result(self, code: int, said: Mapping[str, Any]) -> Any:
        state = said.get("state")
        if code == 0 and state == "Completed":
            if problem := said.get("result_problem"):
                self.log.warning(
                    "%s XCom has None for it. Return what is JSON, such as a path or figures, or turn it off with "
                    "do_xcom_push=False.",
                    problem,
                )
            return said.get("result")
        if self._process and self._process.was_stopped:
            msg = f"The flow {self.flow} was stopped, and is {state or 'ended before it began'}."
            raise AirflowException(msg)
        if code == _CANNOT_BE and state is None:
            msg = f"The flow {self.flow} cannot be run with {self.python}: see the last lines above."
            raise AirflowFailException(msg)
        if state is None or state == "Running":
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            msg = f"The process of the flow {self.flow} {how}, and did not say what came of the flow; see above."
            raise AirflowException(msg)
        why = f": {said['error']}" if said.get("error") else ""
        msg = f"The flow {self.flow} is {state}{why}"
        raise AirflowException(msg)


class _Pages:
    """Gives the task's buttons their addresses, as soon as the flow's process tells them."""

    def __init__(self, instance: Any, outcome: Path) -> None:
        self._instance = instance
        self._outcome = outcome
        self._left = {PREFECT_URL: "prefect_url", MLFLOW_URL: "mlflow_url"}

    def push(self) -> None:
        said = _read(self._outcome) if self._left else {}
        for key, name in list(self._left.items()):
            if url := said.get(name):
                del self._left[key]
                self._instance.xcom_push(key=key, value=url)


def context_variables(context: Any) -> dict[str, str]:
    """Return the environment variables that tell a flow by which task of which DAG run it is run.

    They have the names that Airflow gives them for its own operators, and some more.
    """
    instance = context["ti"]
    found = {
        "AIRFLOW_CTX_DAG_ID": instance.dag_id,
        "AIRFLOW_CTX_DAG_RUN_ID": instance.run_id,
        "AIRFLOW_CTX_TASK_ID": instance.task_id,
        "AIRFLOW_CTX_TRY_NUMBER": instance.try_number,
        "AIRFLOW_CTX_MAP_INDEX": instance.map_index,
        "AIRFLOW_CTX_LOG_URL": getattr(instance, "log_url", None),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _read(outcome: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(outcome.read_text("utf-8"))
    except FileNotFoundError:
        return {}  # the flow did not begin
    return said
