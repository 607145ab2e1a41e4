"""The report of studies as Markdown with figures, made from their JSON files and nothing else."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lib.evaluation.report.style import STYLE, canvas, scale_sizes
from lib.study.grid import read_grid, run_name
from lib.study.summary import Change, Study, budget_title, read_study, verdict
from lib.utils.figures import write_figure
from lib.utils.files import write_bytes, write_text
from lib.utils.table import Row
from lib.utils.template import render

_WORDS = {"fails": "contradicted"}  # verdict, a key of grids -> what the page says, which cannot be read as "not shown"


def write_page(page: Path, folders: Iterable[Path], grids: Iterable[Path] = (), **links: str) -> None:
    """Draws the figures and writes the page of the studies whose JSON files lie in these folders."""
    studies = [read_study(folder) for folder in folders]
    for study in studies:
        figure = str(page.parent / "images" / f"study_{study.name}")
        plot_by_size(study, Path(f"{figure}_by_size.png"))
        plot_cost(study, Path(f"{figure}_cost.png"))
    write_text(page, make_page(studies, grids, **links))
    print(f"look at {page}")


def make_page(studies: Sequence[Study], grids: Iterable[Path] = (), links: str = "results/study/{name}") -> str:
    """The whole page as Markdown; its figures lie in ``images`` beside it.

    Grid files without a study are named as not run. ``links`` is where the JSON files of a study lie, seen from the
    page.
    """
    names = [study.name for study in studies]
    return render(
        Path(__file__).parent / "templates" / "report.md",
        studies=studies,
        not_run={grid: read_grid(grid)["rows"] for grid in grids if grid.stem not in names},
        links=links,
        budget_title=budget_title,
        origin=_origin,
        advice_lines=_advice_lines,
        claim_lines=_claim_lines,
        value_rows=_value_rows,
        change_rows=_change_rows,
    )


class Published(NamedTuple):
    """What docs/study.md is made from: folders of studies in docs/results/study, and all grid files."""

    folders: list[Path]
    grids: list[Path]


def published(root: Path) -> Published:
    """The studies in the docs of the project at ``root``, and its grid files."""
    folders = sorted(file.parent for file in root.glob("docs/results/study/*/study.json"))
    return Published(folders, sorted(root.glob("experiments/study/*.yaml")))


def publish(results: Path, target: Path) -> None:
    """Copies the JSON files of a study to where git keeps them, then removes the others that were there."""
    names = ("study", *read_study(results).about["runs"])
    contents = {name: (results / f"{name}.json").read_bytes() for name in names}
    for name, content in contents.items():
        write_bytes(target / f"{name}.json", content)
    for file in target.glob("*.json"):
        if file.stem not in contents:
            file.unlink()


def _origin(study: Study) -> str:
    """Dates, machine, code and data of the runs."""

    def all_of(key: str) -> str:
        return ", ".join(sorted({str(result[key]) for result in study.results}))

    dates = sorted(result["date"] for result in study.results)
    objects = ", ".join(f"{count:,} {name}" for name, count in study.results[0]["counts"].items())
    return (
        f"{dates[0]} to {dates[-1]}; {all_of('device')}; torch {all_of('torch')}, {all_of('precision')}, "
        f"threads per run: {all_of('threads')}, parallel runs: {study.about['jobs']}; commit {all_of('commit')}; "
        f"seeds {all_of('seed')}. Test objects: {objects}."
    )


def _advice_lines(study: Study) -> Iterator[str]:
    """What to choose: for each claim that has advice, the sentence of each of its verdicts, with sizes and differences.

    A size for which the claim was not tested, such as one of which the data have no object, is left out.
    """
    for claim in study.about["grid"]["claims"]:
        if advice := claim.get("advice"):
            sizes_of: dict[str, dict[str, Change]] = {}  # verdict -> size -> difference
            for size in claim["ranges"]:
                change = study.change(claim["better"], claim["worse"], advice["budget"], f"AP_{size}")
                if change is not None:
                    sizes_of.setdefault(verdict(change), {})[size] = change
            pair = f"{claim['better']} - {claim['worse']}, {budget_title(advice['budget'])}"
            for word, changes in sizes_of.items():
                differences = ", ".join(f"{size} {change}" for size, change in changes.items())
                *others, last = changes
                sizes = f"{', '.join(others)} and {last}" if others else last
                yield f"- {advice[word].format(size=sizes)} ({pair}: {differences})"


def _claim_lines(study: Study) -> Iterator[str]:
    """How many verdicts there are of each kind; then one item for each claim and size that the data have, with its
    verdicts.
    """
    items, words = [], []
    for claim in study.about["grid"]["claims"]:
        better, worse = claim["better"], claim["worse"]
        for size in (size for size in claim["ranges"] if study.results[0]["counts"][size]):
            verdicts = []
            for budget in study.budgets:
                change = study.change(better, worse, budget, f"AP_{size}")
                text = "" if change is None else f", {better} - {worse} is {change}"
                words.append(_WORDS.get(verdict(change), verdict(change)))
                verdicts.append(f"**{words[-1]}** at {budget_title(budget)}{text}")
            items.append(f"- {claim['text'].format(size=size)} {'; '.join(verdicts)}.")
    counts = {"holds": 0, "contradicted": 0, "undecided": 0, **Counter(words)}
    yield f"Of {len(words)} verdicts: {', '.join(f'{word} {count}' for word, count in counts.items())}.\n"
    yield from items


def _value_rows(study: Study, budget: str, links: str) -> list[Row]:
    """Header, and one line for each row: AP by size, cost, time, and the JSON file of each seed."""
    costs = ("GMAC", "10^6 parameters", "ms per image", "training s", "images seen")
    lines: list[Row] = [("variant", *study.keys, *costs, "runs")]
    for row in study.about["grid"]["rows"]:
        if results := study.of(row, budget):
            spreads = (_spread(study.values(row, budget, key)) for key in study.keys)
            size = (f"{results[0]['gmac']:.3g}", f"{results[0]['parameters'] / 1e6:.2f}")
            effort = (_seconds(results), f"{mean(run['images_seen'] for run in results):,.0f}")
            seeds = (result["seed"] for result in results)
            runs = " ".join(f"[{seed}]({links}/{run_name(row, budget, seed)}.json)" for seed in seeds)
            lines.append((row, *spreads, *size, f"{study.time_ms(row):.1f}", *effort, runs))
    return lines


def _seconds(results: Sequence[Mapping[str, Any]]) -> str:
    """Mean training time on a CPU, on a GPU, or on each of them if seeds ran on both."""
    kinds: dict[str, list[float]] = {}
    for result in results:
        kinds.setdefault("CPU" if result["device"].startswith("cpu: ") else "GPU", []).append(result["seconds"])
    means = {kind: f"{mean(seconds):,.0f}" for kind, seconds in sorted(kinds.items())}
    return ", ".join(f"{seconds} {kind}" for kind, seconds in means.items())


def _spread(values: Sequence[float]) -> str | None:
    """Mean and standard deviation; None without an object."""
    if not values:
        return None
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _change_rows(study: Study, budget: str) -> list[Row]:
    """Header, and the difference of each row to the reference by size; bold where the interval leaves out 0."""
    reference = study.about["grid"]["reference"]
    lines: list[Row] = [("difference", *study.keys)]
    for row in study.about["grid"]["rows"]:
        changes = [study.change(row, reference, budget, key) for key in study.keys]
        if any(changes):
            cells = (f"**{change}**" if verdict(change) in ("holds", "fails") else change for change in changes)
            lines.append((f"{row} - {reference}", *cells))
    return lines


@STYLE
def plot_by_size(study: Study, file: Path) -> None:
    """AP against object size, one line for each row, one panel for each budget; a band holds all seeds."""
    figure, panels = canvas(5.4, 4.0, len(study.budgets), columns=2)
    for axes, budget in zip(panels, study.budgets, strict=True):
        for row, color in _colors(study).items():
            if curves := [result["curve"] for result in study.of(row, budget) if result["curve"]]:
                edges, ap = np.maximum(curves[0]["edges"], 0.5), np.array([curve["ap"] for curve in curves])
                middle = np.sqrt(edges[:-1] * edges[1:])
                axes.plot(middle, ap.mean(0), "o-", color=color, label=row, markersize=3.5)
                axes.fill_between(middle, ap.min(0), ap.max(0), color=color, alpha=0.15, linewidth=0)
                scale_sizes(axes, edges[0], edges[-1])
        axes.set_title(budget_title(budget))
    panels[0].set_ylabel("AP (IoU .50 to .95)")
    _save(figure, file)


@STYLE
def plot_cost(study: Study, file: Path) -> None:
    """AP of the smallest objects there are against cost and time; a dot for each seed, a diamond for their mean."""
    by_size = [key for key in study.keys[1:] if any(result["metrics"][key] is not None for result in study.results)]
    metric = (by_size or study.keys)[0]
    figure = Figure((9.8, 3.6 * len(study.budgets)), layout="constrained")
    panels = figure.subplots(len(study.budgets), 2, squeeze=False, sharex="col", sharey=True)
    for line, budget in zip(panels, study.budgets, strict=True):
        for row, color in _colors(study).items():
            if values := study.values(row, budget, metric):
                costs = study.of(row, budget)[0]["gmac"], study.time_ms(row)
                for axes, cost in zip(line, costs, strict=True):
                    axes.plot([cost] * len(values), values, "o", color=color, alpha=0.4, markersize=4)
                    axes.plot(cost, np.mean(values), "D", color=color, label=row)
        for axes, cost in zip(line, ("10^9 multiply-accumulates", "milliseconds per image"), strict=True):
            axes.set(xlabel=cost, ylabel=metric, title=budget_title(budget))
            axes.tick_params(labelbottom=True)
    for axes in panels[0]:
        axes.set_xlim(left=0)
    _save(figure, file)


def _colors(study: Study) -> dict[str, tuple[float, ...]]:
    """Row -> its color, the same in all figures."""
    maps = matplotlib.colormaps["tab10"], matplotlib.colormaps["Dark2"]
    colors = [colors(index) for colors in maps for index in range(colors.N)]
    return dict(zip(study.about["grid"]["rows"], itertools.cycle(colors), strict=False))


def _save(figure: Figure, file: Path) -> None:
    """Adds the legend, starts the shared AP axis at 0, and writes the file."""
    entries = (zip(*reversed(axes.get_legend_handles_labels()), strict=True) for axes in figure.axes)
    legend = dict(itertools.chain.from_iterable(entries))  # label -> line: each row once
    figure.legend(legend.values(), legend.keys(), loc="outside right upper")
    figure.axes[0].set_ylim(bottom=0)
    write_figure(file, figure, dpi=110)
