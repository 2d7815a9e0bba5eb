"""Figures: drawn at once, as PNG, or as HTML where they can be explored."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flowml import options, records
from flowml.describe.dispatch import by_structure, register, register_lazy
from flowml.describe.place import Place
from flowml.describe.text import type_name
from flowml.describe.written import Formats, written

_LARGEST_IMAGE = 100_000_000  # pixels
_USUAL_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tiff", ".bmp", ".pdf")


def _is_shown_short(place: Place) -> bool:
    """As an input a figure is a short text, unless it is marked as a file."""
    return place.role == "input" and not isinstance(place.marker, options.Artifact)


def matplotlib_figure(value: Any, place: Place) -> Iterator[records.Record]:
    """A matplotlib figure, in the format that the file's ending names."""
    if _is_shown_short(place):
        width, height = value.get_size_inches()
        yield records.Param(place.label, f"matplotlib {type_name(type(value))} {width:g} × {height:g} in")  # noqa: RUF001
        return

    def draw(form: str) -> Callable[[Any], bytes]:
        def drawn(figure: Any) -> bytes:
            target = io.BytesIO()
            figure.savefig(target, format=form)
            return target.getvalue()

        return drawn

    yield from written(value, place, {f".{form}": draw(form) for form in ("png", *_drawn(value))})


def _drawn(value: Any) -> Iterable[str]:
    """Give the formats that matplotlib can draw a figure in."""
    forms: Iterable[str] = value.canvas.get_supported_filetypes()
    return forms


def _axes(value: Any, place: Place) -> Iterator[records.Record]:
    """A plot inside a figure: the figure."""
    yield from matplotlib_figure(value.figure, place)


def _plotly(value: Any, place: Place) -> Iterator[records.Record]:
    if _is_shown_short(place):
        yield records.Param(place.label, f"plotly {type_name(type(value))} of {len(value.data):,} traces")
    else:
        formats: Formats = {
            ".html": lambda figure: figure.to_html(include_plotlyjs="cdn"),
            ".json": lambda figure: figure.to_json(),
        }
        yield from written(value, place, formats)


def _altair(value: Any, place: Place) -> Iterator[records.Record]:
    if _is_shown_short(place):
        yield records.Param(place.label, f"altair {type_name(type(value))}")
    else:
        yield from written(
            value, place, {".html": lambda chart: chart.to_html(), ".json": lambda chart: chart.to_json()}
        )


def _bokeh(value: Any, place: Place) -> Iterator[records.Record]:
    if _is_shown_short(place):
        yield records.Param(place.label, f"bokeh {type_name(type(value))}")
        return
    from bokeh.embed import file_html
    from bokeh.resources import CDN

    yield from written(value, place, {".html": lambda layout: file_html(layout, CDN, title=place.name)})


def _image(value: Any, place: Place) -> Iterator[records.Record]:
    width, height = value.size
    if _is_shown_short(place) or width * height > _LARGEST_IMAGE:
        yield records.Param(place.label, f"image {width} × {height} {value.mode}")  # noqa: RUF001
        return
    yield from written(value, place, _image_formats())


def _image_formats() -> Formats:
    from PIL import Image

    def saved(form: str) -> Callable[[Any], bytes]:
        return lambda image: _saved(image, form)

    by_ending = Image.registered_extensions()
    endings = [*_USUAL_IMAGES, *(ending for ending in by_ending if ending not in _USUAL_IMAGES)]
    return {ending: saved(by_ending[ending]) for ending in endings if by_ending.get(ending) in Image.SAVE}


def _saved(image: Any, form: str) -> bytes:
    target = io.BytesIO()
    try:
        image.save(target, format=form)
    except OSError:  # the format has no such mode: PNG no CMYK, JPEG no transparency
        target = io.BytesIO()
        image.convert("RGB").save(target, format=form)
    return target.getvalue()


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
    by_structure.update((matplotlib_figure, _axes, _plotly, _altair, _bokeh, _image))
    register_lazy("matplotlib", _load_matplotlib)
    register_lazy("seaborn", _load_seaborn)
    register_lazy("plotly", _load_plotly)
    register_lazy("altair", _load_altair)
    register_lazy("bokeh", _load_bokeh)
    register_lazy("PIL", _load_pillow)
