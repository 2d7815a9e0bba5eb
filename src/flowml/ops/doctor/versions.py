"""Whether the installed versions go together, and have the private names that flowml needs."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from flowml.ops.doctor.findings import Finding, Setup
from flowml.patches import mlflow, others, prefect


@dataclass(frozen=True, slots=True)
class Pair:
    """Two packages that do not go together, though their own requirements admit it."""

    one: str
    ones: str
    other: str
    others: str
    why: str
    remedy: str


PAIRS = (
    Pair(
        *("prefect", "<3.9", "fastapi", ">0.150"),
        "Prefect's server answers 422 to what its clients filter by, and does not start with fastapi 0.155",
        "pip install 'fastapi<=0.150'",
    ),
    Pair(
        *("prefect", "<3.9", "sqlalchemy", ">=2.1"),
        "the scheduler of Prefect's server fails at each pass, and no schedule ever starts a run",
        "pip install 'sqlalchemy<2.1'",
    ),
)


def versions(_: Setup) -> Iterator[Finding]:
    """Compare what is installed with the pairs that are known to fail, and with what flowml requires."""
    known = [name for pair in PAIRS for name in (pair.one, pair.other)]
    wrong = [Finding("error", _told(pair), pair.remedy) for pair in PAIRS if _is_bad(pair)]
    yield from wrong
    unmet = [(spec, found) for spec, found in _unmet() if not (wrong and spec.partition("<")[0] in known)]
    for spec, found in unmet:
        yield Finding("error", f"flowml needs {spec}; {found} is installed.", f"pip install '{spec}'")
    if not wrong and not unmet:
        there = ", ".join(f"{name} {version(name)}" for name in ("prefect", "mlflow", "fastapi"))
        yield Finding("ok", f"Python {platform.python_version()}, {there}")


def private_names(_: Setup) -> Iterator[Finding]:
    """List the private names of other libraries that flowml uses, and say what is lost without those that are gone."""
    names = (*prefect.NAMES, *mlflow.NAMES, *others.NAMES)
    gone = [name for name in names if not name.is_there()]
    for name in gone:
        library = name.module.partition(".")[0]
        text = f"The installed {library} has no {name.module}.{name.name}: {name.without}."
        yield Finding("warning", text, f"Install a version of {library} that this flowml was tested with.")
    if not gone:
        yield Finding("ok", f"Prefect and MLflow have all {len(names)} private names that flowml uses")


def _is_bad(pair: Pair) -> bool:
    from packaging.specifiers import SpecifierSet

    sides = ((pair.one, pair.ones), (pair.other, pair.others))
    there = [(_installed(name), SpecifierSet(spec)) for name, spec in sides]
    return all(found is not None and spec.contains(found, prereleases=True) for found, spec in there)


def _told(pair: Pair) -> str:
    return f"{pair.one} {version(pair.one)} does not go with {pair.other} {version(pair.other)}: {pair.why}."


def _unmet() -> Iterator[tuple[str, str]]:
    """Go through flowml's requirements that what is installed does not meet."""
    from packaging.requirements import Requirement

    for text in requires("prefect-flowml") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name}{requirement.specifier}", found or "none"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
