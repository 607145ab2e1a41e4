"""What tools/check_dataset.py shows: a survey of a data set, and how an experiment's priors meet its objects."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.build import build_detector, input_size
from lib.config import load_config
from lib.data.survey import Survey
from lib.evaluation.protocols import Protocol, side_text
from lib.evaluation.report.html import page
from lib.evaluation.report.plots import coverage_figure, histogram_figure
from lib.models.cost import map_sizes
from lib.multibox.coverage import best_overlaps, fit_boxes
from lib.multibox.priors import PriorGenerator
from lib.utils.table import align

Row = tuple[object, ...]


class Coverage(NamedTuple):
    """How the priors of an experiment meet the objects.

    Attributes:
        threshold: IoU from which a prior matches.
        now, fitted: (G,) float32, each object's best IoU with a prior, as they are and as suggested.
        suggestion: YAML of the fitted priors.
    """

    threshold: float
    now: np.ndarray
    fitted: np.ndarray
    suggestion: str


def cover(found: Survey, experiment: str) -> Coverage:
    """Matches the objects, resized to the network's input, with the experiment's priors and with fitted ones."""
    cfg = load_config(experiment)
    size = input_size(cfg)
    with torch.device("meta"):  # only its shapes matter
        detector = build_detector(cfg)
    maps = map_sizes(detector, size)
    factors = (np.array(size) / found.sizes)[:, [1, 0, 1, 0]]
    boxes = found.boxes * factors
    now = best_overlaps(boxes, detector.priors(maps, size))
    shapes = fit_boxes(boxes, detector.priors, maps, size)
    fitted = best_overlaps(boxes, PriorGenerator(**{**cfg.model.priors, "boxes": shapes})(maps, size))
    levels = "".join(f"    - {json.dumps(level)}\n" for level in shapes)
    note = "# [width, height] of a cell's priors, for each level; null: those of sizes and ratios"
    suggestion = f"model:\n  priors:\n    boxes:  {note}\n{levels}"
    return Coverage(cfg.matcher.get("threshold", 0.5), now, fitted, suggestion)


def size_rows(found: Survey, protocol: Protocol, coverage: Coverage | None) -> list[Row]:
    """Header, and one row a range: objects, and those that no prior matches, as priors are and fitted."""
    titles = ("no prior", "share", "fitted: no prior", "share") if coverage else ()
    rows: list[Row] = [("range", "side, px", "objects", *titles)]
    for name, (low, high) in protocol.ranges.items():
        inside = (found.areas >= low) & (found.areas <= high)
        cells: list[object] = []
        for best in (coverage.now, coverage.fitted) if coverage else ():
            lost = int((best[inside] < coverage.threshold).sum())
            cells += [lost, f"{lost / inside.sum():.1%}" if inside.any() else None]
        rows.append((name, side_text((low, high)), int(inside.sum()), *cells))
    return rows


def text_report(found: Survey, protocol: Protocol, coverage: Coverage | None) -> str:
    """The report to read on a screen."""
    parts = [
        f"{found.num_images} images, {found.num_empty} without an object; {len(found.areas)} usable objects",
        align(size_rows(found, protocol, coverage)),
        align([("class", "objects"), *found.classes.items()]),
        "\n".join(f"{line}" for line in found.problems.lines()) or "No problem was found.",
    ]
    return "\n\n".join(
        parts + ([f"Priors fitted to the objects:\n\n{coverage.suggestion}"] if coverage else [])
    )


def json_report(found: Survey, protocol: Protocol, coverage: Coverage | None) -> dict[str, Any]:
    """The same for other programs."""
    report = {
        "images": found.num_images,
        "images_without_objects": found.num_empty,
        "classes": found.classes,
        "problems": dict(found.problems),
        "ranges": {},
    }
    for name, _, objects, *rest in size_rows(found, protocol, coverage)[1:]:
        lost = (
            dict(zip(("without_prior", "without_fitted_prior"), rest[::2], strict=True)) if coverage else {}
        )
        report["ranges"][name] = {"objects": objects, **lost}
    return report


def html_report(title: str, found: Survey, protocol: Protocol, coverage: Coverage | None) -> str:
    """The same as a page with plots."""
    problems = [(kind, len(things), "; ".join(things[:3])) for kind, things in found.problems.items()]
    sides, figure = np.sqrt(found.areas), None
    if coverage and len(sides):
        curves = {"priors as they are": coverage.now, "fitted priors": coverage.fitted}
        figure = coverage_figure(sides, curves, coverage.threshold)
    return page(
        "data.html",
        title,
        survey=found,
        problem_rows=[("problem", "number", "such as"), *problems],
        size_figure=histogram_figure(sides, protocol) if len(sides) else None,
        size_rows=size_rows(found, protocol, coverage),
        coverage=coverage,
        coverage_figure=figure,
        class_rows=[("class", "objects"), *found.classes.items()],
    )
