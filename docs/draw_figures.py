"""Draws the two figures of docs/architecture.md: ``python docs/draw_figures.py`` writes docs/images/*.svg.

Coordinates are pixels of the page, y downwards, at the width in which a page of Markdown is read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH = 830
INK, GRAY, LINE, PAPER = "#1f2328", "#59636e", "#818b98", "#ffffff"
# (light, strong) of each room; the light one is a lane's background
BLUE, VIOLET, ORANGE, GREEN, SLATE = (
    ("#e8f1fb", "#2f6fb0"),
    ("#f1ecfa", "#7a51b5"),
    ("#fdf0e3", "#c2660c"),
    ("#e7f5ec", "#2a8550"),
    ("#f0f2f4", "#59636e"),
)


class Picture:
    """A white card with rounded corners, readable on a light page and on a dark one."""

    def __init__(self, height: int):
        plt.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "figures", "font.family": "DejaVu Sans"})
        self.figure = plt.figure(figsize=(WIDTH / 100, height / 100), dpi=100)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
        self.axes.axis("off")
        self.frame(1, 1, WIDTH - 2, height - 2, PAPER, "#d1d9e0", radius=10)

    def frame(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str = "none", level: int = 1,
        radius: float = 7,
    ) -> None:  # fmt: skip
        """A rounded rectangle with its upper left corner at (x, y); arrows are at level 2."""
        style = f"round,pad=0,rounding_size={radius}"
        box = FancyBboxPatch((x, y), width, height, style, fc=fill, ec=edge, lw=1, zorder=level)
        self.axes.add_patch(box)

    def text(
        self, x: float, y: float, words: str, size: float = 11.5, color: str = INK, bold: bool = False,
        align: str = "center", mono: bool = False,
    ) -> None:  # fmt: skip
        """Lines of text, centered at y; ``size`` in pixels."""
        lines = words.split("\n")
        for number, line in enumerate(lines):
            self.axes.text(
                x, y + (number - (len(lines) - 1) / 2) * size * 1.35 + size * 0.35, line,
                fontsize=size * 0.72, color=color, ha=align, va="baseline", zorder=4,
                fontweight="bold" if bold else "normal", family="DejaVu Sans Mono" if mono else "DejaVu Sans",
            )  # fmt: skip

    def box(
        self, x: float, y: float, width: float, height: float, color: Sequence[str], title: str, note: str = ""
    ) -> None:
        """A part of the program: its name in bold, and what it does below."""
        self.frame(x, y, width, height, PAPER, color[1], level=3)
        lines = note.count("\n") + 1 if note else 0
        top = y + height / 2 - lines * 7.5
        self.text(x + width / 2, top, title, 12, color[1], bold=True)
        if note:
            self.text(x + width / 2, top + 9 + lines * 7.5, note, 10.5, GRAY)

    def lane(self, x: float, y: float, width: float, height: float, color: Sequence[str], room: str = "") -> None:
        """The background of what one package of lib does, with the package's name."""
        self.frame(x, y, width, height, color[0])
        self.text(x + 11, y + 13, room, 11, color[1], align="left", mono=True)

    def value(self, x: float, y: float, name: str, form: str, align: str = "center") -> None:
        """What travels along an arrow at y: its name above the line, its form below."""
        self.text(x, y - 11, name, 11.5, bold=True, align=align)
        if form:
            self.text(x, y + 11 + 7.5 * form.count("\n"), form, 10.5, GRAY, align=align)

    def arrow(self, *points: tuple[float, float], color: str = LINE, dashed: bool = False) -> None:
        """A line through the points, with a head at the last one."""
        xs, ys = zip(*points[:-1], strict=True)
        style = (0, (4, 3)) if dashed else "solid"
        if len(points) > 2:
            self.axes.plot(xs, ys, color=color, lw=1.3, ls=style, zorder=2)
        self.axes.add_patch(
            FancyArrowPatch(
                points[-2], points[-1], arrowstyle="-|>,head_length=5,head_width=2.6", color=color, lw=1.3,
                linestyle=style, shrinkA=0, shrinkB=0, mutation_scale=1, zorder=2,
            )
        )  # fmt: skip

    def save(self, name: str) -> None:
        """Writes docs/images/<name>.svg, the same bytes each time; and a PNG where a folder for it was named."""
        self.figure.savefig(IMAGES / f"{name}.svg", transparent=True, metadata={"Date": None})
        if len(sys.argv) > 1:
            self.figure.savefig(Path(sys.argv[1]) / f"{name}.png", transparent=True, dpi=200)
        plt.close(self.figure)


