"""The measurements of tools/speed.py as text, as JSON and as a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from lib.timing.stages import STAGES

TOTAL = (*STAGES, "total")


def known_ap_small(experiment: str | Path) -> float | None:
    """AP of small objects on COCO that an experiment file notes in its comments (``small 7.9``), in percent."""
    path = Path(experiment)
    text = path.read_text(encoding="utf-8") if path.suffix == ".yml" and path.is_file() else ""
    comments = [line for line in text.splitlines() if line.startswith("#")]
    match = re.search(r"\bAP [\d.]+.*?\bsmall ([\d.]+\d)", " ".join(comments))
    return float(match[1]) if match else None


def speed_table(report: Mapping[str, Any]) -> str:
    """Header, cost by part, times by stage, and ratios to the first model, as text."""
    header = ", ".join(f"{key} {_text(value)}" for key, value in report["header"].items())
    lines = [header, "", *_cost_lines(report["models"]), "", "ms an image: median (p5 to p95)"]
    width = max(map(len, report["models"])) + 2
    lines.append(" " * width + "".join(f"{stage:>32}" for stage in TOTAL))
    for name, model in report["models"].items():
        lines.append(
            f"{name:<{width}}" + "".join(f"{_spread(model['time_ms'][stage]):>32}" for stage in TOTAL)
        )
    if len(report["models"]) > 1:
        lines += ["", f"times as long as {next(iter(report['models']))}, round by round: median (p5 to p95)"]
        for name, model in list(report["models"].items())[1:]:
            lines.append(
                f"{name:<{width}}" + "".join(f"{_spread(model['ratio'][stage]):>32}" for stage in TOTAL)
            )
    return "\n".join(lines)


def _cost_lines(models: Mapping[str, Any]) -> list[str]:
    width = max(map(len, models)) + 2
    columns = (
        "parameters M",
        "GMAC",
        "GFLOP",
        "backbone",
        "neck",
        "head",
        "priors",
        "candidates",
        "AP small",
    )
    lines = [
        " " * width + "".join(f"{column:>13}" for column in columns) + "    parts in GMAC, GFLOP = 2 GMAC"
    ]
    for name, model in models.items():
        parts = [part["macs"] / 1e9 for part in model["parts"].values()]
        values = [model["parameters"] / 1e6, model["macs"] / 1e9, model["flops"] / 1e9, *parts]
        rest = [model["priors"], model["candidates"], model["ap_small"]]
        cells = [f"{value:.2f}" for value in values] + ["-" if v is None else f"{v:.10g}" for v in rest]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>13}" for cell in cells))
    return lines


def _spread(values: Mapping[str, float]) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(values["median"], values["p5"], values["p95"])


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def plot_time_against_ap(report: Mapping[str, Any], file: Path) -> int:
    """Draws total time against AP of small objects for the models where it is known; how many there were."""
    known = {name: model for name, model in report["models"].items() if model["ap_small"] is not None}
    if not known:
        return 0
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, model in known.items():
        spread = model["time_ms"]["total"]
        error = [[spread["median"] - spread["p5"]], [spread["p95"] - spread["median"]]]
        axes.errorbar(spread["median"], model["ap_small"], xerr=error, fmt="o", capsize=3)
        axes.annotate(name, (spread["median"], model["ap_small"]), xytext=(6, 6), textcoords="offset points")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_formatter("{x:.0f}")
    axes.set_xlabel(f"ms an image, all stages ({report['header']['device']})")
    axes.set_ylabel("AP of small objects, as the experiment notes it")
    axes.margins(0.2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)
    plt.close(figure)
    return len(known)
