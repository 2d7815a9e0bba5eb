"""Whatever a user's task is given or returns: described without an exception and within MLflow's limits."""

from __future__ import annotations

import datetime as dt
import json

import hypothesis
from hypothesis import strategies as st
from mlflow.utils import validation
from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag

from flowml import describe, records
from flowml.describe import limits


class Hostile:
    """Raises wherever it is touched."""

    def _refuse(self, *_):
        msg = "do not touch"
        raise RuntimeError(msg)

    __repr__ = __str__ = __len__ = __eq__ = __iter__ = __bool__ = __hash__ = __getattr__ = __float__ = __fspath__ = (
        _refuse
    )

    @property
    def __class__(self):
        self._refuse()


class LyingDict(dict):
    """Says that it is empty, and is not."""

    def __len__(self):
        return -1  # noqa: PLE0303 - the lie

    def __iter__(self):
        msg = "no"
        raise RuntimeError(msg)

    items = keys = values = __iter__


class LyingList(list):
    """Has no end when asked by the usual ways."""

    def __len__(self):
        return 10**12

    def __iter__(self):
        while True:
            yield self

    def __class_getitem__(cls, item):
        return int


class BadRepr:
    """Has a repr that is no text."""

    def __repr__(self):
        return 7


def circle():
    """Make a list that holds itself."""
    value: list = [1]
    value.append({"again": value})
    return value


text = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["\ud800", "\0", "..", "/", "a//b", "x" * 7000, "password", "", " "]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | text
    | st.binary(max_size=20)
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.decimals()
    | st.fractions()
    | st.sampled_from([-(10**400), "y" * 20_000, dt.timezone.utc, len, Hostile, range(3)])
    | st.builds(pow, st.just(10), st.just(5000))
    | st.builds(Hostile)
    | st.builds(LyingDict, st.just({"a": 1}))
    | st.builds(LyingList, st.just([1]))
    | st.builds(BadRepr)
    | st.builds(circle)
    | st.builds(iter, st.just([1, 2]))
)
keys = text | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), text) | st.binary(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | text, max_size=4)
        | st.sets(st.integers() | text, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(LyingList, st.lists(inner, max_size=2))
    ),
    max_leaves=20,
)


def check(found: list[records.Record]) -> None:
    """Hold each record against MLflow's own validation."""
    params = [record for record in found if isinstance(record, records.Param)]
    assert len(params) <= 200
    assert len({param.key for param in params}) == len(params)
    for record in found:
        match record:
            case records.Param(key, value):
                _validate_param(key, value)
                assert len(value) <= validation.MAX_PARAM_VAL_LENGTH
                value.encode()
            case records.Metric(key, value, step):
                assert isinstance(value, float)
                _validate_metric(key, value, 0, step)
            case records.Tag(key, value):
                _validate_tag(key, value)
                assert len(value) <= validation.MAX_TAG_VAL_LENGTH
                value.encode()
            case records.Text(path, content):
                assert not validation.path_not_unique(path)
                content.encode()
                if path.endswith(".json"):
                    json.loads(content)
            case records.Blob(path):
                assert not validation.path_not_unique(path)


@hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(value=values, name=text)
def test_any_value_is_described_within_the_limits(value, name):
    """No value raises, and nothing comes out that MLflow would refuse."""
    check(describe.inputs({name: value}, {}))
    check(describe.outputs(value, name))
    check(describe.outputs(value, "train", None, {"x": value}))
    check(describe.named({name: value}))
    check(describe.yielded(value, name, 3))


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(names=st.lists(text, unique=True, max_size=8))
def test_changed_keys_are_told_apart_and_can_be_read_back(names):
    """Each text gets a key of its own, and the file of changed keys gives the text back."""
    found = limits.fit([records.Param(name, str(index)) for index, name in enumerate(names)])
    check(found)
    changed = next((json.loads(record.text) for record in found if isinstance(record, records.Text)), {})
    back = [changed.get(record.key, record.key) for record in found if isinstance(record, records.Param)]
    escaped = [name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00") for name in names]
    assert back == escaped


@hypothesis.given(text=st.text(st.characters(), max_size=200))
def test_masking_free_text_never_raises_and_changes_nothing_twice(text):
    """Masked text holds nothing more to mask."""
    once = describe.mask(text)
    assert describe.mask(once) == once
