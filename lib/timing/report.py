"""The measurements of tools/speed.py as text and as a picture."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lib.timing.turns import Spread, comparison_text
from lib.utils.figures import write_figure
from lib.utils.table import Row, align

COST = ("parameters M", "GMAC", "GFLOP", "backbone", "neck", "head", "priors", "candidates", "AP small")
_LABELS = {"select": "postprocess"}  # stage -> what a reader calls it


def known_ap_small(experiment: str | Path) -> float | None:
    """AP of small objects on COCO that an experiment file notes in its comments (``small 7.9``), in percent."""
    path = Path(experiment)
    text = path.read_text(encoding="utf-8") if path.suffix == ".yml" and path.is_file() else ""
    comments = [line for line in text.splitlines() if line.startswith("#")]
    match = re.search(r"\bAP [\d.]+.*?\bsmall ([\d.]+\d)", " ".join(comments))
    return float(match[1]) if match else None


def speed_table(report: Mapping[str, Any]) -> str:
    """Header, cost by part, and times by stage, as text."""
    models = report["models"]
    costs: list[Row] = [("parts in GMAC; GFLOP = 2 GMAC", *COST)]
    for name, model in models.items():
        if "parts" in model:
            macs = [model["macs"], model["flops"], *(part["macs"] for part in model["parts"].values())]
            scaled = [model["parameters"] / 1e6, *(count / 1e9 for count in macs)]
            counts = (model["priors"], model["candidates"], model.get("ap_small"))
            known = [None if count is None else f"{count:.10g}" for count in counts]
            costs.append((name, *(f"{value:.2f}" for value in scaled), *known))
    header = (f"{key} {value}" for key, value in report["header"].items())
    parts = [", ".join(header), align(costs), "times of an image: median (5th to 95th percentile)"]
    for stage in next(iter(models.values()))["time_ms"]:
        spreads = {name: {key: model[key][stage] for key in ("time_ms", "ratio")} for name, model in models.items()}
        parts.append(comparison_text(_LABELS.get(stage, stage), spreads))
    return "\n\n".join(parts)


def plot_time_against_ap(report: Mapping[str, Any], file: Path) -> int:
    """Draws total time against AP of small objects for the models where it is known, and returns their number."""
    known = {name: model for name, model in report["models"].items() if model.get("ap_small") is not None}
    if not known:
        return 0
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, model in known.items():
        middle, low, high = Spread(**model["time_ms"]["total"])
        error = [[middle - low], [high - middle]]
        axes.errorbar(middle, model["ap_small"], xerr=error, fmt="o", capsize=3)
        axes.annotate(name, (middle, model["ap_small"]), xytext=(6, 6), textcoords="offset points")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_formatter("{x:.0f}")
    axes.set_xlabel(f"ms per image, all stages ({report['header']['device']})")
    axes.set_ylabel("AP of small objects, as the experiment notes it")
    axes.margins(0.2)
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(file, figure, dpi=130)
    return len(known)
