"""What goes on beside a body: its machine is sampled, and other processes log to its run."""

from __future__ import annotations

from flowml import describe, records, settings, store
from flowml.capture.call import Call


class Beside:
    """What goes on beside the body of one call.

    Args:
        call: The call.

    Attributes:
        has_ranks: Whether processes may have joined its run.
    """

    __slots__ = ("_call", "_sampler", "has_ranks")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._sampler: store.Sampler | None = None
        self.has_ranks = False

    @property
    def samples(self) -> bool:
        """Whether the machine is to be sampled."""
        wanted = self._call.track.system_metrics if self._call.track else False
        return settings.current().system_metrics and self._call.identity.kind == "task" if wanted is None else wanted

    def before_fork(self, run: store.Run) -> None:
        """Count the process among those that may join the call's run, and let it have one."""
        self.has_ranks = run is not store.NO_RUN
        store.before_fork(run)

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
        if not self.has_ranks:
            return []
        self.has_ranks = False
        lost = store.lost_ranks(run)
        if not lost:
            return []
        text = describe.mask("; ".join(lost))
        self._call.log.warning("flowml: of the processes that %s started, %s.", self._call.identity.name, text)
        return [records.Tag(store.RANKS_LOST, text)]
