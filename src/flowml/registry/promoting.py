"""Promotion and rollback as tasks: each is a run in MLflow, a page in Prefect, an entry in the model's history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from flowml.capture import attempts, contexts
from flowml.capture.inside import current_run
from flowml.capture.links.telling import tell
from flowml.capture.reading import connection_here
from flowml.capture.session import current
from flowml.decorators import task
from flowml.errors import RegistryError
from flowml.options import Track
from flowml.registry import moves
from flowml.registry.moves import ANY_VERSION, Promotion
from flowml.store import flush_all
from flowml.store.ledger import Decision, this_user
from flowml.store.ledger.ledger import EXPERIMENT
from flowml.store.registered.references import find, target

if TYPE_CHECKING:
    import mlflow


_BEFORE = " An earlier attempt of this run decided that, so that nothing is moved now."


@task(name="promote", track=Track(experiment=EXPERIMENT, outputs=False), cache_policy=NO_CACHE)
def promote(  # noqa: PLR0913 - each is given by its name
    model: Any,
    version: int | str | None = None,
    *,
    to: str = "champion",
    expect: int | str | None = ANY_VERSION,
    why: str = "",
    who: str = "",
) -> Promotion:
    """Give a version of a registered model, or of a prompt, an alias, and write down who did it and why.

    Any number of promotions may happen at the same moment: they are made one after the other, and each says rightly
    which version it replaced. With ``expect`` all but one of them change nothing. The version that had the alias before
    gets the alias ``previous``. Where the code of the same flow run runs again, because it is tried again or was
    suspended, nothing is moved a second time.

    Args:
        model: The registered model's name, or ``"prompts:/<name>"``; or what names a version by itself, such as
            ``"prompts:/summarize/3"`` or a `PromptVersion`.
        version: The version's number.
        to: The alias.
        expect: The version that must have the alias now; None for none, ``"any"`` for whichever has it.
        why: The reason, for the history.
        who: Who decided. Default: the user that the process runs as.

    Returns:
        What was moved; its ``number`` is None if the version had the alias already.

    Raises:
        RegistryError: If there is no such version, the alias is protected and the version lacks something, or another
            version has it than was expected. Nothing is changed then.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> flowml.promote("churn", 7, expect="6", why="better on recall")
        Promotion(model='churn', version='7', alias='champion', before='6', ...)
    """
    place = _begin()
    alias = moves.legal_alias(to)
    model, version = target(model, version)
    if version is None:
        msg = f"{model} is named without a version's number. Promote one: flowml.promote({model!r}, 3)"
        raise RegistryError(msg)
    number = str(find(place.client, (model, version)).version)
    wish = place.wish(number, alias, who, why)
    if before := _made_before(place, model, wish):
        return _told(place, before, _BEFORE)
    return _told(place, moves.promote(place.client, model, wish, expect=moves.expected(expect)))


@task(name="rollback", track=Track(experiment=EXPERIMENT, outputs=False), cache_policy=NO_CACHE)
def rollback(model: str, *, alias: str = "champion", why: str = "", who: str = "") -> Promotion:
    """Give an alias back to the version that had it before.

    Done again it goes one version further back. A protected alias needs no gate and no approval for it: the version had
    them when it was promoted, and a rollback is for the moment when there is no time. Where the code of the same flow
    run runs again, because it is tried again or was suspended, it goes no further back.

    Args:
        model: The registered model's name, or ``"prompts:/<name>"``.
        alias: The alias.
        why: The reason, for the history.
        who: Who decided. Default: the user that the process runs as.

    Returns:
        What was moved.

    Raises:
        RegistryError: If there is no such model or alias, or no version had it before. Nothing is changed then.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> flowml.rollback("churn", why="complaints from the branch offices")
        Promotion(model='churn', version='6', alias='champion', before='7', ...)
    """
    place = _begin()
    find(place.client, f"{model}@{moves.legal_alias(alias)}")
    wish = place.wish(None, alias, who, why)
    if before := _made_before(place, model, wish):
        return _told(place, before, _BEFORE)
    return _told(place, moves.rollback(place.client, model, wish))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a decision is made.

    Attributes:
        client: MLflow's client for the store of the flow.
        run_id: The run of the task; None if it is not tracked.
        task_run_id: Prefect's task run.
        flow_run_id: Prefect's flow run.
        log: Where the user is told something; Prefect keeps no log of a task outside a flow.
    """

    client: mlflow.MlflowClient
    run_id: str | None
    task_run_id: str | None
    flow_run_id: str | None
    log: Callable[..., None] | None

    def wish(self, version: str | None, alias: str, who: str, why: str) -> Decision:
        """Say who wishes to move an alias."""
        facts = {moves.TASK_RUN: self.task_run_id, moves.ATTEMPTS: attempts.here()} if self.task_run_id else {}
        return Decision(
            kind="move",
            version=version,
            alias=alias,
            who=who or this_user(),
            why=why,
            run_id=self.run_id,
            flow_run_id=self.flow_run_id,
            facts=facts,
        )


def _begin() -> _Place:
    flush_all()  # a version that this flow has registered is to be there
    session, run, context = current(), current_run(), TaskRunContext.get()
    task_run = context.task_run if context else None
    flow_run_id = task_run.flow_run_id if task_run else None
    return _Place(
        client=connection_here().client,
        run_id=run.run_id if run else None,
        task_run_id=str(task_run.id) if task_run else None,
        flow_run_id=str(flow_run_id) if flow_run_id else None,
        log=session.call.log.info if session and flow_run_id else None,
    )


def _made_before(place: _Place, model: str, wish: Decision) -> Promotion | None:
    """Return the move that this very call made, when the code of its flow run, or of a task run, ran before."""
    runs = list(contexts.runs_around())
    number = attempts.nth_of_caller(place.task_run_id, f"{model}@{wish.alias}/{wish.version}")
    if all(run.run_count < 2 for run in runs):  # noqa: PLR2004 - the first attempt has none before it
        return None
    made = moves.made_before(place.client, model, wish)
    own = [each for each in made if each.decision.facts.get(moves.TASK_RUN) == place.task_run_id]
    entry = next(iter(own or made[number - 1 : number]), None)
    return moves.promotion_of(model, entry) if entry else None


def _told(place: _Place, done: Promotion, more: str = "") -> Promotion:
    """Tell Prefect, MLflow's run and the user's log what was moved."""
    if place.run_id:
        version, alias = f"{done.model}/{done.version}", f"{done.model}@{done.alias}"
        tags = {"decision": "move", "model_version": version, "alias": alias}
        for key, value in tags.items():
            place.client.set_tag(place.run_id, f"flowml.{key}", value)
    if place.log:
        place.log("flowml: %s%s", done, more)
    if done.digest:
        tell(moves.event_of(place.client, done))
    return done
