"""A process that a task has started joins the task's run, for as long as a block."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Literal, TypeAlias, get_args

from flowml import formats, records, store
from flowml.capture.call import Call, Nobody
from flowml.capture.ranks import place
from flowml.capture.ranks.environment import Told, told_here
from flowml.capture.session import Session, current, made_current
from flowml.options import Track

OtherRanks: TypeAlias = Literal["nowhere", "prefixed"]

_log = logging.getLogger("prefect.flowml")
_TAG = "flowml.rank"
_TRACK = Track(run="parent", inputs=False, outputs=False, trace=False)


class _Started(Nobody):
    """Runs the block of a process that a task has started."""

    def __init__(self, caller: records.Caller) -> None:
        self._caller = caller

    def find_caller(self) -> records.Caller:  # type: ignore[override] # nobody's knows none
        """Return the task."""
        return self._caller


@contextmanager
def distributed(
    environment: Mapping[str, str] | None = None, *, rank: int | None = None, other_ranks: OtherRanks = "nowhere"
) -> Iterator[None]:
    """Let a process that a task has started log to that task's run: one of a distributed training, or any other.

    Inside, plain ``mlflow.*`` calls, autologging and `flowml.log` go to the task's run on rank 0, also
    ``mlflow.start_run()``, which opens no second one. On the other ranks they go nowhere, and fail nothing. When the
    block ends, all is in MLflow. A process that no task has started logs as it would without flowml, on rank 0 alone.

    Args:
        environment: What `child_environment` returned in the task, where the process was not started with it in its
            own environment: an argument of `multiprocessing.Process`, or of a function that Ray or Spark runs.
        rank: Which rank this is. Default: what PyTorch, Ray Train, torchrun, MPI or SLURM say; else 0.
        other_ranks: ``"prefixed"`` logs the metrics and files of the other ranks too, under ``rank_<n>/``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If it is not among those allowed.

    Example:
        >>> with flowml.distributed():
        ...     for step, batch in enumerate(batches):
        ...         mlflow.log_metric("loss", train(batch), step=step)
    """
    if other_ranks not in get_args(OtherRanks):
        msg = f"flowml.distributed(other_ranks=...) takes 'nowhere' or 'prefixed', not {other_ranks!r}."
        raise ValueError(msg)
    at, session = place.here(rank), current()
    if session is not None and _is_of_this_process(session) and (environment is None or _has_joined(session)):
        is_another = at.rank > 0 and not _has_joined(session)
        with _beside(session, at, other_ranks) if is_another else nullcontext():
            yield
        return
    told = told_here(environment) if session is None or environment is not None else _from_parent(session)
    if told is None:
        _log.warning(
            "flowml: this process joins no task's run: it was not told of one. What rank 0 logs goes where MLflow has "
            "it. Start it in a task, with env={**os.environ, **flowml.child_environment()}."
        )
    is_tracked = told is not None and bool(told.caller.run or told.caller.key)
    with _joined(told, at, other_ranks) if told and is_tracked else _alone(at):
        yield


def _is_of_this_process(session: Session) -> bool:
    target = session.run.target
    return target is None or target.pid == os.getpid()


def _has_joined(session: Session) -> bool:
    """Tell whether it is in such a block already."""
    return session.call.identity.tag[0] == _TAG or isinstance(session.run, store.OtherRankRun)


def _from_parent(session: Session) -> Told | None:
    """Return what a forked process knows of the task: all that its parent did."""
    with session.guard("join the task's run"):
        caller, _ = store.told_to_children(session.run)
        session.beside.expect_ranks()
        return Told(session.span.handed_on(caller), session.call.identity.owner, session.beside.samples)
    return None


@contextmanager
def _beside(session: Session, at: place.Place, other_ranks: OtherRanks) -> Iterator[None]:
    """Be another rank in the very process of the task."""
    run = store.OtherRankRun(session.run, at.rank, is_kept=other_ranks == "prefixed")
    with Session(session.call, run, session.said).active():
        yield


@contextmanager
def _alone(at: place.Place) -> Iterator[None]:
    """Be a rank that has no task's run to log to: the first one's calls are MLflow's own, the others' go nowhere."""
    with nullcontext() if at.rank == 0 else store.OtherRankRun(store.NO_RUN, at.rank, is_kept=False).active(_log.info):
        yield


@contextmanager
def _joined(told: Told, at: place.Place, other_ranks: OtherRanks) -> Iterator[None]:
    store.forget_told_run()
    session = _begun(told, at, other_ranks)
    joined = session.run.joined if isinstance(session.run, store.OtherRankRun) else session.run
    with ExitStack() as at_work:
        with session.guard("tell that a rank is at work"):
            joined.put([store.rank_began(at.rank, at.restart)])
            joined.settle()  # now: a rank that is killed tells nothing more
            if told.system_metrics and at.local_rank == 0:
                at_work.enter_context(store.sampled(joined, f"node_{at.node}"))
        try:
            with session.active():
                yield
        except BaseException as error:
            is_exit = isinstance(error, SystemExit) and not error.code
            _end(session, joined, at, at_work, None if is_exit else error)
            raise
        _end(session, joined, at, at_work, None)


def _begun(told: Told, at: place.Place, other_ranks: OtherRanks) -> Session:
    """Begin the session of a rank, whose records go to the task's run, or nowhere."""
    identity = records.Identity(
        name=told.task,
        kind="task",
        owner=told.task,
        attempt=1,
        started=formats.now(),
        source=None,
        tags={},
        tag=(_TAG, str(at.rank)),
    )
    call = Call(identity, {}, {}, _TRACK, _log, _Started(told.caller))
    with made_current(None):
        if at.rank == 0:
            session = Session.begin(call, inputs=False)
            if session.run.target:
                session.run.target.joins = True
            return session
        session = Session(call, store.NO_RUN)
        joined = store.NO_RUN
        with session.guard("join the task's run"):
            joined = store.join(told.caller)
        session.run = store.OtherRankRun(joined, at.rank, is_kept=other_ranks == "prefixed")
        return session


def _end(session: Session, joined: store.Run, at: place.Place, at_work: ExitStack, error: BaseException | None) -> None:
    """Tell how the rank ended, and wait until all that it logged is in MLflow."""
    with session.guard("tell how a rank ended", raising=False):
        at_work.close()
        why = f"{type(error).__name__}: {error}" if error else None
        joined.put([store.rank_ended(at.rank, at.restart, why)])
    if error is None:
        session.ended()
        session.settle()
    else:
        session.failed(error)
        session.settle(raising=False)
