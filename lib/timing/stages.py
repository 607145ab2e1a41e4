"""How long detectors take, stage by stage and in turns, and what they cost.

Stages: ``prepare`` resizes images in memory; ``network`` copies them to the device, normalizes them and runs the
detector; ``select`` decodes, thresholds, suppresses, and brings the detections back to the CPU.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.build import build_detector, names_of_classes
from lib.config import load_config
from lib.data.image import Reading
from lib.inference.export.agreement import first_images
from lib.inference.model_file import Loaded
from lib.inference.predictor import Predictor
from lib.models.cost import count_macs, count_parameters
from lib.ops.detections import ACTIVATIONS
from lib.structures import BACKGROUND, Predictions
from lib.timing.turns import compare, machine, take_turns

STAGES = ("prepare", "network", "select")


class _Batch:
    """The way of a batch through a predictor; each stage goes on where the one before ended."""

    def __init__(self, predictor: Predictor, images: Sequence[np.ndarray]):
        self.predictor, self.images = predictor, images

    def prepare(self) -> None:
        self.prepared = self.predictor.prepare(self.images)

    def network(self) -> None:
        self.output = self.predictor.forward(self.prepared.images)

    def select(self) -> None:
        self.predictor.select(self.output, self.prepared)


def describe(detector: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """Parameters, multiply-accumulates (MACs) and FLOPs of a detector for an input of (height, width), also by part.

    Convolutions and linear layers are counted; one of their MACs is two FLOPs.
    """
    macs, parts = count_macs(detector, size), {}
    for part in ("backbone", "neck", "head"):
        part_macs = sum(count for layer, count in macs.items() if layer.startswith(f"{part}."))
        parts[part] = {"parameters": count_parameters(getattr(detector, part)), "macs": part_macs}
    total = sum(macs.values())
    return {"parameters": count_parameters(detector), "macs": total, "flops": 2 * total, "parts": parts}


def input_of(predictor: Predictor, images: Sequence[np.ndarray]) -> tuple[int, int]:
    """The (height, width) of the network's input for a batch of images (H, W, 3).

    Raises:
        ValueError: the images have inputs of several sizes, or one of them would be cut into tiles.
    """
    window = predictor.resize.window
    for height, width in (image.shape[:2] for image in images):
        if window and (height > window[0] or width > window[1]):
            raise ValueError(
                f"images to time must be at most {window[0]}x{window[1]}, as larger ones are cut into tiles; got "
                f"{height}x{width}: choose smaller images, or a larger input.test_size"
            )
    sizes = sorted({predictor.resize.fit(image.shape[:2]).canvas for image in images})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise ValueError(f"images of a batch must have inputs of one size; got {shown}: choose --batch=1")
    return sizes[0]


def count_candidates(predictor: Predictor, images: Sequence[np.ndarray]) -> dict[str, float | None]:
    """``priors``, and ``candidates``, the scores that pass the threshold into NMS, on average over the images.

    At most ``max_candidates`` a class are counted. Where NMS is inside the model: 0 and None.
    """
    output = predictor.forward(predictor.prepare(images).images)
    if not isinstance(output, Predictions):
        return {"priors": 0, "candidates": None}
    selection = predictor.postprocess.selection
    scores = ACTIVATIONS[predictor.postprocess.activation](output.logits.float())  # (B, P, K)
    passed = (scores > selection.score_threshold).sum(1)  # (B, K)
    passed[:, BACKGROUND] = 0
    candidates = passed.clamp(max=selection.max_candidates).sum(1).float().mean().item()
    return {"priors": len(output.priors), "candidates": candidates}


def make_images(
    source: str | None, size: tuple[int, int], count: int, rng: np.random.Generator, reading: Reading
) -> list[np.ndarray]:
    """``count`` images: the first ones of a source, repeated if it has fewer; noise of ``size`` where it is None.

    ``reading`` is the detector's.
    """
    if source is None:
        return [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]
    return list(itertools.islice(itertools.cycle(first_images(source, count, reading)), count))


def random_detector(experiment: str, overrides: Sequence[str] = ()) -> Loaded:
    """The detector of an experiment with random weights (torch's generator)."""
    cfg = load_config(experiment, overrides)
    return Loaded(cfg, tuple(names_of_classes(cfg)), build_detector(cfg))


def open_models(
    sources: Sequence[str], device: str | torch.device, overrides: Sequence[str], **options: Any
) -> dict[str, Predictor]:
    """Name -> predictor: of experiments (random weights), checkpoints and exported models.

    A name is the path without the folders that all ``sources`` share; ``overrides`` and ``options`` go to each
    Predictor.
    """
    if not sources:
        raise ValueError("there must be a model to measure; the pattern matches no file: choose another")
    paths = [Path(source).absolute().with_suffix("") for source in sources]
    folder = os.path.commonpath([path.parent for path in paths])
    names = [os.path.relpath(path, folder) for path in paths]
    predictors = {}
    for number, (name, source) in enumerate(zip(names, sources, strict=True), start=1):
        is_experiment = Path(source).suffix in (".yml", ".yaml", ".json")
        model, over = (random_detector(source, overrides), ()) if is_experiment else (source, overrides)
        unique = name if names.count(name) == 1 else f"{name} {number}"
        predictors[unique] = Predictor(model, device, overrides=over, **options)
    return predictors


def shared_device(predictors: Mapping[str, Predictor]) -> torch.device:
    """The device of all predictors, which must be the same: times of several devices would not be comparable."""
    devices = {name: predictor.device for name, predictor in predictors.items()}
    if len(set(devices.values())) > 1:
        shown = ", ".join(f"{device} for {name}" for name, device in devices.items())
        raise ValueError(f"models to compare must run on one device; got {shown}: choose --device=cpu")
    return next(iter(devices.values()))


def run_speed(
    predictors: Mapping[str, Predictor], images: Sequence[np.ndarray], seconds: float, device: torch.device
) -> dict[str, Any]:
    """Costs and times of predictors, whose stages take turns.

    Args:
        predictors: name -> predictor; each sees all the images as one batch, once a round.
        images: (H, W, 3) uint8 BGR.
        seconds, device: as for ``take_turns``.

    Returns:
        Plain values: ``header``, and ``models``: name -> cost, ``time_ms`` an image of each stage and in total, and
        ``ratio``: how many times as long as with the first predictor it takes, round by round.
    """
    models: dict[str, dict[str, Any]] = {name: {"time_ms": {}, "ratio": {}} for name in predictors}
    for name, predictor in predictors.items():
        if isinstance(predictor, Predictor):  # not of another project
            models[name] |= describe(build_detector(predictor.cfg), input_of(predictor, images))
            models[name] |= count_candidates(predictor, images)
    batches = {name: _Batch(predictor, images) for name, predictor in predictors.items()}
    sides = {(name, stage): getattr(batches[name], stage) for name in batches for stage in STAGES}
    turns = take_turns(sides, seconds, device)
    for stage, parts in (*((stage, [stage]) for stage in STAGES), ("total", STAGES)):
        times = {name: np.sum([turns[name, part] for part in parts], axis=0) / len(images) for name in batches}
        for name, figures in compare(times).items():
            for key, spread in figures.items():
                models[name][key][stage] = spread
    sizes = [f"{height}x{width}" for height, width in sorted({image.shape[:2] for image in images})]
    header = {"batch": len(images), "rounds": len(next(iter(turns.values()))), "images": sizes}
    return {"header": {**machine(device), **header}, "models": models}
