"""What the runs of a study say together: intervals of differences, verdicts on claims, the time of each row."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from lib.build_data import build_dataset
from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.protocols import Protocol, quoted_keys
from lib.evaluation.resample import Interval, draw_images, interval_of, metric_of, resample_ap
from lib.inference.predictor import Predictor
from lib.study.grid import Run, run_name
from lib.study.runs import tested
from lib.timing.stages import run_speed
from lib.utils.files import write_json
from lib.utils.reading import read_json
from lib.utils.runtime import choose_device

NUM_RESAMPLES = 1000
SECONDS_PER_ROW = 3.0  # of timing
_BUDGETS = {"seconds": "equal time", "images": "equal numbers of images", "cpu_time": "equal CPU time"}


class Change(NamedTuple):
    """Difference of two rows' mean AP, with its 95 % interval."""

    value: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.interval})"


class Study(NamedTuple):
    """What the JSON files of a study hold."""

    about: dict[str, Any]  # study.json: name, grid, command, the runs that are done, intervals, timing
    results: list[dict[str, Any]]  # of these runs

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.about["name"]

    @property
    def budgets(self) -> list[str]:
        """Those that have results."""
        done = {result["budget"] for result in self.results}
        return [budget for budget in self.about["grid"]["budgets"] if budget in done]

    @property
    def keys(self) -> list[str]:
        """AP over all sizes and by size, in the order of the protocol."""
        return quoted_keys(self.results[0]["metrics"])

    @property
    def missing(self) -> list[str]:
        """Names of the grid's runs that have no result."""
        grid = self.about["grid"]
        asked = itertools.product(grid["rows"], grid["budgets"], grid["seeds"])
        return [name for name in itertools.starmap(run_name, asked) if name not in self.about["runs"]]

    def of(self, row: str, budget: str) -> list[dict[str, Any]]:
        """The results of a row, one for each seed."""
        return [result for result in self.results if (result["row"], result["budget"]) == (row, budget)]

    def values(self, row: str, budget: str, metric: str) -> list[float]:
        """A metric of a row, one for each seed; empty without an object."""
        values = (result["metrics"][metric] for result in self.of(row, budget))
        return [value for value in values if value is not None]

    def time_ms(self, row: str) -> float:
        """Median time of an image."""
        return self.about["timing"]["models"][row]["time_ms"]["total"]["median"]

    def change(self, row: str, against: str, budget: str, metric: str) -> Change | None:
        """How much greater a metric of a row is than that of another; None where one of them has no value."""
        place = {"budget": budget, "row": row, "against": against, "metric": metric}
        for entry in self.about["intervals"]:
            if place.items() <= entry.items() and entry["low"] is not None:
                first, second = (mean(self.values(name, budget, metric)) for name in (row, against))
                return Change(first - second, Interval(entry["low"], entry["high"]))
        return None


def read_study(folder: Path) -> Study:
    """The study whose JSON files lie in ``folder``."""
    about = read_json(folder / "study.json")
    return Study(about, [read_json(folder / f"{name}.json") for name in about["runs"]])


def budget_title(budget: str) -> str:
    """A budget in words, after "at"."""
    return _BUDGETS.get(budget, budget)


def verdict(change: Change | None) -> str:
    """What better - worse says of the claim: holds, fails, undecided, or untested."""
    if change is None:
        return "untested"
    return "undecided" if change.interval.holds_zero else "holds" if change.interval.low > 0 else "fails"


def write_summary(file: Path, about: Mapping[str, Any], grid: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Writes study.json: the grid, what is done of it, intervals of differences, times.

    If it is of exactly these runs already, it stays, with its times, so that published figures do not change.
    ``about`` has further keys; ``runs`` are those that are done.
    """
    content = json.loads(json.dumps({"grid": grid, "runs": {run.name: run.digest for run in runs}}))
    old = read_json(file) if file.exists() else {}
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

    Returns:
        An entry for each budget, pair of rows and AP key: budget, row, against, metric, low, high; the last two are
        None without an object.
    """
    entries = []
    for budget in grid["budgets"]:
        samples, rng = {}, np.random.default_rng(0)
        for row in grid["rows"]:
            seeds = [tested(run) for run in runs if (run.row, run.budget) == (row, budget)]
            if seeds:
                weights = draw_images(len(seeds[0].ground_truth.image_ids), NUM_RESAMPLES)
                samples[row] = draw_seeds([resampled_metrics(*seed, weights) for seed in seeds], rng)
        for row, against in pairs_of(grid):
            if row in samples and against in samples:
                for metric in samples[row]:
                    interval = interval_of(samples[row][metric] - samples[against][metric])
                    low, high = interval or (None, None)
                    place = {"budget": budget, "row": row, "against": against, "metric": metric}
                    entries.append({**place, "low": low, "high": high})
    return entries


def resampled_metrics(
    truth: GroundTruth, detections: DetectionTable, protocol: Protocol, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """AP key -> (B,) its value in each resample; NaN without an object."""
    ap = resample_ap(truth, detections, protocol, weights)
    metrics = protocol.metrics().items()
    return {key: metric_of(ap, metric) for key, metric in metrics if metric.kind == "AP"}


def draw_seeds(seeds: Sequence[Mapping[str, np.ndarray]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """AP key -> (B,) mean over as many seeds as there are, drawn again with replacement in each resample."""
    num_resamples = len(next(iter(seeds[0].values())))
    drawn = rng.integers(0, len(seeds), (len(seeds), num_resamples))
    return {key: np.take_along_axis(np.stack([seed[key] for seed in seeds]), drawn, axis=0).mean(0) for key in seeds[0]}


def time_rows(runs: Sequence[Run]) -> dict[str, Any]:
    """Time of an image in each row, one at a time, all rows turn by turn in one run, with trained weights."""
    of_row, first = {run.row: run for run in reversed(runs)}, runs[0].cfg
    device = choose_device(first.run.device)
    predictors = {row: Predictor(run.folder / "last.pth", device) for row, run in of_row.items()}
    image = build_dataset(first, "val").load(0).image
    for height, width in (predictor.resize.window or image.shape[:2] for predictor in predictors.values()):
        image = image[:height, :width]  # so that none of them sees tiles
    return run_speed(predictors, [image], SECONDS_PER_ROW * len(of_row), device)
