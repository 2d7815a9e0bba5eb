"""What is declared beside a flow: under which name it runs by itself, when, and with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from flowml.deploy import parameters as flow_parameters
from flowml.deploy.applying import for_serving
from flowml.deploy.schedules import as_prefects
from flowml.errors import DeploymentError
from flowml.events.notify import Notify

if TYPE_CHECKING:
    import prefect
    from prefect.deployments.runner import RunnerDeployment

_BANNED = "/%&<>"  # Prefect's, in names


@dataclass(frozen=True, eq=False)
class Deployment:
    """A flow that runs by itself; declare it in the flow's file, as an object of the module.

    ``flowml serve`` and ``flowml deploy`` find it there.

    Args:
        flow: The flow.
        name: The deployment's name. With the flow's it makes the full one, such as ``training/nightly``.
        schedule: When it runs: `Cron`, `Interval`, `RRule`, one of Prefect's own, or a list of those. None: when it is
            asked to.
        parameters: The flow's parameters, where they differ from its defaults.
        work_pool: The work pool whose workers run it; needed by ``flowml deploy``, of no account to ``flowml serve``.
        tags: Prefect's tags for its runs.
        concurrency_limit: How many of its runs there may be at once.
        triggers: What else starts it: flowml's triggers, or Prefect's own.
        notify: Who is told what of its runs.
        description: What it is for. Default: the flow's.
        tracking_uri: Where a worker's runs go, if that is not where they go from here: a URI; ``"env:NAME"``, an
            environment variable that is set where the worker runs; or ``"secret:NAME"``, a Secret block of Prefect's.
        registry_uri: The same for the model registry.
        source: Where workers get the code from, if they do not see this folder: a git repository, such as
            ``"git+https://host/team/project.git@main"``. Of no account to ``flowml serve``.
        job_variables: For the work pool, as in Prefect. In their ``env`` a password is ``"secret:NAME"`` too.

    Raises:
        DeploymentError: If something is wrong with it.

    Example:
        >>> nightly = Deployment(training, "nightly", schedule=Cron("0 2 * * *", timezone="Europe/Berlin"))
    """

    flow: prefect.Flow[..., Any]
    name: str
    _: KW_ONLY
    schedule: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    work_pool: str | None = None
    tags: Sequence[str] = ()
    concurrency_limit: int | None = None
    triggers: Sequence[Any] = ()
    notify: Sequence[Notify] = ()
    description: str | None = None
    tracking_uri: str | None = None
    registry_uri: str | None = None
    source: str | None = None
    job_variables: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import prefect

        if not isinstance(self.flow, prefect.Flow):
            msg = f"Deployment(flow=...) takes a flow, a function with @flow, not {self.flow!r}."
            raise DeploymentError(msg)
        if not isinstance(self.name, str) or not self.name.strip() or set(self.name) & set(_BANNED):
            msg = f"A deployment cannot be called {self.name!r}: a name has no {' '.join(_BANNED)}, and is not empty."
            raise DeploymentError(msg)
        self._check_texts()
        own = [as_prefects(schedule).parameters or {} for schedule in self.schedules]
        limit = self.concurrency_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            msg = f"concurrency_limit={limit!r} cannot be: it is how many runs there may be at once, 1 or more."
            raise DeploymentError(msg)
        flow_parameters.check(self.flow, self.parameters, whole=not all(own))
        for parameters in filter(None, own):
            flow_parameters.check(self.flow, {**self.parameters, **parameters}, whole=True)

    @property
    def full_name(self) -> str:
        """The name by which Prefect and the commands know it."""
        return f"{self.flow.name}/{self.name}"

    @property
    def schedules(self) -> list[Any]:
        """Its schedules."""
        if self.schedule is None:
            return []
        return list(self.schedule) if isinstance(self.schedule, list | tuple) else [self.schedule]

    def to_prefect(self) -> RunnerDeployment:
        """Return it as ``prefect.serve`` and the like take it.

        Raises:
            DeploymentError: If the flow was not written in a file.
        """
        return for_serving(self)

    def _check_texts(self) -> None:
        if isinstance(self.tags, str) or not all(isinstance(tag, str) and tag for tag in self.tags):
            msg = f"tags={self.tags!r} cannot be: they are a list of texts."
            raise DeploymentError(msg)
        if isinstance(self.triggers, str) or not isinstance(self.triggers, Sequence):
            msg = f"triggers={self.triggers!r} cannot be: they are a list."
            raise DeploymentError(msg)
        for trigger in self.triggers:
            _check_trigger(trigger)
        if isinstance(self.notify, Notify) or not all(isinstance(each, Notify) for each in self.notify):
            msg = f"notify={self.notify!r} cannot be: it is a list of Notify(...)."
            raise DeploymentError(msg)
        for option in ("work_pool", "description", "tracking_uri", "registry_uri", "source"):
            value = getattr(self, option)
            if value is not None and not isinstance(value, str):
                msg = f"{option}={value!r} cannot be: it is a text."
                raise DeploymentError(msg)


def _check_trigger(trigger: Any) -> None:
    from prefect.events.schemas.automations import Trigger

    if isinstance(trigger, type) or not (hasattr(trigger, "automation_trigger") or isinstance(trigger, Trigger)):
        msg = f"{trigger!r} in triggers= cannot be: an item is one of flowml's triggers or of Prefect's own."
        raise DeploymentError(msg)
