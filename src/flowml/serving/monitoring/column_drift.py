"""Whether a column is spread otherwise than before, by the test for its kind.

Numbers: the two-sample test of Kolmogorov and Smirnov (Hodges, "The significance probability of the Smirnov two-sample
test", Arkiv för Matematik 3, 1958), by ``scipy.stats.ks_2samp``. Categories: Pearson's chi-square test of the counts,
by ``scipy.stats.chi2_contingency``; where a category is too rare for its approximation (Cochran, "Some methods for
strengthening the common chi-square tests", Biometrics 10, 1954), by permutations. Both also have a population stability
index, the size of the change (Siddiqi, "Credit Risk Scorecards", 2006). Texts: the distance between the means of their
embeddings, and a permutation test of it, which is the maximum mean discrepancy of a linear kernel (Gretton et al., "A
kernel two-sample test", JMLR 13, 2012).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flowml.events.drift import stability_index

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Kind: TypeAlias = "Literal['number', 'category', 'text']"
Embed: TypeAlias = "Callable[[Sequence[str]], Any]"

FEWEST = 20
"""Values on each side, below which no test says much."""

_BINS = 10  # deciles of the earlier column
_LEAST_SHARE = 1e-4  # in place of a share of nothing, whose logarithm there is not
_LEAST_COUNT = 5  # that is expected of a category, below which the test is by permutations
_WORDS = 3  # a column whose values have more, in the mean, holds texts
_WORD = r"(?u)\b\w+\b|[^\w\s]"
_TOPICS = 64  # dimensions of an embedding that flowml makes itself
_MOST_TEXTS = 2_000  # on each side
_AT_ONCE = 500  # permutations, for the memory's sake
_SEED = 20_251  # the same tables always give the same answer


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """What was found about one column.

    Attributes:
        column: Its name.
        kind: ``number``, ``category`` or ``text``; ``missing`` if the later table does not have it, ``new`` if the
            earlier one does not, ``few`` if there are too few values to say anything.
        statistic: The test's: the largest distance between the two distribution functions, chi-square, or the distance
            between the mean embeddings. None where nothing was tested.
        p_value: How probable that or more is where nothing has changed.
        size: How large the change is: the population stability index, of texts the cosine distance of their means.
        drifted: Whether it has drifted.
        note: What else there is to say, such as how many values are missing.
    """

    column: str
    kind: str
    statistic: float | None = None
    p_value: float | None = None
    size: float | None = None
    drifted: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Texts:
    """How texts are compared.

    Attributes:
        embed: Turns texts into vectors, a row for each.
        least: The p-value that the test must be able to come below.
    """

    embed: Embed
    least: float


def compare(before: pd.Series, now: pd.Series, kind: Kind | None, texts: Texts) -> ColumnDrift:
    """Compare a column with the earlier one; whether it has drifted is not decided.

    Args:
        before: The earlier one.
        now: The later one.
        kind: What it holds. Default: what its values tell.
        texts: How texts are compared.

    Raises:
        ValueError: If ``embed`` gives anything else.
    """
    name, known = str(before.name), kind or _kind_of(before)
    gone = [float(side.isna().mean()) for side in (before, now)]
    note = f"{gone[0]:.1%} of it was missing, {gone[1]:.1%} is" if max(gone) else ""
    fewest = min(len(before), len(now))
    if fewest < FEWEST:
        return ColumnDrift(name, "few", note=_few(fewest))
    if known == "category":
        return _category(before, now, note, texts.least)
    if known == "text":
        return _text(before, now, note, texts)
    return _number(before, now, note)


def _few(count: int) -> str:
    return f"{count} values say nothing; {FEWEST} are needed on each side"


def _kind_of(values: pd.Series) -> str:
    from pandas.api import types

    if types.is_bool_dtype(values):
        return "category"
    if types.is_numeric_dtype(values) or types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values):
        return "number"
    known = values.dropna().head(_MOST_TEXTS)
    if len(known) and all(isinstance(value, Decimal) for value in known):
        return "number"  # as databases give them
    some = known.astype(str)
    return "text" if len(some) and some.str.count(r"\s+").mean() + 1 > _WORDS else "category"


def _number(before: pd.Series, now: pd.Series, note: str) -> ColumnDrift:
    import numpy as np
    from pandas.api import types
    from scipy import stats

    is_time = types.is_datetime64_any_dtype(before)
    (a, _), (b, strange) = _numbers(before, is_time=is_time), _numbers(now, is_time=is_time)
    if strange:
        note = "; ".join(filter(None, [note, f"{strange} values are no numbers any more"]))
    gone = [1 - len(side) / len(of) for side, of in ((a, before), (b, now))]
    if not len(a) or not len(b):
        p_value = _of_missing(len(a), len(before), len(b), len(now))
        size = _index(*([part, 1 - part] for part in gone))
        return ColumnDrift(str(before.name), "number", None, p_value, size, note=note)
    test = stats.ks_2samp(a, b, method="auto" if min(len(a), len(b)) > FEWEST else "exact")
    edges = np.unique(np.quantile(a, np.linspace(0, 1, _BINS + 1)[1:-1]))
    sides = [
        np.append(np.bincount(np.searchsorted(edges, side, side="left"), minlength=len(edges) + 1), len(of) - len(side))
        for side, of in ((a, before), (b, now))
    ]
    p_value = float(test.pvalue)
    if gone[0] != gone[1]:  # what is missing is a change that the values do not show: a test more, and so half of each
        p_value = 2 * min(p_value, _of_missing(len(a), len(before), len(b), len(now)))
    size = _index(*(side / side.sum() for side in sides))
    return ColumnDrift(str(before.name), "number", float(test.statistic), min(1.0, p_value), size, note=note)


def _of_missing(there: int, rows: int, there_now: int, rows_now: int) -> float:
    """Return how probable it is that as many values are missing, by Fisher's exact test."""
    from scipy import stats

    return float(stats.fisher_exact([[there, rows - there], [there_now, rows_now - there_now]]).pvalue)


