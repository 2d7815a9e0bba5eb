"""For the tests of your flows: a store of the test's own, and what they logged, by the name of the task.

pytest finds the fixture `flowml_runs` by itself, from `plugin.py`; all else is plain Python.

Words: `TrackedRun` (a run, read back), `TrackedRuns` (all of a store), `assert_tracked` (what a run must have).
"""

from flowml.testing.asserting import assert_tracked
from flowml.testing.tracked import TrackedRun, TrackedRuns

__all__ = ["TrackedRun", "TrackedRuns", "assert_tracked"]
