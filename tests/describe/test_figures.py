"""Figures: drawn at once, and kept as files."""

from __future__ import annotations

import io
import json
from typing import Annotated

import altair as alt
import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
import pytest
from bokeh.plotting import figure as bokeh_figure
from PIL import Image

from flowml import describe, options, records

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def drawn() -> Figure:
    """Draw with matplotlib."""
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    return figure


def bokeh():
    """Draw with bokeh."""
    figure = bokeh_figure()
    figure.line([1, 2], [1, 2])
    return figure


def chart():
    """Draw with altair."""
    return alt.Chart(pd.DataFrame({"a": [1, 2]})).mark_line().encode(x="a")


FIGURES = {
    "matplotlib": (drawn, ".png"),
    "matplotlib axes": (lambda: drawn().axes[0], ".png"),
    "pillow": (lambda: Image.new("RGB", (4, 3)), ".png"),
    "pillow cmyk": (lambda: Image.new("CMYK", (4, 3)), ".png"),
    "plotly": (lambda: go.Figure(go.Scatter(y=[1, 2])), ".html"),
    "altair": (chart, ".html"),
    "bokeh": (bokeh, ".html"),
}


@pytest.mark.parametrize("make, ending", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_is_a_file_as_an_output_and_a_short_text_as_an_input(make, ending):
    """Its name is the task's; content is taken when it is described."""
    figure = make()
    [one] = describe.outputs(figure, "plot")
    assert one.path == f"plot{ending}"
    if ending == ".png":
        assert Image.open(io.BytesIO(one.data)).format == "PNG"
    else:
        assert "<html" in one.text
    [given] = describe.inputs({"figure": figure}, {})
    assert isinstance(given, records.Param)
    assert len(given.value) < 100


def test_html_is_not_harmed_by_masking():
    """Code in a page may look like `token: value` and stays."""
    page = chart().to_html()
    [one] = describe.outputs(chart(), "plot")
    assert one.text == page


@pytest.mark.parametrize("ending, start", [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_the_marker_names_the_file_and_its_ending_the_format(ending, start):
    """Artifact("report/roc.svg") is where the figure goes."""
    [one] = describe.outputs(drawn(), "plot", Annotated[Figure, options.Artifact(f"report/roc.{ending}")])
    assert one.path == f"report/roc.{ending}"
    assert one.data.startswith(start)


def test_a_plotly_figure_can_be_kept_as_json():
    """The ending says so."""
    [one] = describe.outputs(go.Figure(), "plot", Annotated[go.Figure, options.Artifact("fig.json")])
    assert "data" in json.loads(one.text)


def test_figures_logged_by_name_and_in_lists_have_names_of_their_own():
    """`flowml.log(confusion=figure)` is confusion.png."""
    assert [r.path for r in describe.named({"confusion": drawn()})] == ["confusion.png"]
    assert [r.path for r in describe.outputs([drawn(), drawn()], "plot")] == ["plot.0.png", "plot.1.png"]


def test_drawing_does_not_change_the_figure():
    """Open figures, size and canvas are as before."""
    figure, _ = plt.subplots()
    canvas, size, dpi = figure.canvas, tuple(figure.get_size_inches()), figure.dpi
    describe.outputs(figure, "plot")
    assert (figure.canvas, tuple(figure.get_size_inches()), figure.dpi) == (canvas, size, dpi)
    plt.close(figure)
