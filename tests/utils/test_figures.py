"""Names in figures and CSV files stand there as they are."""

import cv2
from matplotlib.figure import Figure

from lib.utils.figures import write_figure
from lib.utils.table import csv_text


def test_names_with_dollars_are_no_formulas(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.plot([1, 1000], [0, 1], label="$a$ and $\\nothing")
    axes.set_yticks([0, 1], ["$\\frac$", "b$"])
    axes.set_title("$x^$")
    axes.legend()
    write_figure(tmp_path / "figure.png", figure, dpi=50)  # as formulas they are errors
    assert cv2.imread(str(tmp_path / "figure.png")) is not None
    assert any("mathdefault" in label.get_text() for label in axes.get_xticklabels())


def test_cells_that_spreadsheets_would_run_get_an_apostrophe():
    rows = [("=1+1", "+x", "-x", "@x", "a=b"), (-1.5, None, "", 3, "ä,b")]
    assert csv_text(rows) == "'=1+1,'+x,'-x,'@x,a=b\n-1.5,,,3,\"ä,b\"\n"
