"""NumPy arrays, SciPy's sparse ones and torch tensors as MLflow datasets; arrays of no dimension are numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.formats import tabular
from flowml.describe.metrics import number, sampled
from flowml.describe.place import Place
from flowml.describe.tables import cells, dataset_parts
from flowml.describe.text import short, type_name
from flowml.describe.types.scalars import scalar, text
from flowml.describe.values import describe
from flowml.describe.written import written

FEW = 100  # numbers that are a list; more can be a target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def _number(value: Any, place: Place) -> Iterator[records.Record]:
    """A NumPy scalar: what Python has for it."""
    if value.dtype.kind in "mM":  # in nanoseconds, they would come out as bare ints
        yield from text(str(value), place)
        return
    plain = value.item()
    if type(plain) is type(value):  # longdouble: Python has nothing as long
        metric = number(value)
        if place.role == "output" and metric is not None:
            yield records.Metric(place.name, metric)
        else:
            yield records.Param(place.label, str(value))
        return
    yield from describe(plain, place)


def _array(value: npt.NDArray[Any], place: Place) -> Iterator[records.Record]:
    """An array: its type, shape and fingerprint; its content only when asked for."""
    if value.ndim == 0:
        yield from _zero_dimensions(value, place)
        return
    if isinstance(place.marker, options.Artifact):
        yield from written(value, place, tabular.of_numpy())
        return
    yield _dataset(
        place,
        "numpy.ndarray",
        dtype=_dtype_name(value.dtype),
        shape=value.shape,
        content=content(value),
        size=value.nbytes,
    )
    yield from dataset_parts.saved(place, ".npz", lambda: tabular.npz(value), _REMEDY)


_REMEDY = "Give it a type without Python objects: array.astype(float) or array.astype(str)."


def _zero_dimensions(value: npt.NDArray[Any], place: Place) -> Iterator[records.Record]:
    inner = value.item()
    yield from (scalar(str(value), place) if type(inner) is type(value) else describe(inner, place))


def _dtype_name(dtype: np.dtype[Any]) -> str:
    """Name a type of elements as MLflow does."""
    return {"U": "str", "S": "bytes", "V": str(dtype)}.get(dtype.kind, dtype.name)


def _dataset(  # noqa: PLR0913 - each by its name
    place: Place, kind: str, *, dtype: str, shape: Sequence[int], content: bytes, size: int, **more: Any
) -> records.Dataset:
    import math

    count = math.prod(shape)
    profile = {
        "num_rows": shape[0],
        "num_elements": count,
        "features_shape": list(shape),
        "features_size": count,
        "features_nbytes": size,
        **more,
    }
    fingerprint = dataset_parts.digest(dtype, str(tuple(shape)), content)
    return records.Dataset(place.name, place.role, fingerprint, kind, dataset_parts.tensorspec(dtype, shape), profile)


def numbers(values: Sequence[Any], place: Place) -> records.Record | None:
    """Describe a list of many numbers as the array of the same; None when it is short or holds anything else.

    Args:
        values: A list, tuple or array of the standard library.
        place: Where it stands.
    """
    if len(values) <= FEW or not all(map(_is_number, looked_at(values))):
        return None
    return column(values, place)


def looked_at(values: Sequence[Any]) -> Sequence[Any]:
    """Take all values of a short list, of a long one an even sample."""
    chosen = dataset_parts.cells(len(values))
    return values if len(chosen) == len(values) else [values[index] for index in chosen]


def column(values: Sequence[Any], place: Place) -> records.Record:
    """Describe a list of scalars as the array of the same."""
    import numpy as np

    length, found = len(values), np.asarray(looked_at(values))
    if found.dtype.hasobject:  # integers beyond 64 bits, decimals
        found = np.asarray([short(value) for value in looked_at(values)])
    dtype = "object" if found.dtype.kind == "U" else found.dtype.name
    return _dataset(
        place,
        type_name(type(values)),
        dtype=dtype,
        shape=(length,),
        content=found.tobytes(),
        size=length * found.itemsize,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or number(value) is not None or type(value).__name__ in {"bool", "bool_"}


def content(value: npt.NDArray[Any]) -> bytes:
    """Take an even sample of the elements, without a copy of the rest."""
    import numpy as np

    values = dataset_parts.sample(value)
    found = cells.content(values.ravel().tolist()) if values.dtype.hasobject else values.tobytes()
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):  # which elements are hidden is content too
        found += dataset_parts.sample(np.ma.getmaskarray(value)).tobytes()
    return found


def _sparse(value: Any, place: Place) -> Iterator[records.Record]:
    """A sparse matrix or array, by the values that it stores."""
    import numpy as np

    if isinstance(place.marker, options.Artifact):
        yield from written(value, place, tabular.of_sparse())
        return
    stored = [getattr(value, name, None) for name in ("data", "indices", "indptr", "row", "col", "offsets")]
    parts = [content(part) for part in stored if isinstance(part, np.ndarray) and not part.dtype.hasobject]
    if not parts and value.nnz <= dataset_parts.MOST_CELLS:
        whole = value.tocoo()
        parts = [content(whole.data), *map(content, whole.coords)]
    size = sum(part.nbytes for part in stored if isinstance(part, np.ndarray))
    kind = f"scipy.sparse.{type(value).__name__}"
    fingerprint = dataset_parts.digest(*parts).encode()
    yield _dataset(
        place,
        kind,
        dtype=value.dtype.name,
        shape=value.shape,
        content=fingerprint,
        size=size,
        num_stored=int(value.nnz),
    )
    yield from dataset_parts.saved(place, ".npz", lambda: tabular.sparse_npz(value), _REMEDY)


def _tensor(value: Any, place: Place) -> Iterator[records.Record]:
    """A torch tensor, on whichever device it is."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    if value.ndim == 0:
        yield from describe(value.item(), place)
        return
    tensor = value.detach()
    if isinstance(place.marker, options.Artifact):
        whole = tensor.cpu() if tensor.dtype != torch.bfloat16 else tensor.cpu().float()
        yield from written(whole.numpy(), place, tabular.of_numpy(), "Tensor")
        return
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not torch.strided or tensor.device.type == "meta" or not tensor.numel():
        content = b""
    else:
        import numpy as np

        chosen = np.unravel_index(np.asarray(sampled(tensor.numel(), dataset_parts.MOST_ROWS)), tuple(tensor.shape))
        sample = tensor[tuple(torch.as_tensor(axis, device=tensor.device) for axis in chosen)].cpu()
        content = (sample if sample.dtype != torch.bfloat16 else sample.float()).numpy().tobytes()
    size = tensor.numel() * tensor.element_size()
    yield _dataset(place, "torch.Tensor", dtype=dtype, shape=tuple(tensor.shape), content=content, size=size)
    yield from dataset_parts.saved(place, ".npz", lambda: tabular.npz(tensor.cpu().numpy()), _TENSOR_REMEDY)


_TENSOR_REMEDY = "Give it a type and layout that NumPy has: tensor.float().to_dense()."


def _load_numpy() -> None:
    import numpy as np

    register(np.generic, _number)
    dataset_parts.register_table(np.ndarray, _array)


def _load_scipy() -> None:
    from scipy.sparse import csr_matrix

    for family in csr_matrix.__mro__:  # matrices and arrays have the oldest one in common, which has no public name
        if family.__module__.startswith("scipy.sparse") and not issubclass(family, csr_matrix):
            dataset_parts.register_table(family, _sparse)


def _load_torch() -> None:
    import torch

    dataset_parts.register_table(torch.Tensor, _tensor)


def register_all() -> None:
    """Register each library for when it is met."""
    register_lazy("numpy", _load_numpy)
    register_lazy("scipy.sparse", _load_scipy)
    register_lazy("torch", _load_torch)
