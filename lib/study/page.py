"""Where the report of studies goes: its page, its figures, and what of a study is kept in git."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from lib.study.figures import plot_by_size, plot_cost
from lib.study.report import read_study, render


def write_page(page: Path, folders: Iterable[Path], grids: Iterable[Path] = (), **links: str) -> None:
    """Draws the figures and writes the page of the studies whose JSON files lie in these folders."""
    studies = [read_study(folder) for folder in folders]
    for study in studies:
        figure = str(page.parent / "images" / f"study_{study.about['name']}")
        plot_by_size(study, Path(f"{figure}_by_size.png"))
        plot_cost(study, Path(f"{figure}_cost.png"))
    page.write_text(render(studies, grids, **links), encoding="utf-8")
    print(f"look at {page}")


def published(root: Path) -> tuple[list[Path], list[Path]]:
    """The folders of the studies in docs/, and the grid files there are."""
    folders = sorted(file.parent for file in root.glob("docs/results/study/*/study.json"))
    return folders, sorted(root.glob("experiments/study/*.yaml"))


def publish(results: Path, target: Path) -> None:
    """Copies the JSON files of a study to where git keeps them; what was there goes."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("study", *read_study(results).about["runs"]):
        shutil.copy(results / f"{name}.json", target)
