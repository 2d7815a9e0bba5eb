"""Figures: drawn at once, as PNG, or as HTML where they can be explored."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from flowml import options, records
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.place import Place
from flowml.describe.text import type_name

_LARGEST_IMAGE = 100_000_000  # pixels


def _is_shown_short(place: Place) -> bool:
    """As an input a figure is a short text, unless it is marked as a file."""
    return place.role == "input" and not isinstance(place.marker, options.Artifact)


def _ending(place: Place, usual: str) -> str:
    return PurePosixPath(place.path(usual)).suffix.lower()


def matplotlib_figure(value: Any, place: Place) -> Iterator[records.Record]:
    """A matplotlib figure, in the format that the file's ending names."""
    if _is_shown_short(place):
        width, height = value.get_size_inches()
        yield records.Param(place.label, f"matplotlib {type_name(type(value))} {width:g} × {height:g} in")  # noqa: RUF001
        return
    target = io.BytesIO()
    value.savefig(target, format=_ending(place, ".png")[1:])
    yield records.Blob(place.path(".png"), target.getvalue())


def _axes(value: Any, place: Place) -> Iterator[records.Record]:
    """A plot inside a figure: the figure."""
    yield from matplotlib_figure(value.figure, place)


def _plotly(value: Any, place: Place) -> Iterator[records.Record]:
    if _is_shown_short(place):
        yield records.Param(place.label, f"plotly {type_name(type(value))} of {len(value.data):,} traces")
    elif _ending(place, ".html") == ".json":
        yield records.Text(place.path(".html"), value.to_json())
    else:
        yield records.Text(place.path(".html"), value.to_html(include_plotlyjs="cdn"))


def _altair(value: Any, place: Place) -> Iterator[records.Record]:
    if _is_shown_short(place):
        yield records.Param(place.label, f"altair {type_name(type(value))}")
    elif _ending(place, ".html") == ".json":
        yield records.Text(place.path(".html"), value.to_json())
    else:
        yield records.Text(place.path(".html"), value.to_html())


def _bokeh(value: Any, place: Place) -> Iterator[records.Record]:
    if _is_shown_short(place):
        yield records.Param(place.label, f"bokeh {type_name(type(value))}")
        return
    from bokeh.embed import file_html
    from bokeh.resources import CDN

    yield records.Text(place.path(".html"), file_html(value, CDN, title=place.name))


def _image(value: Any, place: Place) -> Iterator[records.Record]:
    width, height = value.size
    if _is_shown_short(place) or width * height > _LARGEST_IMAGE:
        yield records.Param(place.label, f"image {width} × {height} {value.mode}")  # noqa: RUF001
        return
    from PIL import Image

    suffix = _ending(place, ".png")
    form = Image.registered_extensions().get(suffix, "PNG")
    target = io.BytesIO()
    try:
        value.save(target, format=form)
    except OSError:  # the format has no such mode: PNG no CMYK, JPEG no transparency
        target = io.BytesIO()
        value.convert("RGB").save(target, format=form)
    yield records.Blob(place.path(".png"), target.getvalue())


def _load_matplotlib() -> None:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    register(FigureBase, matplotlib_figure)
    register(Axes, _axes)
    register(Artist, lambda value, place: [records.Param(place.label, f"matplotlib {type_name(type(value))}")])


def _load_seaborn() -> None:
    from seaborn.axisgrid import Grid  # type: ignore[import-not-found, import-untyped, unused-ignore]

    register(Grid, _axes)


def _load_plotly() -> None:
    from plotly.basedatatypes import BaseFigure

    register(BaseFigure, _plotly)


def _load_altair() -> None:
    from altair import TopLevelMixin

    register(TopLevelMixin, _altair)


def _load_bokeh() -> None:
    from bokeh.models import LayoutDOM

    register(LayoutDOM, _bokeh)


def _load_pillow() -> None:
    from PIL.Image import Image

    register(Image, _image)


def register_all() -> None:
    """Register each library of figures for when it is met."""
    register_lazy("matplotlib", _load_matplotlib)
    register_lazy("seaborn", _load_seaborn)
    register_lazy("plotly", _load_plotly)
    register_lazy("altair", _load_altair)
    register_lazy("bokeh", _load_bokeh)
    register_lazy("PIL", _load_pillow)
