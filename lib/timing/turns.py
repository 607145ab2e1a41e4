"""How times are taken: sides take turns in rounds, so that what disturbs the machine disturbs all of them alike."""

import datetime
import os
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from lib.ops import kernels
from lib.utils.files import write_json
from lib.utils.runtime import device_name

Name = TypeVar("Name", bound=Hashable)
Call = Callable[[], object]


class Spread(NamedTuple):
    """Median, 5th and 95th percentile of some samples."""

    median: float
    p5: float
    p95: float

    @classmethod
    def of(cls, samples: np.ndarray) -> "Spread":
        """The spread of samples (N,)."""
        return cls(*np.percentile(samples, (50, 5, 95)).tolist())

    def __str__(self) -> str:
        return "{} ({} to {})".format(*map(short, self))


def short(value: float) -> str:
    """A number with three digits, or rounded to a whole one."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def take_turns(
    sides: Mapping[Name, Call],
    seconds: float,
    device: torch.device,
    *,
    warm_up: int = 2,
    least: int = 3,
    block_ms: float = 0,
) -> dict[Name, np.ndarray]:
    """Times calls in rounds; in each of them every side has its turn, in the given order.

    Args:
        sides: name -> what to time.
        seconds: after which no further round begins.
        device: to wait for before and after each turn.
        warm_up: rounds at the start that do not count.
        least: rounds that count, however long they take.
        block_ms: a turn repeats a call as often as fits into this time, by the warm-up; a sample is then their mean.

    Returns:
        name -> (rounds,) float64, milliseconds of one call.
    """
    calls = dict.fromkeys(sides, 1)
    for _ in range(warm_up):
        once = {name: max(_time_ms(side, 1, device), 1e-3) for name, side in sides.items()}
        calls = {name: max(1, int(block_ms / time_ms)) for name, time_ms in once.items()}
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < least or time.perf_counter() < end:
        rounds.append([_time_ms(side, calls[name], device) for name, side in sides.items()])
    return dict(zip(sides, np.array(rounds).T, strict=True))


def _time_ms(side: Call, calls: int, device: torch.device) -> float:
    """Mean time of calls in a row."""
    wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        side()
    wait(device)
    return 1000 * (time.perf_counter() - start) / calls


def wait(device: torch.device) -> None:
    """Waits until a GPU has done what it was told to; a CPU has always."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(times: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Plain values for each side of (rounds,) milliseconds: the spreads ``time_ms`` and ``ratio``.

    A ratio is how many times as long as the first side another one takes, round by round.
    """
    first = next(iter(times.values()))
    spreads = {name: {"time_ms": Spread.of(own), "ratio": Spread.of(own / first)} for name, own in times.items()}
    return {name: {key: spread._asdict() for key, spread in own.items()} for name, own in spreads.items()}


def comparison_text(title: str, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each side of a comparison: median (5th to 95th percentile) of its time and of its ratio."""
    lines, first = [title], next(iter(figures))
    for name, entry in figures.items():
        time_ms, ratio = Spread(**entry["time_ms"]), Spread(**entry["ratio"])
        note = "" if name == first else f", {ratio} times as long as {first}"
        note += ", DIFFERENT RESULT" if entry.get("same") is False else ""
        lines.append(f"    {name:24}{time_ms} ms, {short(1000 / time_ms.median)} per second{note}")
    return "\n".join(lines)


class Case(NamedTuple):
    """One job of a benchmark."""

    name: str
    sides: Mapping[str, Call | None]  # name -> what does the job, ours first; None: not for it, or not installed
    # (our result, that of another side) -> whether they are equal; None: they are not compared
    is_same: Callable[[Any, Any], bool] | None = None
    images: int = 1  # that a call works on


def run_cases(
    cases: Iterable[Case], seconds: float, device: torch.device, file: str | Path | None, **options: Any
) -> None:
    """Times the sides of each case in turns, prints the figures, and writes them.

    Args:
        seconds: for each side of a case.
        file: JSON: ``machine``, ``command``, and ``cases``: name -> side -> what ``compare`` gives, of an image, and
            ``same``: whether its result is that of ours; None: not compared.
        options: of ``take_turns``.
    """
    report: dict[str, Any] = {"machine": machine(device), "command": sys.argv, "cases": {}}
    print(report["machine"])
    for name, sides, is_same, images in cases:
        calls = {side: call for side, call in sides.items() if call}
        results = {side: call() for side, call in calls.items()} if is_same else {}
        times = take_turns(calls, seconds * len(calls), device, **options)
        figures = compare({side: values / images for side, values in times.items()})
        for side in calls:
            is_ours = side == "ours"  # not compared with itself: a peer's result may have another form
            figures[side]["same"] = is_ours or is_same(results["ours"], results[side]) if is_same else None
        report["cases"][name] = figures
        print(comparison_text(name, figures), flush=True)
    if file:
        write_json(file, report)


def machine(device: torch.device) -> dict[str, Any]:
    """What the times were taken on, and when."""
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "torchvision": getattr(sys.modules.get("torchvision"), "__version__", None),
        "threads": torch.get_num_threads(),
        "kernels": kernels.built(),
        "load": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
    }
