"""The report of studies as Markdown, made from their JSON files and nothing else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from lib.study.grid import read_grid, run_name
from lib.study.summary import verdict

BUDGETS = {"seconds": "equal time", "images": "equal numbers of images"}
HEAD = """<!-- Written by python tools/study.py --render from docs/results/study: do not edit. -->
# The study: does taking out early strides help small objects?

Each row is trained with the same data, augmentation, schedule and starting weights, under two budgets apart: the
same number of images seen, and the same training time. The last weights are tested; nothing is chosen by the test
images. AP is the mean over seeds with its standard deviation. Differences have 95 % intervals of a paired bootstrap:
each of 1,000 resamples draws the test images, the same ones for all rows, and the seeds of each row. A claim *holds*
where the interval of its difference lies above 0, *fails* where it lies below, and is *undecided* otherwise.
"""


class Change(NamedTuple):
    """Difference of two rows' mean AP, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


class Study(NamedTuple):
    """What the JSON files of a study hold.

    Attributes:
        about: study.json: name, grid, command, the runs that are done, intervals, timing.
        results: of these runs.
    """

    about: dict[str, Any]
    results: list[dict[str, Any]]

    @property
    def budgets(self) -> list[str]:
        """Those that have results."""
        done = {result["budget"] for result in self.results}
        return [budget for budget in self.about["grid"]["budgets"] if budget in done]

    @property
    def keys(self) -> list[str]:
        """AP over all sizes and by size, as the protocol lists them."""
        return ["AP", *(key for key in self.results[0]["metrics"] if key.startswith("AP_"))]

    def of(self, row: str, budget: str) -> list[dict[str, Any]]:
        """The results of a row, a seed each."""
        return [result for result in self.results if (result["row"], result["budget"]) == (row, budget)]

    def values(self, row: str, budget: str, metric: str) -> list[float]:
        """A metric of a row, a seed each; empty without an object."""
        values = (result["metrics"][metric] for result in self.of(row, budget))
        return [value for value in values if value is not None]

    def time_ms(self, row: str) -> float:
        """Median time of an image."""
        return self.about["timing"]["models"][row]["time_ms"]["total"]["median"]

    def change(self, row: str, against: str, budget: str, metric: str) -> Change | None:
        """How much greater a metric of a row is than that of another; None where not both have it."""
        place = {"budget": budget, "row": row, "against": against, "metric": metric}
        for found in self.about["intervals"]:
            if place.items() <= found.items() and found["low"] is not None:
                first, second = (mean(self.values(name, budget, metric)) for name in (row, against))
                return Change(first - second, found["low"], found["high"])
        return None


def read_study(folder: Path) -> Study:
    """The study whose JSON files lie in ``folder``."""
    about = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    files = (folder / f"{name}.json" for name in about["runs"])
    return Study(about, [json.loads(file.read_text(encoding="utf-8")) for file in files])


def render(studies: Sequence[Study], grids: Iterable[Path] = (), links: str = "results/study/{name}") -> str:
    """The whole page; its figures lie in ``images`` beside it.

    Args:
        studies: those that were run.
        grids: grid files; those that no study is of are named as not run.
        links: where the JSON files of a study lie, seen from the page.
    """
    names = [study.about["name"] for study in studies]
    parts = [HEAD]
    for study, name in zip(studies, names, strict=True):
        parts += [f"## {name}\n\n{_origin(study)}\n", f"### In plain words\n\n{_claims(study)}\n"]
        for budget in study.budgets:
            tables = f"{_values(study, budget, links.format(name=name))}\n\n{_changes(study, budget)}"
            parts.append(f"### {_title(budget).capitalize()}\n\n{tables}\n")
        parts.append(
            f"### Figures\n\n![AP against object size](images/study_{name}_by_size.png)\n\n"
            f"![AP of the smallest objects against cost and time](images/study_{name}_cost.png)\n"
        )
        parts.append(f"### What was not run\n\n{_missing(study)}\n")
    for file in grids:
        if file.stem not in names:
            text = f"No run of `experiments/study/{file.name}` has a result here."
            parts.append(
                f"## {file.stem}: not run\n\n{text} Its rows: {', '.join(read_grid(file)['rows'])}.\n"
            )
    return "\n".join(parts)