def data_flow() -> None:
    """From an image file to a loss, and to AP by size."""
    p = Picture(500)

    p.lane(12, 12, 806, 102, BLUE, "lib/data")
    p.text(70, 70, "image files,\nboxes", 11.5)
    p.arrow((114, 70), (148, 70))
    p.box(148, 42, 112, 56, BLUE, "Dataset", "one image\nwith its boxes")
    p.arrow((260, 70), (388, 70))
    p.value(324, 70, "Sample", "image (H, W, 3)\nboxes (G, 4)")
    p.box(388, 42, 136, 56, BLUE, "augmentation", "one affine map,\none resampling")
    p.arrow((524, 70), (686, 70))
    p.value(605, 70, "Sample", "at the network's size")
    p.box(686, 42, 112, 56, BLUE, "Loader", "batches,\npadded boxes")

    # The batch parts: its images go to the network, its boxes to the loss.
    p.arrow((742, 98), (742, 138), (94, 138), (94, 204))
    p.arrow((94, 138), (26, 138), (26, 408), (54, 408))
    p.value(560, 138, "Batch", "images (B, 3, H, W) uint8")
    p.value(230, 138, "Target", "boxes (B, G, 4), labels (B, G)")

    p.lane(42, 168, 776, 134, VIOLET)
    p.text(53, 289, "lib/models", 11, VIOLET[1], align="left", mono=True)
    p.frame(164, 178, 644, 114, "none", "#bfa9e2")
    p.text(175, 191, "Detector", 11.5, VIOLET[1], align="left", bold=True)
    p.box(52, 204, 84, 56, VIOLET, "Normalizer", "to float")
    p.arrow((136, 232), (178, 232))
    p.box(178, 204, 104, 56, VIOLET, "Backbone", "or DualPath")
    p.arrow((282, 232), (374, 232))
    p.value(328, 232, "taps", "(B, C, h, w)")
    p.box(374, 204, 84, 56, VIOLET, "neck", "a pyramid")
    p.arrow((458, 232), (550, 232))
    p.arrow((504, 232), (504, 268), (550, 268))
    p.value(504, 232, "maps", "")
    p.text(498, 272, "(B, C, h, w) each", 10.5, GRAY, align="right")
    p.box(550, 188, 128, 56, VIOLET, "MultiBoxHead", "classes, offsets")
    p.box(550, 253, 128, 30, ORANGE, "PriorGenerator")
    p.value(734, 216, "logits, deltas", "(B, P, K), (B, P, 4)")
    p.value(734, 268, "priors", "(P, 4)")
    p.arrow((678, 268), (790, 268))
    p.arrow((678, 216), (790, 216), (790, 330), (122, 330), (122, 380))
    p.arrow((516, 330), (516, 380))
    p.value(660, 330, "Predictions", "the same in training and testing")

    p.lane(42, 354, 378, 92, SLATE)
    p.text(53, 367, "training", 11, bold=True, align="left")
    p.text(340, 367, "lib/multibox,", 10.5, ORANGE[1], align="right", mono=True)
    p.text(409, 367, "lib/engine", 10.5, SLATE[1], align="right", mono=True)
    p.box(54, 380, 136, 56, ORANGE, "Criterion", "matcher, class loss,\nbox loss")
    p.arrow((190, 408), (300, 408))
    p.value(245, 408, "losses", "class, box")
    p.box(300, 380, 108, 56, SLATE, "Learner", "one step of\nthe optimizer")
    p.lane(436, 354, 382, 92, SLATE)
    p.text(447, 367, "testing", 11, bold=True, align="left")
    p.text(714, 367, "lib/multibox,", 10.5, ORANGE[1], align="right", mono=True)
    p.text(807, 367, "lib/evaluation", 10.5, GREEN[1], align="right", mono=True)
    p.box(448, 380, 136, 56, ORANGE, "PostProcess", "decoding, NMS, back\nto the image's pixels")
    p.arrow((584, 408), (698, 408))
    p.value(641, 408, "Detections", "boxes, scores,\nlabels")
    p.box(698, 380, 108, 56, GREEN, "Evaluator", "AP by\nobject size")

    p.frame(42, 458, 776, 30, ORANGE[0])
    p.text(53, 473, "lib/ops", 11, ORANGE[1], align="left", mono=True)
    p.text(120, 473, "compiled kernels below both: matching, mined loss, overlaps, decoding with NMS; "
           "each has a reference in torch", 10.5, GRAY, align="left")  # fmt: skip
    p.save("data_flow")


