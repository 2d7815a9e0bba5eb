"""The MLflow side: where runs are kept, opened, written and closed."""

from flowml.store.autolog import autologging
from flowml.store.connection import Reach, Reached, load, reaching
from flowml.store.leftovers import STOPPING, End
from flowml.store.opening import close_left_open, join, open_run
from flowml.store.runs import NO_RUN, Run
from flowml.store.watch import begin_attempt, command, model_page, unsent, watch, when_known
from flowml.store.writers import flush_all

__all__ = [
    "NO_RUN",
    "STOPPING",
    "End",
    "Reach",
    "Reached",
    "Run",
    "autologging",
    "begin_attempt",
    "close_left_open",
    "command",
    "flush_all",
    "join",
    "load",
    "model_page",
    "open_run",
    "reaching",
    "unsent",
    "watch",
    "when_known",
]
