"""The tables of gradient boosting: datasets like any other, which describing neither builds nor changes."""

from __future__ import annotations

import tracemalloc
from typing import Annotated, Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy import sparse

from flowml import Artifact, Dataset, describe, records

X = np.arange(600.0).reshape(200, 3)
Y = np.arange(200.0)
QUIET = {"verbose": -1, "num_leaves": 4}


def dataset(value: Any, hint: Any = None) -> records.Dataset:
    """Describe a value as an argument and give its dataset, the only record."""
    [found] = describe.inputs({"data": value}, {"data": hint})
    assert isinstance(found, records.Dataset)
    return found


def changed(array: np.ndarray) -> np.ndarray:
    """Give a copy with one other value."""
    copy = array.copy()
    copy.flat[7] += 0.5
    return copy


def frame(values: np.ndarray) -> pd.DataFrame:
    """Name the columns."""
    return pd.DataFrame(values, columns=["a", "b", "c"])


MADE = {
    "xgboost": xgboost.DMatrix,
    "xgboost frame": lambda x, y, **more: xgboost.DMatrix(frame(x), y, **more),
    "xgboost sparse": lambda x, y, **more: xgboost.DMatrix(sparse.csr_matrix(x), y, **more),
    "xgboost quantiles": xgboost.QuantileDMatrix,
    "lightgbm": lambda x, y, **more: lightgbm.Dataset(x, y, params=QUIET, **more),
    "lightgbm frame": lambda x, y, **more: lightgbm.Dataset(frame(x), list(y), params=QUIET, **more),
    "lightgbm constructed": lambda x, y, **more: lightgbm.Dataset(x, y, params=QUIET, **more).construct(),
    "lightgbm kept": lambda x, y, **more: lightgbm.Dataset(x, y, params=QUIET, free_raw_data=False, **more).construct(),
    "lightgbm parts": lambda x, y, **more: lightgbm.Dataset([x[:50], x[50:]], y, params=QUIET, **more),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_equal_content_has_an_equal_digest_and_other_labels_or_weights_another(make: Any) -> None:
    """Also in a tuple that is returned; the size is told."""
    first = dataset(make(X, Y))
    assert first == dataset(make(X, Y))
    assert (first.profile["num_rows"], first.profile["num_elements"]) == (200, 600)
    assert first.digest != dataset(make(X, changed(Y))).digest
    assert first.digest != dataset(make(X, Y, weight=Y + 1)).digest
    found = describe.outputs((make(X, Y), 0.5), "load")
    assert [(r.name, r.role) for r in found if isinstance(r, records.Dataset)] == [("load.0", "output")]
    [alone] = describe.outputs(make(X, Y), "load")
    assert isinstance(alone, records.Dataset)
    assert (alone.digest, alone.kind) == (first.digest, first.kind)


@pytest.mark.parametrize("name", [name for name in MADE if name not in ("lightgbm constructed", "xgboost quantiles")])
def test_one_changed_cell_has_another_digest(name: str) -> None:
    """Where the values can be read; a matrix of quantiles has them in bins."""
    make = MADE[name]
    assert dataset(make(X, Y)).digest != dataset(make(changed(X), Y)).digest


def test_types_and_columns_are_told() -> None:
    """The kind is the library's class, the schema its columns, with names where there are any."""
    assert dataset(MADE["xgboost"](X, Y)).kind == "xgboost.DMatrix"
    assert dataset(MADE["xgboost quantiles"](X, Y)).kind == "xgboost.QuantileDMatrix"
    assert dataset(MADE["lightgbm"](X, Y)).kind == "lightgbm.Dataset"
    assert "mlflow_tensorspec" in dataset(MADE["xgboost"](X, Y)).schema
    for name in ("xgboost frame", "lightgbm frame"):
        assert [column["name"] for column in dataset(MADE[name](X, Y)).schema["mlflow_colspec"]] == ["a", "b", "c"]


@pytest.mark.parametrize("free", [True, False])
def test_a_lightgbm_dataset_is_not_built_by_being_described(free: bool) -> None:  # noqa: FBT001 - a parameter
    """It stays as it was; training with it builds it and frees its values, and its digest stays."""
    data = lightgbm.Dataset(X, list(Y), params=QUIET, free_raw_data=free)
    before = dict(vars(data))
    first = dataset(data)
    assert all(vars(data)[name] is value for name, value in before.items())
    assert data._handle is None
    lightgbm.train(QUIET, data, 1)
    assert (data.data is None) == free
    assert dataset(data) == first


def test_a_lightgbm_dataset_whose_values_are_gone_is_described_by_the_rest() -> None:
    """Size, names and labels are left, of one without labels the size alone."""
    first = lightgbm.Dataset(frame(X), Y, params=QUIET).construct()
    assert first.data is None
    found = dataset(first)
    assert found.profile["num_rows"] == 200
    assert [column["name"] for column in found.schema["mlflow_colspec"]] == ["a", "b", "c"]
    assert dataset(lightgbm.Dataset(X, params=QUIET)).profile["num_rows"] == 200
    for empty in (lightgbm.Dataset(None), lightgbm.Dataset("not/there.csv", params=QUIET)):
        assert dataset(empty).kind == "lightgbm.Dataset"
        assert empty._handle is None


def test_a_part_of_a_lightgbm_dataset_is_one_by_its_rows() -> None:
    """A subset is known by what it is a part of and which rows it has, before and after it is built."""
    whole = lightgbm.Dataset(X, Y, params=QUIET, free_raw_data=False)
    first, other = whole.subset([1, 2, 3, 5]), whole.subset([1, 2, 3, 7])
    found = dataset(first)
    assert found.profile["num_rows"] == 4
    assert found.digest != dataset(other).digest
    assert (first._handle, first.label) == (None, None)
    first.construct()
    assert dataset(first) == found


def test_rows_in_lists_are_one_table() -> None:
    """Very many of them are sampled, and counted; an artifact's marker makes a Dataset nothing else."""
    rows = [[float(number), 1.0] for number in range(300_000)]
    found, fewer = (dataset(lightgbm.Dataset(each)) for each in (rows, rows[:-1]))
    assert (found.profile["num_rows"], found.profile["num_elements"]) == (300_000, 600_000)
    assert found.digest != fewer.digest
    assert dataset(lightgbm.Dataset(X), Annotated[object, Artifact("x.csv")]) == dataset(lightgbm.Dataset(X))


def test_a_lightgbm_dataset_of_a_sequence_is_not_read() -> None:
    """Its rows may come from a disk: it is known by its length."""

    class Rows(lightgbm.Sequence):
        batch_size = 10

        def __getitem__(self, _index: Any) -> Any:
            raise AssertionError

        def __len__(self) -> int:
            return 200

    assert dataset(lightgbm.Dataset(Rows(), Y, params=QUIET)).profile["num_rows"] == 200


def test_matrices_that_cannot_be_cut_are_described() -> None:
    """Empty ones, those with gaps, without labels, with groups for a ranking, and with categories."""
    assert dataset(xgboost.DMatrix(np.zeros((0, 3)))).profile["num_rows"] == 0
    gaps = np.where(X % 7 == 0, np.nan, X)
    assert dataset(xgboost.DMatrix(gaps)).digest != dataset(xgboost.DMatrix(X)).digest
    ranked = [xgboost.DMatrix(X, Y) for _ in range(2)]
    ranked[0].set_group([100, 100])
    ranked[1].set_group([50, 150])
    assert dataset(ranked[0]).digest != dataset(ranked[1]).digest
    words = pd.DataFrame({"a": pd.Categorical(["x", "y"] * 100)})
    assert dataset(xgboost.DMatrix(words, Y, enable_categorical=True)).profile["num_rows"] == 200


@pytest.mark.parametrize("grouped", [False, True])
def test_a_large_matrix_is_sampled(grouped: bool) -> None:  # noqa: FBT001 - a parameter
    """Neither library's values are copied as a whole."""
    big = np.zeros((400_000, 30), "float32")
    values: list[Any] = [xgboost.DMatrix(big, big[:, 0]), xgboost.QuantileDMatrix(big, big[:, 0], max_bin=4)]
    values += [lightgbm.Dataset(big, big[:, 0], params=QUIET)]
    if grouped:
        values[0].set_group([200_000, 200_000])
    for value in values:
        dataset(value)
        tracemalloc.start()
        found = dataset(value)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6e6
        assert found.profile["num_rows"] == 400_000


def test_describing_changes_no_prediction() -> None:
    """A matrix that was described trains and predicts as one that was not."""
    described, plain = xgboost.DMatrix(X, Y), xgboost.DMatrix(X, Y)
    dataset(described)
    first, second = (xgboost.train({"max_depth": 2}, data, 2) for data in (described, plain))
    np.testing.assert_array_equal(first.predict(described), second.predict(plain))


def test_the_content_is_stored_when_it_is_asked_for() -> None:
    """Dataset(save=True) stores a matrix as .npz, and of LightGBM's what it was made of."""
    hint = Annotated[object, Dataset("train", save=True)]
    for value, path in (
        (xgboost.DMatrix(X, Y), "data/train.npz"),
        (lightgbm.Dataset(X, Y), "data/train.npz"),
        (lightgbm.Dataset(frame(X), Y), "data/train.parquet"),
    ):
        found = describe.inputs({"data": value}, {"data": hint})
        assert [r.path for r in found if isinstance(r, records.Blob)] == [path]
        assert [r.name for r in found if isinstance(r, records.Dataset)] == ["train"]
