"""Who is told what of a deployment's runs: declared beside the flow, made Prefect's automations as triggers are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from flowml.errors import did_you_mean
from flowml.events import vocabulary

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.events import DeploymentEventTrigger

_LINKS = """
{% if event.payload.flow_run_url %}
Prefect: {{ event.payload.flow_run_url }}
{%- endif %}{% if event.payload.run_url %}
MLflow: {{ event.payload.run_url }}
{%- endif %}"""
_FAILED = """\
{{ flow_run.name }} is {{ flow_run.state.name }}{% if flow_run.state.message %}: {{ flow_run.state.message }}{% endif %}
"""
_PAGE = "\n\nPrefect, with the link to MLflow: "
_FINISHED = """\
{% for name, value in (event.payload.metrics or {}).items() %}
{%- if not loop.first %}
{% endif %}{{ name }}: {% if value is number %}{{ "%.4g"|format(value) }}{% else %}{{ value }}{% endif %}
{%- endfor %}"""
_REFUSED = """\
{{ event.payload.said }}.
{%- for each in event.payload.failed %}
{{ each }}
{%- endfor %}"""
_ASKED = """\
May version {{ event.payload.version }} of {{ event.payload.model }} be released?
The flow run's page asks for your answer."""
_PROMOTED = """\
{{ event.payload.alias_uri }} is version {{ event.payload.version }} now."""
_DRIFTED = """\
{{ event.payload.column }} has drifted
{%- if event.payload.drift %} by {{ "%.4g"|format(event.payload.drift) }}{% endif %}."""
_TRIGGERED = """\
{{ event.event }}
{%- for name in ["metric", "value", "dataset", "column", "drift", "alias_uri", "version", "path"] %}
{%- if event.payload[name] is defined %}
{{ name }}: {{ event.payload[name] }}
{%- endif %}{% endfor %}"""


class _Kind(NamedTuple):
    """What can be told of.

    Attributes:
        events: Prefect's names of it.
        labels: The labels that the event must have.
        said: It, for the subject.
        text: The message, as a template of Prefect's.
    """

    events: Collection[str]
    said: str
    text: str
    labels: Mapping[str, str | list[str]] = {}


KINDS: Mapping[str, _Kind] = {
    # Prefect's own events: a process that is killed, or whose MLflow is away, tells of nothing itself.
    "failed": _Kind({"prefect.flow-run.*"}, "failed", _FAILED, {"prefect.state-type": ["FAILED", "CRASHED"]}),
    "finished": _Kind({vocabulary.RUN_FINISHED}, "finished", _FINISHED + _LINKS, {"flowml.status": "FINISHED"}),
    "gate_refused": _Kind({vocabulary.GATE_REFUSED}, "the gate refused a candidate", _REFUSED + _LINKS),
    "awaiting_approval": _Kind({vocabulary.APPROVAL_ASKED}, "a version waits for approval", _ASKED + _LINKS),
    "promoted": _Kind(
        {vocabulary.MODEL_PROMOTED, vocabulary.PROMPT_PROMOTED}, "a version was promoted", _PROMOTED + _LINKS
    ),
    "drifted": _Kind({vocabulary.DATASET_DRIFTED}, "data has drifted", _DRIFTED + _LINKS),
}
"""What can be told of a deployment's own runs."""


@dataclass(frozen=True)
class Notify:
    """Tell people of what a deployment's runs come to, by a notification block of Prefect's: Slack, e-mail, a webhook.

    ``flowml serve`` and ``flowml deploy`` make an automation of each thing that it is about. The message says what it
    is, the metrics where there are any, and leads to both pages.

    Args:
        block: The block, ``"<type>/<name>"``, such as ``"slack-webhook/ml-team"``.
        on: What it tells of. Of the deployment's own runs: ``"failed"`` (crashed too), ``"finished"``,
            ``"gate_refused"``, ``"awaiting_approval"``, ``"promoted"``, ``"drifted"``. Of any run: one of flowml's
            triggers, such as ``OnMetric("cost_usd", above=5)``.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If the block is not named so, or there is no such thing to tell of.

    Example:
        >>> told = Notify("slack-webhook/ml-team", on=["failed", "awaiting_approval"])
        >>> nightly = Deployment(training, "nightly", schedule=Cron("0 2 * * *"), notify=[told])
    """

    block: str
    on: Sequence[Any] = ("failed",)

    def __post_init__(self) -> None:
        if not isinstance(self.block, str):
            msg = f"Notify(block=...) takes a text, not {self.block!r}."
            raise TypeError(msg)
        kind, slash, name = self.block.partition("/")
        if not (kind and slash and name) or "/" in name:
            msg = (
                f"Notify({self.block!r}) names no block: write its type and its name, as in 'slack-webhook/ml-team'. "
                "`prefect block ls` lists yours."
            )
            raise ValueError(msg)
        if isinstance(self.on, str) or not isinstance(self.on, Sequence):
            msg = f"Notify(on=...) takes a list, such as ['failed'], not {self.on!r}."
            raise TypeError(msg)
        if not self.on:
            msg = f"Notify({self.block!r}, on=[]) tells of nothing. It can tell of {', '.join(KINDS)}."
            raise ValueError(msg)
        for each in self.on:
            _check(each)

    def triggers(self, block_id: UUID, deployment: str, page: str | None) -> list[DeploymentEventTrigger]:
        """Return it in Prefect's form, an automation for each thing that is told.

        Args:
            block_id: The block's id.
            deployment: The deployment's full name.
            page: The address of a flow run in Prefect's UI, whose id is to be put in the place of ``{id}``.
        """
        from prefect.events.schemas.events import ResourceSpecification

        from flowml.events.automations import Notification

        made: list[DeploymentEventTrigger] = []
        for each in self.on:
            if isinstance(each, str):
                kind = KINDS[each]
                events, match, said = set(kind.events), ResourceSpecification(dict(kind.labels)), kind.said
                subject, text = f"{deployment}: {said}", kind.text
                if each == "failed" and page:
                    text += _PAGE + page.replace("{id}", "{{ flow_run.id }}")
            else:
                asked = each.automation_trigger()
                events, match, said = asked.expect, asked.match, asked.description.removeprefix("flowml: ")
                subject, text = said, _TRIGGERED + _LINKS
            name = f"{deployment} tells {self.block}: {said}"
            told = Notification(name=name, description=f"flowml: {said}", expect=events, match=match)
            told.send(block_id, subject, text, of_its_runs=isinstance(each, str))
            made.append(told)
        return made


def _check(each: Any) -> None:
    if isinstance(each, str):
        if each not in KINDS:
            hint = did_you_mean(each, tuple(KINDS), cutoff=0.4)
            msg = f"Notify(on=[{each!r}]) cannot be. {hint} It tells of {', '.join(KINDS)}, or takes a trigger."
            raise ValueError(msg.replace("  ", " "))
    elif isinstance(each, type) or not hasattr(each, "automation_trigger"):
        msg = f"Notify(on=...) takes {', '.join(map(repr, KINDS))}, or flowml's triggers, not {each!r}."
        raise TypeError(msg)
