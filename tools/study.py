"""Does taking out early strides help small objects? Trains a grid of detectors and writes a report.

    python tools/study.py                                      # the default grid: make study
    python tools/study.py --grid=experiments/study/full.yaml --budget=0.2 data.workers=4
    python tools/study.py --publish                            # also docs/results/ and docs/study.md

A grid is a YAML file of rows (variants of a detector), budgets (of time or images) and seeds. A run that already has
a result is skipped, and one that was stopped is resumed. The report is OUT/study.md.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lib.data.synthetic.dataset import generate
from lib.study.grid import plan, read_grid
from lib.study.report import publish, published, write_page
from lib.study.runs import is_done, jobs_on, run_all, train
from lib.study.summary import write_summary
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.log import setup_logging
from lib.utils.lookup import lookup
from lib.utils.runtime import choose_device, set_threads


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--grid", type=Path, default=ROOT / "experiments/study/default.yaml", help="YAML file: rows, budgets, seeds")
    add("--budget", type=float, default=1.0, help="multiply the epochs and seconds of each run by this (default: 1)")
    add("--rows", help="run only these variants (rows of the grid), such as plain,S1L0")
    add("--budgets", help="run only these budgets, such as images")
    add("--jobs", type=int, help="runs at the same time (default: 1 on a GPU, else the number of cores)")
    add("--out", type=Path, help="folder to write, named like the study (default: runs/study/<name of the grid>)")
    add("--publish", action="store_true", help="afterwards copy the JSON files to docs/ and write docs/study.md")
    add("--render", action="store_true", help="only write docs/study.md from the JSON files in docs/")
    return parse_with_overrides(parser, argv, "data.workers=4")


def chosen(grid: Mapping[str, Any], key: str, names: str | None) -> list[str]:
    """The rows or budgets that the command line names, or all of them."""
    asked = names.split(",") if names else list(grid[key])
    for name in asked:
        lookup(grid[key], name, f"--{key}")
    return asked


def run_study(args: argparse.Namespace, out: Path) -> list[str]:
    """Runs what has no result yet and writes the report; names of the runs that failed."""
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {args.jobs}")
    grid = read_grid(args.grid)
    if grid["data"]:
        generate(**grid["data"])
    start, runs = plan(grid, out, args.budget, args.overrides)
    jobs = args.jobs or jobs_on(choose_device(runs[0].cfg.run.device))
    rows, budgets = (chosen(grid, key, getattr(args, key)) for key in ("rows", "budgets"))
    if start:
        train(start, args.overrides)
    asked = [run for run in runs if run.row in rows and run.budget in budgets]
    failed = run_all(asked, out / "results", args.overrides, jobs)
    if done := [run for run in runs if is_done(run, out / "results")]:
        scale = [] if args.budget == 1 else [f"--budget={args.budget:g}"]
        words = ["python", "tools/study.py", f"--grid={args.grid}", *scale, f"--jobs={jobs}", *args.overrides]
        name, command = out.resolve().name, shlex.join(words)  # without --rows: that makes all of them
        about = {"name": name, "command": command, "jobs": jobs}
        write_summary(out / "results" / "study.json", about, grid, done)
        write_page(out / "study.md", [out / "results"], links="results")
    return failed


def main(argv: list[str] | None = None) -> None:
    """Runs, publishes or renders, as the arguments say."""
    args = parse(argv)
    setup_logging()
    set_threads(1)
    out = args.out or Path("runs") / "study" / args.grid.stem
    failed = [] if args.render else run_study(args, out)
    if args.publish:
        publish(out / "results", ROOT / "docs/results/study" / out.resolve().name)
    if args.publish or args.render:
        write_page(ROOT / "docs/study.md", *published(ROOT))
    if failed:
        sys.exit(f"error: {len(failed)} runs failed: {', '.join(failed)}; the same command tries them again")


if __name__ == "__main__":
    with readable_errors():
        main()
