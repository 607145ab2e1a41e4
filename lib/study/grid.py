"""The grid of a study: one YAML file of rows, budgets and seeds, and the runs that it asks for."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from easydict import EasyDict

from lib.build import build_protocol
from lib.config import WEIGHTS, load_config, merge
from lib.models.pretrained import IMPLIED
from lib.utils.files import write_text
from lib.utils.lookup import accepts, check_arguments, lookup, suggest
from lib.utils.yaml_files import dump_yaml, nested, read_with_bases, to_plain, value_at

# Key of a grid -> its type and meaning. Experiments are written as in their files. The grid's own ``_base_``
# is relative to its file; all other paths, also an experiment's ``_base_``, to the folder in which the command runs.
KEYS: dict[str, tuple[Any, str]] = {
    "data": (dict | None, "arguments of lib.data.synthetic.dataset.generate; null: the data exist already"),
    "start": (dict | None, "over the base: is trained first, and all rows start from its backbone"),
    "base": (dict, "what the rows have in common; it overrides a row's own _base_"),
    "rows": (dict[str, dict | None], "name -> what its experiment has over the base"),
    "budgets": (
        dict[str, dict],
        "name -> train keys for every row, such as {epochs: 10} or {time_limit_s: 60.0}; a value may be given by row, "
        "as {epochs: {plain: 10, S1L0: 3}}",
    ),
    "seeds": (list[int], "numbers: one run of each row and budget for each"),
    "reference": (str, "the row that others are compared with"),
    "claims": (
        list[dict],
        "{text, better, worse, ranges}: one row detects objects of these sizes better; with an "
        "{advice: {budget: ..., holds: ..., fails: ..., undecided: ...}} for whoever must choose, by the verdict",
    ),
    "note": (str | None, "a paragraph for the report, about how the runs were made"),
}


LENGTHS = ("epochs", "warmup_epochs", "time_limit_s")  # keys of a budget that --budget scales


class Claim(NamedTuple):
    """The keys of a claim; in its texts ``{size}`` stands for a range, or for several."""

    text: str
    better: str  # row
    worse: str
    ranges: list[str]
    advice: dict[str, str] | None = None


class Advice(NamedTuple):
    """The keys of an advice: a budget, and what to choose by the verdict under it."""

    budget: str
    holds: str
    fails: str
    undecided: str


class Run(NamedTuple):
    """One training and its test; row, budget and seed are its place in the grid."""

    row: str
    budget: str
    seed: int
    file: Path  # its experiment
    cfg: EasyDict  # the same, resolved, with the overrides of the command line
    folder: Path  # another configuration has another one, so that none resumes from another's weights
    digest: str  # of the configuration, and of the data that the grid generates

    @property
    def name(self) -> str:
        """Its name in reports and of its result."""
        return run_name(self.row, self.budget, self.seed)


class Plan(NamedTuple):
    """The run that the others start from, if there is one, and the others."""

    start: Run | None
    runs: list[Run]


def run_name(row: str, budget: str, seed: int) -> str:
    """``S1L0_seconds_0``."""
    return f"{row}_{budget}_{seed}"


def read_grid(path: str | Path) -> dict[str, Any]:
    """The grid of a YAML file, over the one that its ``_base_`` names; complete and checked."""
    grid = read_with_bases(Path(path).resolve(), merge, lambda values, _: dict(values))
    for key in grid:
        if key not in KEYS:
            raise ValueError(f"{path} must have the keys {', '.join(KEYS)}; got {key}{suggest(key, KEYS)}")
    for key, (kind, meaning) in KEYS.items():
        if not accepts(grid.setdefault(key), kind):
            raise TypeError(f"{key} of {path} must be given: {meaning}; got {grid[key]!r}")
    if not grid["seeds"] or len(set(grid["seeds"])) < len(grid["seeds"]):
        raise ValueError(f"seeds of {path} must be one number or more, all different; got {grid['seeds']}")
    if not grid["budgets"] or not grid["rows"]:
        raise ValueError(f"{path} must have a budget and a row; got {len(grid['budgets'])} and {len(grid['rows'])}")
    for number, claim in enumerate(grid["claims"]):
        _check_claim(claim, f"claims[{number}] of {path}:", grid["budgets"])
    names = [grid["reference"], *(claim[side] for claim in grid["claims"] for side in ("better", "worse"))]
    for name in names:
        if name not in grid["rows"]:
            known, near = ", ".join(grid["rows"]), suggest(name, grid["rows"])
            raise ValueError(f"rows that {path} compares must be of {known}; got {name}{near}")
    return grid


def _check_claim(claim: Mapping[str, Any], where: str, budgets: Mapping[str, Any]) -> None:
    """Raises for a claim of which no report could be written."""
    check_arguments(Claim, claim, f"{where} claim")
    texts, advice = [claim["text"]], claim.get("advice")
    if advice:
        check_arguments(Advice, advice, f"{where} advice")
        lookup(budgets, advice["budget"], f"{where} advice.budget")
        texts += [advice[word] for word in ("holds", "fails", "undecided")]
    for text in texts:
        try:
            text.format(size="")
        except (KeyError, IndexError, ValueError):
            raise ValueError(f"{where} braces in a text must be {{size}}; got {text!r}") from None


def plan(grid: Mapping[str, Any], out: Path, scale: float = 1.0, overrides: Sequence[str] = ()) -> Plan:
    """All runs of a grid, seed by seed, so that every row has a result early.

    Args:
        grid: as ``read_grid`` gives it.
        out: the study's folder; the experiments are written into it.
        scale: of all budgets.
        overrides: ``key=value`` texts over every experiment.
    """
    start, base = None, grid["base"]
    make_run = functools.partial(_make_run, data=grid["data"], out=out, overrides=overrides)
    if grid["start"]:
        start = make_run("start", "whole", 0, merge(base, grid["start"]))
        # What the start's weights imply is written out, as they are not there yet.
        base = merge(nested({key: value_at(start.cfg, key) for key in IMPLIED}), base)
        weights = str(start.folder / "last.pth")
        base = merge(base, {"model": {"weights": weights, "weights_scope": ["backbone"]}})
    runs = []
    for seed in grid["seeds"]:
        for budget, limits in grid["budgets"].items():
            for row, changes in grid["rows"].items():
                place = {"train": scaled(limits_of(row, limits), scale), "run": {"seed": seed}}
                experiment = merge(merge(base, changes or {}), place)
                runs.append(make_run(row, budget, seed, experiment))
    sizes = build_protocol(runs[0].cfg).ranges
    for claim in grid["claims"]:
        for size in claim["ranges"]:
            lookup(sizes, size, "a size in the ranges of a claim")
    return Plan(start, runs)


def limits_of(row: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The train keys of a budget for a row; a value given by row must be given for each."""
    own = {key: value[row] if isinstance(value, Mapping) and row in value else value for key, value in limits.items()}
    for key, value in own.items():
        if isinstance(value, Mapping):
            raise ValueError(f"train.{key} of a budget must be one value, or one for each row; got none for {row}")
    return own


def scaled(limits: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """A budget whose lengths are times ``scale``; whole numbers stay whole, at least 1."""
    if scale <= 0:
        raise ValueError(f"--budget must be above 0; got {scale}: 1 is the grid's own")
    own = dict(limits)
    for key in (key for key in LENGTHS if own.get(key) is not None):
        own[key] = math.ceil(own[key] * scale) if isinstance(own[key], int) else own[key] * scale
    return own


def _make_run(
    row: str,
    budget: str,
    seed: int,
    experiment: Mapping[str, Any],
    *,
    data: Mapping[str, Any] | None,
    out: Path,
    overrides: Sequence[str],
) -> Run:
    """Writes the experiment of a run and resolves it."""
    file = out / "experiments" / f"{run_name(row, budget, seed)}.yml"
    if "_base_" in experiment:
        experiment = {**experiment, "_base_": str(Path(experiment["_base_"]).resolve())}
    write_text(file, dump_yaml(to_plain(experiment)))
    cfg = load_config(file, overrides, start=WEIGHTS)
    content = to_plain(cfg) if data is None else [to_plain(cfg), to_plain(data)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return Run(row, budget, seed, file, cfg, out / "runs" / f"{file.stem}-{digest}", digest)
