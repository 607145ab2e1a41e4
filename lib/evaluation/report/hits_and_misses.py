"""One large image with many objects: what a detector finds in it, what it misses, and its false positives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lib.evaluation.analysis import Judgement, best_score, judge
from lib.evaluation.arrays import DetectionTable, GroundTruth, make_detections, make_ground_truth
from lib.evaluation.protocols import make_protocol
from lib.evaluation.regions import drop_regions
from lib.evaluation.report.style import STYLE

PRESENT, FOUND, MISSED, FALSE_POSITIVE = "#ffffff", "#ffe600", "#00d0ff", "#ff3b1f"
_WIDTH, _GAP, _HEADING, _DPI = 9.0, 0.1, 0.42, 100  # inches of a panel, between two, above them; pixels for an inch
_LINE = 1.3  # points
Results = Sequence[Mapping[str, Any]]  # content of a COCO results file


class Outcome(NamedTuple):
    """Boxes (N, 4) float64 xywh in pixels of an image, by what a detector makes of them at IoU .5."""

    objects: np.ndarray  # all that are there
    hits: np.ndarray  # detections of an object
    missed: np.ndarray  # objects without a detection
    false_positives: np.ndarray  # detections of nothing

    @property
    def num_counted(self) -> int:
        """Objects that the detector reports, right or wrong."""
        return len(self.hits) + len(self.false_positives)


def outcome_of(dataset: Any, results: Results, min_score: float, index: int = 0) -> Outcome:
    """What a detector makes of the image ``index`` of a CocoDataset.

    Args:
        results: content of a COCO results file; detections below ``min_score`` are left out.
    """
    ground_truth, detections, judged = _judge(dataset, results, [dataset.image_ids[index]])
    is_shown = detections.score >= min_score
    return Outcome(
        objects=ground_truth.xywh[judged.counting],
        hits=detections.xywh[judged.true & is_shown],
        missed=ground_truth.xywh[judged.counting & ~(judged.score_of >= min_score)],
        false_positives=detections.xywh[~judged.true & ~judged.ignored & is_shown],
    )


def score_to_count(dataset: Any, results: Results) -> float:
    """The least score to accept for the highest F1 in a CocoDataset; 0 where nothing is found."""
    _, detections, judged = _judge(dataset, results, dataset.image_ids)
    return best_score(detections, judged)


def _judge(dataset: Any, results: Results, image_ids: Sequence[int]) -> tuple[GroundTruth, DetectionTable, Judgement]:
    """All detections in some images, however many they are, as COCO judges them."""
    protocol = make_protocol(max_detections=[max(len(results), 1)])
    ground_truth = make_ground_truth(dataset.ground_truth, protocol, image_ids=image_ids)
    detections = make_detections([row for row in results if row["image_id"] in image_ids], ground_truth)
    ground_truth, detections = drop_regions(ground_truth, detections)
    return ground_truth, detections, judge(ground_truth, detections, protocol)


@STYLE
def plot_outcome(image: np.ndarray, outcome: Outcome, what: str, file: Path) -> Path:
    """The image beside itself, with the ground truth and with what is found in it, written to ``file``.

    Args:
        image: (H, W, 3) uint8 BGR.
        what: the objects' name in the plural, for the headings.
    """
    height = _WIDTH * image.shape[0] / image.shape[1]
    whole = 2 * _WIDTH + _GAP, height + _HEADING
    figure = Figure(whole, dpi=_DPI)
    starts = (0, (_WIDTH + _GAP) / whole[0])
    truth, result = (figure.add_axes((x, 0, _WIDTH / whole[0], height / whole[1])) for x in starts)
    _draw(truth, image, {(PRESENT, f"ground truth: {len(outcome.objects)} {what}"): outcome.objects})
    kinds = (
        (FOUND, "found", outcome.hits),
        (MISSED, "missed", outcome.missed),
        (FALSE_POSITIVE, "false positives", outcome.false_positives),
    )
    _draw(result, image, {(color, f"{len(boxes)} {name}"): boxes for color, name, boxes in kinds})
    figure.savefig(file, pil_kwargs={"quality": 82} if file.suffix == ".jpg" else None)
    return file


def _draw(axes: Axes, image: np.ndarray, shown: Mapping[tuple[str, str], np.ndarray]) -> None:
    """The image with thin frames: ``shown`` is (color, text of the legend) -> boxes (N, 4) xywh."""
    axes.imshow(image[..., ::-1], aspect="auto", interpolation="antialiased")
    for (color, _), xywh in shown.items():
        x1, y1, x2, y2 = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1).T
        corners = np.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=1).reshape(-1, 4, 2)
        axes.add_collection(PolyCollection(list(corners), facecolors="none", edgecolors=color, linewidths=_LINE))
    handles = [Patch(facecolor=color, edgecolor="black", label=text) for color, text in shown]
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0.0}
    axes.legend(handles=handles, ncols=len(handles), fontsize=17, handlelength=1, columnspacing=1.2, **above)
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))  # boxes do not widen it
    axes.set_axis_off()
