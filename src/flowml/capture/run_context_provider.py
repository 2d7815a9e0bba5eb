"""Prefect's ids on every run that is opened inside a Prefect flow or task, by flowml or by hand.

MLflow finds `PrefectContext` by its entry point, so this module loads with MLflow: it must import nothing heavy.
"""

from __future__ import annotations

import sys


class PrefectContext:
    """What MLflow asks for the tags of a new run; the methods are those of its ``RunContextProvider``."""

    def in_context(self) -> bool:
        """Tell whether a Prefect flow or task is running here."""
        return "prefect.context" in sys.modules and bool(self.tags())

    def tags(self) -> dict[str, str]:
        """Return the Prefect ids and pages and, if it is known without waiting, the outermost flow's run."""
        from flowml.capture.engine.attempt import tags_here
        from flowml.capture.session import current

        session = current()
        caller = session.run.as_caller().run if session and session.run.is_known else None
        return {**tags_here(), **({"flowml.root_run_id": caller.root_run_id} if caller else {})}
