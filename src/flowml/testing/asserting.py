"""What a run must have: all that is wrong is said at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from flowml.testing.tracked import TrackedRun

_CLOSE = 1e-6  # relative, as in pytest.approx


def assert_tracked(  # noqa: PLR0913 - each is something that a run may have
    run: TrackedRun,
    *,
    params: Mapping[str, object] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    datasets: Collection[str] = (),
    models: Collection[str] = (),
    artifacts: Collection[str] = (),
    status: str | None = "FINISHED",
) -> None:
    """Assert that a run has at least what is named here.

    Args:
        run: The run.
        params: Parameters; they are compared as text, as MLflow keeps them.
        metrics: The last values of metrics; equal to a millionth.
        tags: Tags.
        datasets: Names of datasets.
        models: Names of models.
        artifacts: Patterns such as ``"*.png"``, each of which a file's path must match.
        status: How it ended. None: in whichever way.

    Raises:
        AssertionError: If something is missing or another; the message names all of it, with what there is.

    Example:
        >>> assert_tracked(flowml_runs["fit"], params={"c": 1.0}, models=["LogisticRegression"])
    """
    __tracebackhide__ = True
    wrong = list(_values("parameter", {key: str(value) for key, value in (params or {}).items()}, run.params))
    wrong += _numbers(metrics or {}, run.metrics)
    wrong += _values("tag", tags or {}, run.tags)
    wrong += _names("dataset", datasets, run.datasets if datasets else ())
    wrong += _names("model", models, run.models if models else ())
    for pattern in artifacts:
        if not any(fnmatchcase(path, pattern) for path in run.artifacts):
            wrong.append(f"no file matches {pattern!r}; it has {_shown(run.artifacts)}")
    if status is not None and run.status != status:
        wrong.append(f"it is {run.status}, not {status}")
    if wrong:
        lines = "\n".join(f"  - {each}" for each in wrong)
        msg = f"The run of {run.name!r} is not as expected:\n{lines}"
        raise AssertionError(msg)


def _values(what: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for key, value in wanted.items():
        if key not in found:
            yield f"no {what} {key!r}; it has {_shown(found)}"
        elif found[key] != value:
            yield f"the {what} {key!r} is {found[key]!r}, not {value!r}"


def _numbers(wanted: Mapping[str, float], found: Mapping[str, float]) -> Iterator[str]:
    for key, value in wanted.items():
        if key not in found:
            yield f"no metric {key!r}; it has {_shown(found)}"
        elif not (math.isclose(found[key], value, rel_tol=_CLOSE) or (math.isnan(value) and math.isnan(found[key]))):
            yield f"the metric {key!r} is {found[key]!r}, not {value!r}"


def _names(what: str, wanted: Collection[str], found: Collection[str]) -> Iterator[str]:
    for name in wanted:
        if name not in found:
            yield f"no {what} {name!r}; it has {_shown(found)}"


def _shown(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