def _title(budget: str) -> str:
    return BUDGETS.get(budget, budget)


def _origin(study: Study) -> str:
    """Command, machine, dates, code, data."""

    def all_of(key: str) -> str:
        return ", ".join(sorted({str(result[key]) for result in study.results}))

    dates = sorted(result["date"] for result in study.results)
    objects = ", ".join(f"{count:,} {name}" for name, count in study.results[0]["counts"].items())
    return (
        f"`{study.about['command']}`\n\n"
        f"{dates[0]} to {dates[-1]}; {all_of('device')}; torch {all_of('torch')}, {all_of('precision')}, "
        f"threads of a run: {all_of('threads')}, runs at once: {study.about['jobs']}; commit {all_of('commit')}; "
        f"seeds {all_of('seed')}. Test objects: {objects}."
    )


def _claims(study: Study) -> str:
    """A line a claim and size, with the verdict under each budget; first how many there are of each."""
    lines, verdicts = [], []
    for claim in study.about["grid"]["claims"]:
        better, worse = claim["better"], claim["worse"]
        for size in claim["ranges"]:
            found = []
            for budget in study.budgets:
                change = study.change(better, worse, budget, f"AP_{size}")
                verdicts.append(verdict(change))
                text = "" if change is None else f", {better} - {worse} is {change}"
                found.append(f"**{verdicts[-1]}** at {_title(budget)}{text}")
            lines.append(f"- {claim['text'].format(size=size)} {'; '.join(found)}.")
    counts = (
        f"{word} {verdicts.count(word)}" for word in dict.fromkeys(("holds", "fails", "undecided", *verdicts))
    )
    return f"Of {len(verdicts)} verdicts: {', '.join(counts)}.\n\n" + "\n".join(lines)


def _values(study: Study, budget: str, links: str) -> str:
    """A line a row: AP by size, cost, time, and the JSON file of each seed."""
    titles = [
        "row",
        *study.keys,
        "GMAC",
        "10^6 parameters",
        "ms an image",
        "training s",
        "images seen",
        "runs",
    ]
    lines = []
    for row in study.about["grid"]["rows"]:
        if results := study.of(row, budget):
            seeds = [result["seed"] for result in results]
            cells = [row, *(_spread(study.values(row, budget, key)) for key in study.keys)]
            cells += [f"{results[0]['gmac']:.3g}", f"{results[0]['parameters'] / 1e6:.2f}"]
            cells += [f"{study.time_ms(row):.1f}"]
            cells += [f"{mean(result[key] for result in results):,.0f}" for key in ("seconds", "images_seen")]
            cells += [" ".join(f"[{seed}]({links}/{run_name(row, budget, seed)}.json)" for seed in seeds)]
            lines.append(cells)
    return _table(titles, lines)


def _changes(study: Study, budget: str) -> str:
    """A line a row: its difference to the reference, by size; bold where the interval leaves out 0."""
    reference, lines = study.about["grid"]["reference"], []
    for row in study.about["grid"]["rows"]:
        changes = [study.change(row, reference, budget, key) for key in study.keys]
        if any(changes):
            bold = ("**" if verdict(change) in ("holds", "fails") else "" for change in changes)
            cells = ("-" if change is None else str(change) for change in changes)
            lines.append(
                [f"{row} - {reference}", *(f"{b}{cell}{b}" for b, cell in zip(bold, cells, strict=True))]
            )
    return _table(["difference", *study.keys], lines)


def _missing(study: Study) -> str:
    """The runs of the grid that have no result."""
    grid = study.about["grid"]
    asked = itertools.starmap(run_name, itertools.product(grid["rows"], grid["budgets"], grid["seeds"]))
    missing = [name for name in asked if name not in study.about["runs"]]
    return (
        f"{len(missing)} runs: {', '.join(missing)}."
        if missing
        else "Nothing: every run of the grid is here."
    )


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; a dash without an object."""
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *lines))
