"""Several detectors side by side: a table and a chart by size, and what each of them finds in an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lib.evaluation.protocols import quoted_keys
from lib.evaluation.report.style import STYLE, canvas
from lib.utils.draw import draw_boxes
from lib.utils.figures import write_figure
from lib.utils.table import align


def _keys(results: Mapping[str, Mapping]) -> list[str]:
    """The metrics to quote: AP over all sizes, and by size, smallest first, as the results list them."""
    return quoted_keys(next(iter(results.values()))["metrics"])


def comparison_table(results: Mapping[str, Mapping]) -> str:
    """AP over all sizes, at IoU .5 and by size, as text; ``results``: name -> content of a JSON file of test.py."""
    first, *by_size = _keys(results)
    keys = dict.fromkeys([first, *({"AP50"} & next(iter(results.values()))["metrics"].keys()), *by_size])
    rows = ((name, *(result["metrics"][key] for key in keys)) for name, result in results.items())
    return align([("", *keys), *rows])


@STYLE
def plot_by_size(results: Mapping[str, Mapping], file: Path) -> Path:
    """A bar chart of AP by size range, one color for each detector, written to ``file``."""
    by_size = {key.split("_", 1)[1]: key for key in _keys(results) if "_" in key}
    names, counts = list(by_size), next(iter(results.values()))["counts"]
    figure, (axes,) = canvas(1.6 + 1.9 * len(names), 3.6)
    width, places = 0.8 / len(results), np.arange(len(names))
    for index, (detector, result) in enumerate(results.items()):
        values = [result["metrics"][key] or 0.0 for key in by_size.values()]
        bars = axes.bar(places + (index - (len(results) - 1) / 2) * width, values, width, label=detector)
        axes.bar_label(bars, fmt="%.3f", padding=2)
    axes.set_xticks(places, [f"{name}\n{counts.get(name, 0)} objects" for name in names])
    axes.set(ylabel="AP (IoU .50 to .95)", title="Average precision by object size")
    axes.margins(y=0.15)
    axes.grid(axis="x", visible=False)
    axes.legend()
    write_figure(file, figure, dpi=130)
    return file


def plot_images(
    dataset: Any,
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    file: Path,
    count: int = 3,
    min_score: float = 0.2,
) -> Path:
    """The ``count`` images with the most objects, one in each row: ground truth, then what each detector finds.

    Args:
        dataset: the images that were tested, a CocoDataset.
        detections: name -> content of a COCO results file; those below ``min_score`` are left out.
    """
    num_objects = [len(dataset.objects(index)[1]) for index in range(len(dataset))]
    rows = np.argsort(-np.array(num_objects), kind="stable")[:count].tolist()
    figure = Figure((4.6 * (1 + len(detections)), 4.6 * count), layout="constrained")
    axes = figure.subplots(count, 1 + len(detections), squeeze=False)
    for line, index in zip(axes, rows, strict=True):
        sample = dataset.load(index)
        shown: dict[str, tuple] = {"ground truth": (sample.boxes, sample.labels, None)}
        for name, results in detections.items():
            shown[name] = _of_image(results, dataset, sample.image_id, min_score)
        for place, (title, (boxes, labels, scores)) in zip(line, shown.items(), strict=True):
            enlarged = sample.image.repeat(2, axis=0).repeat(2, axis=1)
            drawn = draw_boxes(enlarged, boxes * 2, labels, dataset.classes, scores)
            place.imshow(drawn[..., ::-1])
            place.set_title(f"{title}: {len(labels)} {'objects' if scores is None else 'detections'}", fontsize=11)
            place.set_axis_off()
    write_figure(file, figure, dpi=100)
    return file


def _of_image(
    results: Sequence[Mapping[str, Any]], dataset: Any, image_id: int, min_score: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (D, 4) xyxy, labels (D,) and scores (D,) of one image, best first."""
    label_of = {category_id: index + 1 for index, category_id in enumerate(dataset.category_ids)}
    chosen = [row for row in results if row["image_id"] == image_id and row["score"] >= min_score]
    chosen.sort(key=lambda row: -row["score"])
    boxes = np.array([row["bbox"] for row in chosen], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([label_of[row["category_id"]] for row in chosen], int)
    return boxes, labels, np.array([row["score"] for row in chosen])
