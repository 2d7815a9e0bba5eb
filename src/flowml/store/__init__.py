"""The MLflow side: where runs are kept, opened, written and closed."""

from flowml.store.autolog import autologging
from flowml.store.opening import join, open_run
from flowml.store.runs import NO_RUN, Run

__all__ = ["NO_RUN", "Run", "autologging", "join", "open_run"]