SIDE = 80  # of a map in the second figure


def draw_map(p: Picture, x: float, y: float, cells: int, color: Sequence[str], name: str, note: str) -> None:
    """A feature map as a grid over the image, with the image's small object and its large one."""
    p.axes.add_patch(Rectangle((x, y), SIDE, SIDE, fc=PAPER, ec="none", zorder=3))
    for center, radius, fill in (((0.64, 0.62), 0.27, "#f7d9a8"), ((0.1875, 0.3125), 0.06, "#d1242f")):
        place = (x + center[0] * SIDE, y + center[1] * SIDE)
        p.axes.add_patch(Circle(place, radius * SIDE, fc=fill, ec="none", zorder=3.1))
    for step in range(cells + 1):
        place = step * SIDE / cells
        p.axes.plot((x + place,) * 2, (y, y + SIDE), color=color[1], lw=0.6, zorder=3.2)
        p.axes.plot((x, x + SIDE), (y + place,) * 2, color=color[1], lw=0.6, zorder=3.2)
    p.text(x + SIDE / 2, y - 11, name, 11, INK, bold=True)
    p.text(x + SIDE / 2, y + SIDE + 12, note, 10.5, GRAY)


def first_row(p: Picture, y: float, color: Sequence[str], stride: int, cells: int, side: int) -> None:
    """Image, row 0, and its map, from left to right."""
    middle = y + SIDE / 2
    draw_map(p, 30, y, 1, SLATE, "image", "300 x 300")
    p.arrow((110, middle), (136, middle))
    p.box(136, middle - 23, 70, 46, color, "row 0", f"stride {stride}")
    p.arrow((206, middle), (232, middle))
    draw_map(p, 232, y, cells, color, "row 0's map", f"{side} x {side}")


def other_rows(p: Picture, y: float, color: Sequence[str], cells: int, side: int, stride: int, words: str) -> None:
    """The rows after the first, the map of row 11, and what it means."""
    middle = y + SIDE / 2
    p.arrow((312, middle), (352, middle))
    p.box(352, middle - 23, 100, 46, color, "rows 1 to 13")
    p.arrow((452, middle), (482, middle))
    draw_map(p, 482, y, cells, color, "row 11's map", f"{side} x {side}, stride {stride}")
    p.text(592, middle, words, 11, align="left")


def dual_path() -> None:
    """MobileNetV1 at 300 x 300: plain, with the first stride taken out, and with dual path."""
    p = Picture(644)
    p.lane(12, 12, 806, 150, SLATE)
    p.text(24, 27, "Plain", 12.5, bold=True, align="left")
    first_row(p, 56, SLATE, 2, 8, 150)
    other_rows(p, 56, SLATE, 4, 19, 16, "The small object (red) fills\nonly a part of a cell.")

    p.lane(12, 172, 806, 150, BLUE)
    p.text(24, 187, "S1L0: the stride of row 0 is taken out", 12.5, BLUE[1], bold=True, align="left")
    first_row(p, 216, BLUE, 1, 16, 300)
    words = "The small object fills a cell.\nBut a cell sees half as far, and the\nlarge object (yellow) outgrows it."
    other_rows(p, 216, BLUE, 8, 38, 8, words)

    p.lane(12, 332, 806, 300, VIOLET)
    p.text(24, 347, "S1L0 with dual path", 12.5, VIOLET[1], bold=True, align="left")
    first_row(p, 376, BLUE, 1, 16, 300)
    other_rows(p, 376, BLUE, 8, 38, 8, "Fine path: as in S1L0,\nfor small objects.")
    p.arrow((272, 480), (272, 506))
    p.text(222, 493, "every second row\nand column", 10.5, GRAY, align="right")
    draw_map(p, 232, 520, 8, SLATE, "", "150 x 150")
    other_rows(p, 520, SLATE, 4, 19, 16, "Coarse path: the maps of the\nplain network, for large objects.")
    p.axes.plot((402, 402), (440, 536), color=VIOLET[1], lw=1.3, ls=(0, (4, 3)), zorder=2)
    p.frame(318, 479, 168, 18, VIOLET[0], level=3)
    p.text(402, 488, "same layers, same weights", 10.5, VIOLET[1], bold=True)
    p.save("dual_path")


if __name__ == "__main__":
    data_flow()
    dual_path()
