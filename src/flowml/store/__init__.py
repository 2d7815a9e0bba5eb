"""The MLflow side: where runs are kept, opened, written and closed."""

from flowml.store.runs import NO_RUN, Run, open_run

__all__ = ["NO_RUN", "Run", "open_run"]
