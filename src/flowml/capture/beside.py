"""What goes on beside a body: its machine is sampled, and other processes log to its run."""

from __future__ import annotations

from mmap import mmap

from flowml import describe, records, settings, store
from flowml.capture.call import Call


class Beside:
    """What goes on beside the body of one call.

    Args:
        call: The call.
    """

    __slots__ = ("_call", "_has_ranks", "_sampler", "_told_by_forks")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._sampler: store.Sampler | None = None
        self._has_ranks = False
        self._told_by_forks: mmap | None = None

    @property
    def samples(self) -> bool:
        """Whether the machine is to be sampled."""
        wanted = self._call.track.system_metrics if self._call.track else False
        return settings.current().system_metrics and self._call.identity.kind == "task" if wanted is None else wanted

    def before_fork(self, run: store.Run) -> None:
        """Let the process that is to be forked have the call's run, and tell this one if it joins."""
        if self._told_by_forks is None:
            self._told_by_forks = mmap(-1, 1)  # memory that a process shares with all that it forks
        store.before_fork(run)

    def expect_ranks(self) -> None:
        """Count on processes that join the call's run, from this process and the ones that it was forked from."""
        self._has_ranks = True
        if self._told_by_forks is not None:
            self._told_by_forks[0] = 1

    def begin(self, run: store.Run) -> None:
        """Begin to sample, if that is wanted."""
        if self.samples:
            self._sampler = store.Sampler(run)

    def end(self, run: store.Run) -> list[records.Record]:
        """Take the last sample, and name the processes that joined the run and did not end as they should.

        Raises:
            TrackingError: If MLflow fails, which knows of processes elsewhere.
        """
        sampler, self._sampler = self._sampler, None
        if sampler:
            sampler.stop()
        had_ranks, self._has_ranks = self._has_ranks, False
        if self._told_by_forks is not None:
            had_ranks |= bool(self._told_by_forks[0])
            self._told_by_forks = None
        if not had_ranks:
            return []
        lost = store.lost_ranks(run)
        if not lost:
            return []
        text = describe.mask("; ".join(lost))
        self._call.log.warning("flowml: of the processes that %s started, %s.", self._call.identity.name, text)
        return [records.Tag(store.RANKS_LOST, text)]
