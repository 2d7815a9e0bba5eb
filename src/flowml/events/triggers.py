"""What starts a deployment: declared beside the flow, made Prefect's automations when the deployment is applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.events import vocabulary
from flowml.events.judging import limit

if TYPE_CHECKING:
    from prefect.events import DeploymentEventTrigger

_DRIFT = 0.25


@dataclass(frozen=True, slots=True)
class OnModelPromoted:
    """Start the deployment when a version of a registered model is given an alias: by a flow, or by hand.

    By hand, in MLflow's UI or by its client, it is seen where `flowml webhooks` runs.

    Args:
        model: The registered model's name.
        alias: The alias.
        parameters: Parameters for the flow. Texts may be templates: ``"{{ event.payload.model_uri }}"``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If there is no name.

    Example:
        >>> scoring.to_deployment("score", triggers=[OnModelPromoted("churn").automation_trigger()])
    """

    model: str
    alias: str = "champion"
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OnModelPromoted", "model", self.model)
        _check_name("OnModelPromoted", "alias", self.alias)
        _check_parameters("OnModelPromoted", self.parameters)

    def automation_trigger(self) -> DeploymentEventTrigger:
        """Return what Prefect's ``to_deployment(triggers=[...])`` takes."""
        from flowml.events.automations import trigger

        labels = {vocabulary.ID: vocabulary.model(self.model), vocabulary.ALIAS: vocabulary.label(self.alias)}
        about = f"the model {self.model} has a new {self.alias}"
        return trigger(vocabulary.MODEL_PROMOTED, labels, about=about, parameters=self.parameters)


@dataclass(frozen=True, slots=True)
class OnPromptPromoted:
    """Start the deployment when `promote` or `rollback` gives a version of a prompt an alias.

    Args:
        prompt: The prompt's name.
        alias: The alias.
        parameters: Parameters for the flow. Texts may be templates: ``"{{ event.payload.prompt_uri }}"``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If there is no name.

    Example:
        >>> answering.to_deployment("answer", triggers=[OnPromptPromoted("summarize").automation_trigger()])
    """

    prompt: str
    alias: str = "production"
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OnPromptPromoted", "prompt", self.prompt)
        _check_name("OnPromptPromoted", "alias", self.alias)
        _check_parameters("OnPromptPromoted", self.parameters)

    def automation_trigger(self) -> DeploymentEventTrigger:
        """Return what Prefect's ``to_deployment(triggers=[...])`` takes."""
        from flowml.events.automations import trigger

        name = self.prompt.removeprefix("prompts:/")
        labels = {vocabulary.ID: vocabulary.prompt(name), vocabulary.ALIAS: vocabulary.label(self.alias)}
        about = f"the prompt {name} has a new {self.alias}"
        return trigger(vocabulary.PROMPT_PROMOTED, labels, about=about, parameters=self.parameters)


@dataclass(frozen=True, slots=True)
class OnMetric:
    """Start the deployment when a flow finishes with a metric beyond a limit, whichever flow it is.

    The metric's name is that on the flow's run: ``evaluate.auc`` is what the task `evaluate` logged as ``auc``. Not a
    number is beyond every limit. Runs of the deployment itself do not start it again.

    Args:
        metric: The metric's name.
        below: Start when it is less than this.
        above: Start when it is more than this.
        flow: Look at runs of this flow only.
        parameters: Parameters for the flow. Texts may be templates: ``"{{ event.payload.run_id }}"``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If there is no name or no limit, or every number would be beyond it.

    Example:
        >>> training.to_deployment("retrain", triggers=[OnMetric("evaluate.auc", below=0.9).automation_trigger()])
    """

    metric: str
    below: float | None = None
    above: float | None = None
    flow: str | None = field(default=None, kw_only=True)
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OnMetric", "metric", self.metric)
        if self.flow is not None:
            _check_name("OnMetric", "flow", self.flow)
        for side in ("below", "above"):
            _check_number("OnMetric", side, getattr(self, side))
        if self.below is None and self.above is None:
            msg = f"OnMetric({self.metric!r}) needs a limit: below=, above=, or both."
            raise ValueError(msg)
        if self.below is not None and self.above is not None and self.below > self.above:
            msg = (
                f"OnMetric(below={self.below}, above={self.above}) would start on every number: let below be the lower."
            )
            raise ValueError(msg)
        _check_parameters("OnMetric", self.parameters)

    def automation_trigger(self) -> DeploymentEventTrigger:
        """Return what Prefect's ``to_deployment(triggers=[...])`` takes."""
        from flowml.events.automations import trigger

        beyond = limit(self.below, self.above)
        labels = {vocabulary.ID: vocabulary.metric(self.metric), vocabulary.LIMIT: beyond}
        if self.flow is not None:
            labels[vocabulary.FLOW] = vocabulary.label(self.flow)
        about = f"{self.metric} is {beyond}"
        return trigger(vocabulary.METRIC_BREACHED, labels, about=about, parameters=self.parameters)