def _numbers(values: pd.Series, *, is_time: bool) -> tuple[np.ndarray[Any, Any], int]:
    """Return the finite numbers of a column, and how many of its values are neither missing nor a number."""
    import numpy as np
    import pandas as pd
    from pandas.api import types

    read = values
    if is_time and not types.is_numeric_dtype(
        values
    ):  # in seconds: tables have times in units of their own, JSON as text
        read = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
        read = (read - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    elif types.is_timedelta64_dtype(values):
        read = values.dt.total_seconds()
    found = pd.to_numeric(read, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    strange = int(np.isnan(found).sum() - values.isna().sum())
    return found[np.isfinite(found)], strange


def _category(before: pd.Series, now: pd.Series, note: str, least: float) -> ColumnDrift:
    import numpy as np
    from scipy import stats

    sides = [_counts(before), _counts(now)]
    values = sorted({*sides[0], *sides[1]})
    counts = np.array([[side.get(value, 0) for value in values] for side in sides], dtype=float)
    new = [value for value in sides[1] if value not in sides[0]]
    if new:
        note = "; ".join(filter(None, [note, f"new values ({len(new)}), such as {new[0][:40]}"]))
    size = _index(*(side / side.sum() for side in counts))
    if counts.shape[1] == 1:
        return ColumnDrift(str(before.name), "category", 0.0, 1.0, size, note=note)
    expected = counts.sum(axis=0) * counts.sum(axis=1, keepdims=True) / counts.sum()
    if expected.min() >= _LEAST_COUNT:
        test = stats.chi2_contingency(counts, correction=False)
        statistic, p_value = float(test.statistic), float(test.pvalue)
    else:
        statistic, p_value = _by_chance(counts, expected, least)
    return ColumnDrift(str(before.name), "category", statistic, p_value, size, note=note)


def _by_chance(counts: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], least: float) -> tuple[float, float]:
    """Return chi-square, and how often chance makes it as large: rows are dealt to the two sides anew."""
    import numpy as np

    totals, many = counts.sum(axis=0).astype(int), int(counts[0].sum())

    def chi_square(first: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        sides = np.stack([first, totals - first], axis=-2)
        found: np.ndarray[Any, Any] = ((sides - expected) ** 2 / expected).sum(axis=(-1, -2))
        return found

    draws, more, rng = math.ceil(2 / least), 0, np.random.default_rng(_SEED)
    found = float(chi_square(counts[0]))
    for start in range(0, draws, _AT_ONCE):
        dealt = rng.multivariate_hypergeometric(totals, many, size=min(_AT_ONCE, draws - start), method="marginals")
        more += int((chi_square(dealt) >= found - 1e-9).sum())
    return found, (1 + more) / (draws + 1)


def _counts(values: pd.Series) -> dict[str, int]:
    texts = values.astype(object).where(values.notna(), "(missing)").map(str)
    return {str(value): int(count) for value, count in texts.value_counts().items()}


def _text(before: pd.Series, now: pd.Series, note: str, how: Texts) -> ColumnDrift:
    import numpy as np

    rng = np.random.default_rng(_SEED)
    sides = []
    for side in (before, now):
        texts = side.dropna().astype(str).to_numpy()
        sides.append(rng.choice(texts, _MOST_TEXTS, replace=False) if len(texts) > _MOST_TEXTS else texts)
    if min(map(len, sides)) < FEWEST:
        return ColumnDrift(str(before.name), "few", note=_few(min(map(len, sides))))
    vectors = np.asarray(how.embed([str(text) for side in sides for text in side]), dtype=float)
    many = len(sides[0])
    both = many + len(sides[1])
    if vectors.shape[:1] != (both,) or vectors.shape[2:] or not vectors.shape[1:]:
        msg = f"measure_drift(embed=...) gave the shape {vectors.shape} for {both} texts: a row for each is needed."
        raise ValueError(msg)
    if not np.isfinite(vectors).all():
        strange = int((~np.isfinite(vectors)).any(axis=1).sum())
        msg = f"measure_drift(embed=...) gave {strange} of {both} texts of {before.name!r} a vector that is not finite."
        raise ValueError(msg)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    means = vectors[:many].mean(axis=0), vectors[many:].mean(axis=0)
    found = float(np.linalg.norm(means[0] - means[1]))
    draws, more = math.ceil(2 / how.least), 0
    for start in range(0, draws, _AT_ONCE):
        marks = np.zeros((min(_AT_ONCE, draws - start), len(vectors)))
        for row in marks:
            row[rng.permutation(len(vectors))[:many]] = 1
        ones = marks @ vectors
        by_chance = np.linalg.norm(ones / many - (vectors.sum(axis=0) - ones) / (len(vectors) - many), axis=1)
        more += int((by_chance >= found - 1e-12).sum())
    p_value = (1 + more) / (draws + 1)
    norms = float(np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
    size = 1 - float(means[0] @ means[1]) / norms if norms else 0.0
    return ColumnDrift(str(before.name), "text", found, p_value, max(0.0, size), note=note)


def by_words(texts: Sequence[str]) -> Any:
    """Embed texts by their words: latent semantic analysis of TF-IDF (Deerwester et al., JASIS 41, 1990)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=_WORD).fit_transform(texts)
    topics = min(_TOPICS, words.shape[1] - 1, words.shape[0] - 1)
    return TruncatedSVD(topics, random_state=_SEED).fit_transform(words) if topics > 1 else words.toarray()


def _index(before: Any, now: Any) -> float:
    """Return the population stability index of two lists of shares."""
    return float(stability_index(zip(before, now, strict=True), _LEAST_SHARE))
