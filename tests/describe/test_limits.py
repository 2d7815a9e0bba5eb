"""Within MLflow's limits, and nothing lost."""

from __future__ import annotations

import hashlib
import json

import pytest

from flowml import describe, records
from flowml.describe import limits


def params(found) -> dict[str, str]:
    """Give the parameters."""
    return {r.key: r.value for r in found if isinstance(r, records.Param)}


def texts(found) -> dict[str, str]:
    """Give the text files."""
    return {r.path: r.text for r in found if isinstance(r, records.Text)}


def tags(found) -> dict[str, str]:
    """Give the tags."""
    return {r.key: r.value for r in found if isinstance(r, records.Tag)}


def test_a_ten_megabyte_text_is_a_preview_and_a_file():
    """The parameter has the start and the SHA-256; inputs.json has it all."""
    text = "abcdefghij" * 1_000_000
    found = describe.inputs({"text": text}, {})
    preview = params(found)["text"]
    assert preview.startswith("abcdefghij")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] in preview
    assert len(preview) <= 1000
    assert json.loads(texts(found)["inputs.json"]) == {"text": text}
    assert texts(describe.outputs(text, "read")) == {"read.txt": text}


def test_of_five_thousand_keys_two_hundred_are_parameters():
    """The rest stands in inputs.json, and a tag says so."""
    found = describe.inputs({"x": {f"k{i}": i for i in range(5000)}}, {})
    assert len(params(found)) == 200
    rest = json.loads(texts(found)["inputs.json"])
    assert len(rest) == 4800
    assert rest["x.k4999"] == "4999"
    assert tags(found) == {"flowml.params_truncated": "4,800 more parameters are in inputs.json"}


def test_a_long_history_is_sampled_evenly():
    """A thousand points with the first and the last, each at its step, and a tag."""
    found = describe.outputs([float(i) for i in range(50_000)], "loss")
    points = [r for r in found if isinstance(r, records.Metric)]
    assert len(points) == 1000
    assert (points[0].step, points[-1].step) == (0, 49_999)
    assert all(point.value == point.step for point in points)
    assert tags(found) == {"flowml.sampled.loss": "1,000 of 50,000 points"}


@pytest.mark.parametrize(
    "key", ["a=b", "a,b", "../x", "/a", "a//b", "a/./b", "x" * 300, "", "naïve é\n", "..", ".", "a/"]
)
def test_an_illegal_key_is_replaced_and_can_be_read_back(key):
    """keys.json leads from the new key to the old one."""
    found = limits.fit([records.Param(key, "1")])
    [new] = params(found)
    assert json.loads(texts(found)["keys.json"]) == {new: key}


def test_two_keys_that_become_the_same_stay_two():
    """Neither value is lost."""
    found = limits.fit([records.Param("a=b", "1"), records.Param("a,b", "2"), records.Param("a_b", "3")])
    assert sorted(params(found).values()) == ["1", "2", "3"]


def test_of_two_values_for_one_key_the_last_counts():
    """Parameters are write-once in MLflow: a second value would be refused."""
    found = limits.fit(
        [records.Param("a", "1"), records.Metric("m", 1.0), records.Param("a", "2"), records.Metric("m", 2.0)]
    )
    assert found == [records.Param("a", "2"), records.Metric("m", 2.0)]


def test_what_is_no_number_is_no_metric():
    """None and the like are dropped; NaN and infinity are numbers."""
    values = [None, "x", 10**400, float("nan"), float("inf")]
    found = limits.fit([records.Metric(f"m{i}", value) for i, value in enumerate(values)])
    assert [r.key for r in found] == ["m3", "m4"]


def test_long_tags_are_cut_and_paths_stay_inside():
    """A tag has at most 8,000 characters; no artifact leaves the run's folder."""
    found = limits.fit([records.Tag("t", "x" * 9000), records.Text("/../../etc/passwd", "x"), records.Blob("", b"")])
    assert len(tags(found)["t"]) == 8000
    assert [r.path for r in found[1:]] == ["etc/passwd", "file"]


def test_fitting_twice_changes_nothing():
    """What fits stays as it is, and what an earlier fit moved to files is kept."""
    raw = [records.Param(f"k={i}", "v" * (7000 if i % 50 == 0 else 5)) for i in range(300)]
    once = limits.fit(raw)
    assert limits.fit(once) == once


def test_unstorable_characters_are_escaped():
    """Lone surrogates and NUL, which databases refuse, become readable escapes."""
    assert params(describe.inputs({"x": "a\ud800b\0c"}, {})) == {"x": "a\\ud800b\\x00c"}


def test_a_describer_may_forget_to_write_text():
    """A number where text belongs becomes text."""
    assert limits.fit([records.Param("a", 3), records.Tag("b", None)]) == [
        records.Param("a", "3"),
        records.Tag("b", "None"),
    ]