@dataclass(frozen=True, slots=True)
class OnDataset:
    """Start the deployment when a dataset that a flow logged has drifted since the run before, or changed at all.

    A drift is a population stability index above ``drift`` in any numeric column, against the last finished run of the
    same experiment that logged the dataset. It needs the percentiles that `Dataset(name, profile=True)` logs.

    Args:
        name: The dataset's name.
        drift: The index above which it has drifted; 0.1 is a slight change, 0.25 a great one.
        changed: Start at every change instead: when the content's fingerprint is another.
        flow: Look at runs of this flow only.
        parameters: Parameters for the flow. Texts may be templates: ``"{{ event.payload.column }}"``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If there is no name, or no drift is above the limit.
    """

    name: str
    drift: float = field(default=_DRIFT, kw_only=True)
    changed: bool = field(default=False, kw_only=True)
    flow: str | None = field(default=None, kw_only=True)
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OnDataset", "name", self.name)
        if self.flow is not None:
            _check_name("OnDataset", "flow", self.flow)
        if "'" in self.name and '"' in self.name:
            msg = (
                f"OnDataset({self.name!r}): MLflow cannot look for a name with both kinds of quotes; name it otherwise."
            )
            raise ValueError(msg)
        _check_number("OnDataset", "drift", self.drift)
        if self.drift is None or self.drift <= 0:
            msg = f"OnDataset(drift=...) takes a number above 0, such as {_DRIFT}, not {self.drift!r}."
            raise ValueError(msg)
        if not isinstance(self.changed, bool):
            msg = f"OnDataset(changed=...) takes True or False, not {self.changed!r}."
            raise TypeError(msg)
        _check_parameters("OnDataset", self.parameters)

    def automation_trigger(self) -> DeploymentEventTrigger:
        """Return what Prefect's ``to_deployment(triggers=[...])`` takes."""
        from flowml.events.automations import trigger

        event = vocabulary.DATASET_CHANGED if self.changed else vocabulary.DATASET_DRIFTED
        beyond = "changed" if self.changed else f"drift above {float(self.drift)!r}"
        labels = {vocabulary.ID: vocabulary.dataset(self.name), vocabulary.LIMIT: beyond}
        if self.flow is not None:
            labels[vocabulary.FLOW] = vocabulary.label(self.flow)
        return trigger(event, labels, about=f"the dataset {self.name}: {beyond}", parameters=self.parameters)


@dataclass(frozen=True, slots=True)
class OnFile:
    """Start the deployment when a file appears or changes, once for each file; `flowml watch-files` has to run.

    Args:
        pattern: Which files, such as ``"data/*.csv"`` or ``"data/**/*.csv"``; relative to the project's folder. It
            is looked for on the machine where `flowml watch-files` runs.
        parameters: Parameters for the flow. Texts may be templates: ``"{{ event.payload.path }}"``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If there is no pattern.

    Example:
        >>> training.to_deployment("on-data", triggers=[OnFile("data/*.csv").automation_trigger()])
    """

    pattern: str
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OnFile", "pattern", self.pattern)
        _check_parameters("OnFile", self.parameters)

    def automation_trigger(self) -> DeploymentEventTrigger:
        """Return what Prefect's ``to_deployment(triggers=[...])`` takes."""
        from flowml.events.automations import trigger

        pattern = str(settings.project_folder() / Path(self.pattern).expanduser())
        labels = {vocabulary.ID: vocabulary.files(pattern)}
        about = f"a file {pattern} appeared or changed"
        return trigger(vocabulary.FILE_CHANGED, labels, about=about, parameters=self.parameters, itself=True)


@dataclass(frozen=True, slots=True)
class OnEvent:
    """Start the deployment on any event of flowml's.

    Args:
        event: Its name, such as ``"flowml.run.finished"``.
        labels: The labels that its resource must have, such as ``{"flowml.flow": "ingest"}``; patterns as in Prefect.
        parameters: Parameters for the flow. Texts may be templates: ``"{{ event.payload.run_id }}"``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If flowml tells of no such event; the message says the nearest.
    """

    event: str
    labels: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OnEvent", "event", self.event)
        vocabulary.check(self.event)
        is_text = isinstance(self.labels, Mapping) and all(
            isinstance(part, str) for label in self.labels.items() for part in label
        )
        if not is_text:
            msg = f"OnEvent(labels=...) takes a mapping of text to text, not {self.labels!r}."
            raise TypeError(msg)
        _check_parameters("OnEvent", self.parameters)

    def automation_trigger(self) -> DeploymentEventTrigger:
        """Return what Prefect's ``to_deployment(triggers=[...])`` takes."""
        from flowml.events.automations import trigger

        is_file = self.event == vocabulary.FILE_CHANGED
        return trigger(self.event, self.labels, about=self.event, parameters=self.parameters, itself=is_file)


def _check_name(trigger: str, option: str, value: object) -> None:
    if not isinstance(value, str):
        msg = f"{trigger}({option}=...) takes a text, not {value!r}."
        raise TypeError(msg)
    if not value.strip():
        msg = f"{trigger}({option}=...) cannot be empty."
        raise ValueError(msg)


def _check_number(trigger: str, option: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        msg = f"{trigger}({option}=...) takes a number, not {value!r}."
        raise TypeError(msg)
    if value is not None and not math.isfinite(value):
        msg = f"{trigger}({option}=...) takes a finite number, not {value!r}."
        raise ValueError(msg)


def _check_parameters(trigger: str, value: object) -> None:
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(name, str) for name in value)):
        msg = f"{trigger}(parameters=...) takes a mapping from the flow's parameters, not {value!r}."
        raise TypeError(msg)
