"""The MLflow side: where runs are kept, opened, written and closed.

Words: `open_run` and `Run` (what a call's records go to), `LazyStore` (which store that is), `join` (a run of another
process), `watch_run` (hear of a run), `flush_all`. Below it: `sending`, `models`, `flow_end`, `by_hand`, `backend`.
"""

from flowml.store.backend.connection import Reach, Reached, load, reaching
from flowml.store.backend.in_force import stay_offline
from flowml.store.by_hand.autolog import autologging
from flowml.store.flow_end.child_runs import RANKS_LOST
from flowml.store.flow_end.orphans import STOPPING, End
from flowml.store.journal.background import send_what_was_left
from flowml.store.models.identity import note_reused
from flowml.store.models.registry import ABOUT
from flowml.store.opening import close_left_open, join, open_run
from flowml.store.process_end import before_fork, flush_all
from flowml.store.ranks import OtherRankRun, forget_told_run, told_to_children
from flowml.store.ranks import began as rank_began
from flowml.store.ranks import ended as rank_ended
from flowml.store.ranks import lost as lost_ranks
from flowml.store.runs import NO_RUN, Run
from flowml.store.subscribe import begin_attempt, command, model_page, unsent, watch_run, when_known
from flowml.store.system_metrics import Sampler, sampled
from flowml.store.tracing import Home, OwnSpan, ids_of, is_on

__all__ = [
    "ABOUT",
    "NO_RUN",
    "RANKS_LOST",
    "STOPPING",
    "End",
    "Home",
    "OtherRankRun",
    "OwnSpan",
    "Reach",
    "Reached",
    "Run",
    "Sampler",
    "autologging",
    "before_fork",
    "begin_attempt",
    "close_left_open",
    "command",
    "flush_all",
    "forget_told_run",
    "ids_of",
    "is_on",
    "join",
    "load",
    "lost_ranks",
    "model_page",
    "note_reused",
    "open_run",
    "rank_began",
    "rank_ended",
    "reaching",
    "sampled",
    "send_what_was_left",
    "stay_offline",
    "told_to_children",
    "unsent",
    "watch_run",
    "when_known",
]
