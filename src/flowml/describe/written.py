"""A value as a file, in the format that the ending of the file's name says."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, TypeAlias

from flowml import records
from flowml.describe.place import Place
from flowml.describe.text import SHORT, cut, error_text, type_name
from flowml.errors import pass_on
from flowml.secrets import mask
from flowml.storable import clean

Formats: TypeAlias = Mapping[str, Callable[[Any], "str | bytes"]]
"""The way to write a value, by the ending that says so; the first one is the usual."""

GZIP = ".gz"
_NEEDED = {".xlsx": "openpyxl"}
_NAMED = 16  # endings
# What is no text, whoever wrote it.
_BINARY = frozenset(
    [
        ".7z",
        ".arrow",
        ".avro",
        ".bin",
        ".bmp",
        ".bz2",
        ".db",
        ".docx",
        ".feather",
        ".gif",
        ".h5",
        ".hdf5",
        ".ico",
        ".jpeg",
        ".jpg",
        ".joblib",
        ".npy",
        ".npz",
        ".onnx",
        ".orc",
        ".parquet",
        ".pdf",
        ".pickle",
        ".pkl",
        ".png",
        ".pptx",
        ".pt",
        ".pth",
        ".safetensors",
        ".sqlite",
        ".tar",
        ".tif",
        ".tiff",
        ".webp",
        ".xls",
        ".xlsx",
        ".xz",
        ".zip",
        ".zst",
    ]
)


def written(value: Any, place: Place, formats: Formats, kind: str | None = None) -> Iterator[records.Record]:
    """Write a value as a file; where its name says what it cannot be, in the usual format, with a line that says so.

    Args:
        value: What to write.
        place: Where it stands; its marker may name the file. The ending ``.gz`` packs any format.
        formats: Those that there are for the value.
        kind: What to call the value.
    """
    kind, usual = kind or type_name(type(value)), next(iter(formats))
    path = place.path(usual)
    packed, ending = _ending(path, formats)
    if ending is None:
        wanted, path, packed, ending = path, f"{path}{usual}", False, usual
        text = _refused(kind, wanted, formats, f"it is logged as {path}")
        yield records.Remark(f"the format of {place.name}: {wanted}", text)
    try:
        content = formats[ending](value)
    except BaseException as error:  # noqa: BLE001 - of whichever library writes it
        pass_on(error)
        reason = mask(clean(cut(error_text(error), SHORT)))
        why = _refused(kind, path, formats, f"{ending} does not take it: {reason}")
        yield records.Lost(place.name, f"write {place.name!r} as {clean(path)}", why)
        yield records.Param(place.label, f"{kind} (not written as {path})")
        return
    if packed:
        data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
        content = gzip.compress(data, mtime=0)
    yield records.Text(path, content) if isinstance(content, str) else records.Blob(path, content)


def written_text(text: str, place: Place, kind: str = "str") -> Iterator[records.Record]:
    """Write text as a file of any name that is not one of a binary format."""
    path = place.path(".txt").lower().removesuffix(GZIP)
    ending = path[path.rfind(".") :] if "." in path.rpartition("/")[2] else ".txt"
    formats: Formats = {".txt": str, ".md": str, ".csv": str, ".json": str, ".html": str, ".yaml": str}
    return written(text, place, formats if ending in _BINARY else {".txt": str, ending: str}, kind)


def as_text(write: Callable[[Any], str]) -> Callable[[Any], bytes]:
    """Make the text of a table bytes: the content of tables is not searched for secrets."""
    return lambda value: write(value).encode("utf-8", "backslashreplace")


@lru_cache
def has_excel() -> bool:
    """Whether Excel's files can be written."""
    return find_spec(_NEEDED[".xlsx"]) is not None


def _ending(path: str, formats: Formats) -> tuple[bool, str | None]:
    """Find the format that a name says, and whether the file is packed."""
    name = path.lower()
    packed = name.endswith(GZIP)
    name = name.removesuffix(GZIP)
    return packed, next((ending for ending in formats if name.endswith(ending)), None)


def _refused(kind: str, path: str, formats: Formats, what: str) -> str:
    endings = [*formats][:_NAMED]
    more = ", …" if len(formats) > len(endings) else ""
    needed = next((f" For {end}: pip install {name}." for end, name in _NEEDED.items() if path.endswith(end)), "")
    return f"{clean(path)} is no file that a {kind} can be: {what}. It can be {', '.join(endings)}{more}.{needed}"
