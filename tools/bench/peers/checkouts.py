"""Two checkouts of this project, whose training steps take turns, each in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from lib.timing.turns import compare, comparison_text, machine
from lib.utils.files import write_json

WORKER = Path(__file__).with_name("step_worker.py")
IMAGES = 4  # of a step


def compare_checkouts(checkouts: Mapping[str, Path], seconds: float, file: Path | None) -> None:
    """Prints how many times as long as the first one's step the others' takes, and writes it to a JSON file."""
    figures = compare(step_times(checkouts, seconds))
    print(comparison_text("step of the light recipe, CPU time an image", figures), flush=True)
    if file:
        report = {"machine": machine(torch.device("cpu")), "command": sys.argv, "cpu_per_image": figures}
        write_json(file, report)


def step_times(
    checkouts: Mapping[str, Path], seconds: float, warm_up: int = 2, least: int = 3
) -> dict[str, np.ndarray]:
    """name -> (rounds,) CPU milliseconds an image of the light recipe's step, for checkouts of this project.

    The first ``warm_up`` rounds do not count; after ``seconds`` no further one begins. A checkout whose step fails is a
    RuntimeError.
    """
    for root in checkouts.values():
        if not (root / "lib").is_dir():
            raise FileNotFoundError(f"--against must be a checkout of this project; got {root}, which has no lib")
    with ExitStack() as stack:
        workers = {}
        for name, root in checkouts.items():
            workers[name] = stack.enter_context(_start(root))
            stack.callback(workers[name].kill)
        for name, worker in workers.items():
            _answer(worker, name)
        rounds: list[list[float]] = []
        end = time.perf_counter() + seconds
        while len(rounds) < warm_up + least or time.perf_counter() < end:
            rounds.append([_step(worker, name) for name, worker in workers.items()])
    return dict(zip(workers, np.array(rounds[warm_up:]).T, strict=True))


def _start(root: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, str(WORKER), str(root), str(IMAGES)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


def _step(worker: "subprocess.Popen[str]", name: str) -> float:
    assert worker.stdin is not None, "the worker was started with a pipe"
    worker.stdin.write("step\n")
    worker.stdin.flush()
    return float(_answer(worker, name))


def _answer(worker: "subprocess.Popen[str]", name: str) -> str:
    assert worker.stdout is not None, "the worker was started with a pipe"
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"the training step of {name} failed; its own error stands above")
    return line.strip()
