"""What tools/check_dataset.py reports: a survey of a data set, and how well an experiment's priors fit its objects."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lib.build import build_matcher, build_priors
from lib.config import load_config
from lib.data.survey import Survey
from lib.engine.fitting import input_and_maps
from lib.evaluation.protocols import Protocol, side_text
from lib.evaluation.report.plots import coverage_figure, histogram_figure
from lib.evaluation.report.style import page
from lib.multibox.coverage import Unmatched, best_overlaps, count_unmatched, fit_boxes
from lib.utils.table import Row, align

PLACEHOLDERS = (
    "This experiment fits its priors to the data when training starts; the priors compared here are placeholders."
)
NO_FILES = "The image files were not looked at: give their folder, --images."


class Coverage(NamedTuple):
    """How well the priors of an experiment fit the objects, without those in images of unknown size."""

    threshold: float  # IoU from which a prior matches
    is_known: np.ndarray  # (G,) bool, of the survey's objects: whether the size of their image is known, of N
    now: np.ndarray  # (N,) float32, best IoU of each object with a prior of the experiment
    fitted: np.ndarray  # the same of the suggested priors
    suggestion: str  # YAML of the fitted priors
    unmatched: Unmatched  # objects that the experiment's matcher gives no prior
    are_placeholders: bool  # whether the experiment fits its priors when training starts

    def unmatched_text(self) -> str:
        """What is to be said about them."""
        (without, objects, images), unknown = self.unmatched, np.count_nonzero(~self.is_known)
        text = f"The experiment's matcher assigns no prior to {without:,} of {objects:,} objects in {images:,} images"
        text = f"{PLACEHOLDERS} {text}." if self.are_placeholders else f"{text}; training cannot learn from these."
        left_out = f" {unknown:,} objects in images of unknown size are not compared with priors." if unknown else ""
        return text + left_out


def cover(survey: Survey, experiment: str | Mapping[str, Any]) -> Coverage:
    """Matches the objects, resized to the network's input, with the experiment's priors and with fitted ones."""
    cfg = load_config(experiment)
    is_known = np.isfinite(survey.sizes).all(axis=1)
    if len(is_known) and not is_known.any():
        raise ValueError(
            "the sizes of images must be known to compare objects with priors; none of those with objects is: give "
            "--images, a folder of files that can be read"
        )
    size, maps = input_and_maps(cfg)
    priors = build_priors(cfg.model.priors, maps, size)
    boxes = survey.boxes[is_known] * (np.array(size) / survey.sizes[is_known])[:, [1, 0, 1, 0]]
    shapes = fit_boxes(boxes, priors, maps, size)
    fitted = build_priors({**cfg.model.priors, "boxes": shapes}, maps, size)
    now, best = (best_overlaps(boxes, generator(maps, size)) for generator in (priors, fitted))
    unmatched = count_unmatched(boxes, survey.images[is_known], priors(maps, size), build_matcher(cfg))
    levels = "".join(f"    - {json.dumps(level)}\n" for level in shapes)
    comment = "# [width, height] of a cell's priors, for each level"
    suggestion = f"model:\n  priors:\n    boxes:  {comment}\n{levels}"
    are_placeholders = cfg.model.priors.fit is not None
    return Coverage(cfg.matcher.get("threshold", 0.5), is_known, now, best, suggestion, unmatched, are_placeholders)


class DataReport(NamedTuple):
    """A survey counted by the ranges of a protocol; with ``coverage`` also what no prior matches."""

    survey: Survey
    protocol: Protocol
    coverage: Coverage | None = None

    def size_rows(self) -> list[Row]:
        """Header, and one row a range: objects, and those that no prior matches, as the priors are and fitted."""
        rows: list[Row] = [("range", "side, px", "objects")]
        if self.coverage:
            below = f"best IoU < {self.coverage.threshold:g}"
            rows = [(*rows[0], below, "share", f"{below}, fitted priors", "share, fitted")]
        for name, (low, high) in self.protocol.ranges.items():
            inside = (self.survey.areas >= low) & (self.survey.areas <= high)
            cells: list[object] = [name, side_text((low, high)), int(inside.sum())]
            if self.coverage:
                known = inside[self.coverage.is_known]
                for best in (self.coverage.now, self.coverage.fitted):
                    lost = int((best[known] < self.coverage.threshold).sum())
                    cells += [lost, f"{lost / known.sum():.1%}" if known.any() else None]
            rows.append(cells)
        return rows

    def class_rows(self) -> list[Row]:
        """Header, and one row a class."""
        return [("class", "objects"), *self.survey.classes.items()]

    def text(self) -> str:
        """The report to read on a screen."""
        images, empty, objects = self.survey.num_images, self.survey.num_empty, len(self.survey.areas)
        summary = f"{images:,} images, {empty:,} without an object; {objects:,} usable objects"
        if not self.survey.has_files:
            summary += f"\n{NO_FILES}"
        problems = "\n".join(self.survey.problems.lines()) or "No problem was found."
        parts = [summary, *map(align, (self.size_rows(), self.class_rows())), problems]
        if self.coverage:
            parts += [self.coverage.unmatched_text(), f"Priors fitted to the objects:\n\n{self.coverage.suggestion}"]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The report for other programs, as plain values."""
        keys = ("objects", "without_prior", "without_fitted_prior")
        counts = {row[0]: dict(zip(keys, [row[2], *row[3::2]], strict=False)) for row in self.size_rows()[1:]}
        images = {"images": self.survey.num_images, "images_without_objects": self.survey.num_empty}
        images["files_checked"] = self.survey.has_files
        unmatched = {"unmatched": self.coverage.unmatched._asdict()} if self.coverage else {}
        content = {"classes": self.survey.classes, "problems": dict(self.survey.problems), "ranges": counts}
        return {**images, **content, **unmatched}

    def html(self, title: str) -> str:
        """The report as a page with plots."""
        sides, coverage, figure = np.sqrt(self.survey.areas), self.coverage, None
        problems = [(kind, len(all_), "; ".join(all_[:3])) for kind, all_ in self.survey.problems.items()]
        if coverage and len(sides):
            curves = {"priors as they are": coverage.now, "fitted priors": coverage.fitted}
            figure = coverage_figure(sides[coverage.is_known], curves, coverage.threshold)
        return page(
            "data.html",
            title,
            survey=self.survey,
            no_files=None if self.survey.has_files else NO_FILES,
            problem_rows=[("problem", "number", "such as"), *problems],
            size_figure=histogram_figure(sides, self.protocol) if len(sides) else None,
            size_rows=self.size_rows(),
            coverage=coverage,
            coverage_figure=figure,
            class_rows=self.class_rows(),
        )
