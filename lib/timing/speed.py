"""One run of tools/speed.py: models from files, images, measurements, a report of plain values."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.build import build_detector, num_classes
from lib.config import load_config
from lib.inference.model_file import Loaded
from lib.inference.predictor import Predictor
from lib.inference.sources import open_source
from lib.timing.report import known_ap_small
from lib.timing.stages import count_candidates, describe, machine, measure, ratios, summary


def make_images(
    source: str | None, size: tuple[int, int], count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The first ``count`` images of a source, from the beginning again if it has fewer; noise where it is None."""
    if source is None:
        return [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]
    images = [frame.image for frame in itertools.islice(open_source(source), count)]
    if not images:
        raise ValueError(f"--images must hold images; got {source}, where none could be read")
    return [images[index % len(images)] for index in range(count)]


def random_detector(experiment: str, overrides: Sequence[str] = ()) -> Loaded:
    """The detector of an experiment, its weights at random (torch's generator)."""
    cfg = load_config(experiment, overrides)
    names = cfg.data.classes or [f"class {label}" for label in range(1, num_classes(cfg))]
    return Loaded(cfg, tuple(names), build_detector(cfg))


def run_speed(
    sources: Sequence[str],
    images: Sequence[np.ndarray],
    seconds: float,
    device: torch.device,
    options: Mapping[str, Any],
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Measures models turn by turn.

    Args:
        sources: experiments, checkpoints, exported models.
        images: one batch, (H, W, 3) uint8 BGR.
        seconds: to measure for.
        options: of each Predictor.
        overrides: over each config.

    Returns:
        Plain values: ``header``, and ``models``: name -> cost, times and ratios to the first.
    """
    if not sources:
        raise ValueError("there must be a model to measure; the pattern matches no file")
    predictors, models = {}, {}
    for name, source in zip(_short_names(sources), sources, strict=True):
        is_experiment = Path(source).suffix in (".yml", ".yaml")
        model = random_detector(source, overrides) if is_experiment else source
        predictor = Predictor(model, device, overrides=() if is_experiment else overrides, **options)
        priors, candidates = count_candidates(predictor, images)
        cost = describe(build_detector(predictor.cfg), predictor.size)
        models[name] = {
            **cost,
            "priors": priors,
            "candidates": candidates,
            "ap_small": known_ap_small(source),
        }
        predictors[name] = predictor
    samples = measure(predictors, images, seconds)
    first = next(iter(samples.values()))
    for name, model in models.items():
        model["time_ms"] = {stage: spread._asdict() for stage, spread in summary(samples[name]).items()}
        model["ratio"] = {stage: spread._asdict() for stage, spread in ratios(samples[name], first).items()}
    sizes = sorted({image.shape[:2] for image in images})
    header = {
        **machine(device),
        **{key: value for key, value in options.items() if key != "batch_size"},
        "batch": len(images),
        "rounds": len(first),
        "images": [f"{height}x{width}" for height, width in sizes],
    }
    return {"header": header, "models": models}


def _short_names(sources: Sequence[str]) -> list[str]:
    """Paths without what they have in common."""
    stems = [str(Path(source).with_suffix("")) for source in sources]
    if len(stems) == 1:
        return [Path(stems[0]).name]
    folder = os.path.commonpath([str(Path(stem).parent) for stem in stems])
    names = [os.path.relpath(stem, folder) for stem in stems]
    return [
        name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, start=1)
    ]
