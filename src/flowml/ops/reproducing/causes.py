"""Since what two runs of a flow may differ: the packages, Python, the code."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from flowml.ops.reproducing.recorded import Recorded

_ABSENT = "none"


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that was another.

    Attributes:
        what: ``package scikit-learn``, ``Python``, ``commit``, ``changes since the commit``, ``platform``.
        before: What it was.
        after: What it is now.
    """

    what: str
    before: str
    after: str


def causes(before: Recorded, after: Recorded) -> list[Cause]:
    """Compare what two runs were made with."""
    first, second = before.origin, after.origin
    pairs = [
        ("commit", first.code.commit or _ABSENT, second.code.commit or _ABSENT),
        ("changes since the commit", _changes(before), _changes(after)),
        ("Python", first.python, second.python),
        ("platform", first.platform, second.platform),
        ("PYTHONHASHSEED", first.hash_seed or _ABSENT, second.hash_seed or _ABSENT),
    ]
    locked, present = packages(before.lock), packages(after.lock)
    pairs += [
        (f"package {name}", locked.get(name, _ABSENT), present.get(name, _ABSENT))
        for name in sorted({*locked, *present})
    ]
    return [Cause(*pair) for pair in pairs if pair[1] != pair[2]]


def packages(lock: str) -> dict[str, str]:
    """Read a lock: each package with its version, or with its place if it came from no index."""
    found: dict[str, str] = {}
    for line in lock.splitlines():
        if match := re.fullmatch(r"([\w.-]+)(?:==| @ )(.+)", line):
            found[match[1]] = match[2]
        elif match := re.fullmatch(r"(.+?)  # ([\w.-]+) (.+)", line):
            found[match[2]] = f"{match[3]} ({match[1]})"
    return found


def _changes(recorded: Recorded) -> str:
    if not recorded.diff:
        return recorded.origin.code.diff
    # The same change is written otherwise of a file that git does not know yet: without its digest, and at the end.
    plain = re.sub(r"^index .+\n", "", recorded.diff, flags=re.MULTILINE)
    parts = re.split(r"^(?=diff --git )", plain, flags=re.MULTILINE)
    same = "".join(sorted(parts)).replace("@@ -0,0 +1,1 @@", "@@ -0,0 +1 @@")
    files = sorted(set(re.findall(r"^diff --git a/.+ b/(.+)$", recorded.diff, re.MULTILINE)))
    shown = ", ".join(files[:5]) + (", …" if len(files) > 5 else "")  # noqa: PLR2004
    return f"{shown} ({hashlib.sha256(same.encode()).hexdigest()[:8]})"
