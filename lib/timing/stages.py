"""How long a detector takes, stage by stage, and what it costs.

Stages: ``prepare`` resizes images in memory; ``network`` copies them to the device, normalises and runs the
detector; ``select`` decodes, thresholds, suppresses, and brings the detections back to the CPU.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lib.inference.predictor import Predictor
from lib.models.cost import count_macs, count_parameters
from lib.ops import kernels
from lib.structures import BACKGROUND, Predictions

STAGES = ("prepare", "network", "select")
PARTS = ("backbone", "neck", "head")
LEAST_ROUNDS = 3


class Spread(NamedTuple):
    """Median, 5th and 95th percentile of some samples."""

    median: float
    p5: float
    p95: float

    @classmethod
    def of(cls, samples: np.ndarray) -> Spread:
        """The spread of samples (N,)."""
        return cls(*np.percentile(samples, (50, 5, 95)).tolist())


def measure(
    predictors: Mapping[str, Predictor], images: Sequence[np.ndarray], seconds: float, warm_up: int = 2
) -> dict[str, np.ndarray]:
    """Times predictors turn by turn in rounds, so that what disturbs the machine disturbs all of them.

    Args:
        predictors: name -> predictor; each sees all the images as one batch, once a round.
        images: (H, W, 3) uint8 BGR.
        seconds: after which no further round begins; there are three at least.
        warm_up: rounds before, which do not count.

    Returns:
        name -> (rounds, 3) milliseconds an image in each of STAGES.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in predictors}
    for _ in range(warm_up):
        for predictor in predictors.values():
            time_stages(predictor, images)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(samples.values()))) < LEAST_ROUNDS:
        for name, predictor in predictors.items():
            samples[name].append(time_stages(predictor, images))
    return {name: np.array(rounds) * 1000 / len(images) for name, rounds in samples.items()}


def time_stages(predictor: Predictor, images: Sequence[np.ndarray]) -> list[float]:
    """Seconds of each stage of one batch; the device is waited for at the end of each."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    wait()
    times = [time.perf_counter()]
    prepared, sizes = predictor.prepare(images)
    times.append(time.perf_counter())
    output = predictor.forward(prepared)
    wait()
    times.append(time.perf_counter())
    predictor.select(output, sizes)
    times.append(time.perf_counter())
    return np.diff(times).tolist()


def summary(samples: np.ndarray) -> dict[str, Spread]:
    """(rounds, 3) milliseconds -> the spread of each stage and of the total."""
    spreads = {stage: Spread.of(samples[:, column]) for column, stage in enumerate(STAGES)}
    return {**spreads, "total": Spread.of(samples.sum(axis=1))}


def ratios(samples: np.ndarray, first: np.ndarray) -> dict[str, Spread]:
    """How many times as long as ``first`` each stage takes, round by round; both (rounds, 3) of one ``measure``."""
    by_stage = {stage: Spread.of(samples[:, i] / first[:, i]) for i, stage in enumerate(STAGES)}
    return {**by_stage, "total": Spread.of(samples.sum(axis=1) / first.sum(axis=1))}


def describe(detector: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """Parameters, multiply-accumulates and FLOPs of a detector for one image, in all and by part.

    Counted are convolutions and linear layers; one multiply-accumulate of theirs is two FLOPs.

    Args:
        detector: backbone, neck and head.
        size: (height, width) of its input.
    """
    macs = count_macs(detector, size)
    parts = {
        part: {
            "parameters": count_parameters(getattr(detector, part)),
            "macs": sum(value for name, value in macs.items() if name.startswith(f"{part}.")),
        }
        for part in PARTS
    }
    total = sum(macs.values())
    return {"parameters": count_parameters(detector), "macs": total, "flops": 2 * total, "parts": parts}


def count_candidates(predictor: Predictor, images: Sequence[np.ndarray]) -> tuple[int, float | None]:
    """Priors, and how many scores of an image pass the threshold into NMS on average, at most
    ``max_candidates`` a class; None where NMS is inside the model.
    """
    output = predictor.forward(predictor.prepare(images)[0])
    if not isinstance(output, Predictions):
        return 0, None
    selection = predictor.postprocess.selection
    is_sigmoid = predictor.postprocess.activation == "sigmoid"
    logits = output.logits.float()
    scores = logits.sigmoid() if is_sigmoid else logits.softmax(-1)
    passed = (scores > selection.score_threshold).sum(1)  # (B, K)
    passed[:, BACKGROUND] = 0
    return len(output.priors), passed.clamp(max=selection.max_candidates).sum(1).float().mean().item()


def machine(device: torch.device) -> dict[str, Any]:
    """What the times were taken on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu: {cpu}",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "kernels": kernels.built(),
    }
