"""What the runs of a study say together: paired intervals of differences, verdicts on claims, times of all rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.protocols import Protocol
from lib.evaluation.resample import resample_ap
from lib.evaluation.voc_visdrone import drop_regions
from lib.inference.predictor import Predictor
from lib.study.grid import Run
from lib.study.runs import judged
from lib.timing.stages import make_images, run_speed
from lib.utils.files import write_json
from lib.utils.runtime import choose_device

NUM_RESAMPLES = 1000
SECONDS_A_ROW = 3.0  # of timing


def write_summary(file: Path, about: Mapping[str, Any], grid: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Writes study.json: the grid, what is done of it, intervals of differences, times.

    Where it is of these very runs already it stays, times and all: figures that were read do not change.

    Args:
        about: what it says besides.
        runs: those that are done.
    """
    content = json.loads(json.dumps({"grid": grid, "runs": {run.name: run.digest for run in runs}}))
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if not content.items() <= old.items():
        summary = {"intervals": find_intervals(grid, runs), "timing": time_rows(runs)}
        write_json(file, {**about, **content, **summary})


def pairs_of(grid: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(row, the row that it is compared with): each with the reference, and those of the claims."""
    pairs = [(row, grid["reference"]) for row in grid["rows"] if row != grid["reference"]]
    pairs += [(claim["better"], claim["worse"]) for claim in grid["claims"]]
    return list(dict.fromkeys(pairs))


def find_intervals(grid: Mapping[str, Any], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """95 % intervals of the difference in AP between rows, over all seeds of each.

    A paired bootstrap: each resample draws the images, the same ones for all rows, and a row's seeds.

    Args:
        runs: those that are done.

    Returns:
        An entry for each budget, pair of rows and AP key: budget, row, against, metric, low, high; None without
        an object.
    """
    found, weights = [], None
    for budget in grid["budgets"]:
        samples, rng = {}, np.random.default_rng(0)
        for row in grid["rows"]:
            seeds = [judged(run) for run in runs if (run.row, run.budget) == (row, budget)]
            if seeds:
                weights = draw_images(seeds[0][0], NUM_RESAMPLES) if weights is None else weights
                samples[row] = draw_seeds([resampled_metrics(*seed, weights) for seed in seeds], rng)
        for row, against in pairs_of(grid):
            if row in samples and against in samples:
                for metric in samples[row]:
                    low, high = interval(samples[row][metric] - samples[against][metric])
                    entry = {"budget": budget, "row": row, "against": against, "metric": metric}
                    found.append({**entry, "low": low, "high": high})
    return found


def draw_images(truth: GroundTruth, num_resamples: int) -> np.ndarray:
    """(I, B) float32, how often each resample holds each image."""
    count, rng = len(truth.image_ids), np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(num_resamples)]
    return np.stack(drawn, axis=1).astype(np.float32)


def resampled_metrics(
    truth: GroundTruth, detections: DetectionTable, protocol: Protocol, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """AP key -> (B,) its value in each resample; NaN without an object."""
    ap = np.ma.masked_invalid(
        resample_ap(*drop_regions(truth, detections), protocol, weights)
    )  # (T, K, A, B)
    found = {}
    for key, metric in protocol.metrics().items():
        if metric.kind == "AP":
            thresholds = slice(None) if metric.threshold is None else [metric.threshold]
            found[key] = ap[thresholds, :, metric.area].mean((0, 1), dtype=np.float64).filled(np.nan)
    return found


def draw_seeds(seeds: Sequence[Mapping[str, np.ndarray]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """AP key -> (B,) mean over as many seeds as there are, drawn with replacement anew in each resample."""
    num_resamples = len(next(iter(seeds[0].values())))
    drawn = rng.integers(0, len(seeds), (len(seeds), num_resamples))
    return {
        key: np.take_along_axis(np.stack([seed[key] for seed in seeds]), drawn, axis=0).mean(0)
        for key in seeds[0]
    }


def interval(change: np.ndarray) -> tuple[float | None, float | None]:
    """The middle 95 % of (B,) differences; None where none is a number."""
    change = change[np.isfinite(change)]
    return tuple(np.quantile(change, [0.025, 0.975]).tolist()) if len(change) else (None, None)


def verdict(change: tuple[float, float, float] | None) -> str:
    """What (difference, low, high) of better - worse says of the claim: holds, fails, undecided, or untested."""
    if change is None:
        return "untested"
    _, low, high = change
    return "holds" if low > 0 else "fails" if high < 0 else "undecided"


def time_rows(runs: Sequence[Run]) -> dict[str, Any]:
    """Time of an image in each row, one at a time, all rows turn by turn in one run, with trained weights."""
    of_row = {run.row: run for run in reversed(runs)}
    first, seconds = runs[0].cfg, SECONDS_A_ROW * len(of_row)
    images = make_images(first.data.val.images, (0, 0), 1, np.random.default_rng(0))
    device = choose_device(first.run.device)
    predictors = {row: Predictor(Path(run.folder) / "last.pth", device) for row, run in of_row.items()}
    return run_speed(predictors, images, seconds, device)
