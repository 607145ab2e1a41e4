"""Priors fitted to the training data, at the scales at which augmentation shows it."""

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from easydict import EasyDict

from lib.build import adopt_fitted_priors_, build_detector, build_priors
from lib.build_data import build_augmentation, input_size
from lib.data.augment.mixing import OtherSamples
from lib.data.augment.presets import Compose
from lib.data.dataset import CocoDataset
from lib.data.image import StoredImage
from lib.engine.distributed import World
from lib.models.cost import map_sizes
from lib.multibox.coverage import best_overlaps, fit_boxes, levels_of
from lib.structures import IGNORE, Sample

SAMPLES = 400  # images that are augmented to see how large objects are in training


def fit_priors_(
    cfg: EasyDict, dataset: CocoDataset, world: World, checkpoint: Mapping[str, Any] | None = None
) -> list[str]:
    """Where ``model.priors.fit`` asks for it, replaces it by ``model.priors.boxes`` fitted to the training data.

    A run that goes on from its ``checkpoint`` keeps the boxes of that. All processes get the boxes of the first.
    Returns a line a level for the log; nothing if nothing was fitted.
    """
    if checkpoint is not None:
        adopt_fitted_priors_(cfg, checkpoint)
    if cfg.model.priors.fit is None:
        return []
    size, maps = input_and_maps(cfg)
    boxes = training_boxes(dataset, build_augmentation(cfg), cfg.run.seed)
    shapes = world.first(fit_boxes(boxes, build_priors(cfg.model.priors, maps, size), maps, size))
    cfg.model.priors.update(boxes=shapes, fit=None)
    best = best_overlaps(boxes, build_priors(cfg.model.priors, maps, size)(maps, size))
    return _lines(shapes, best, levels_of(boxes, maps, size), maps)


def input_and_maps(cfg: EasyDict) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The sizes (height, width) of the network's input in training, and of the detector's maps at it."""
    size = input_size(cfg)
    with torch.device("meta"):  # only its shapes matter
        return size, map_sizes(build_detector(cfg), size)


def training_boxes(dataset: CocoDataset, transform: Compose, seed: int, samples: int = SAMPLES) -> np.ndarray:
    """(G, 4) float32 xyxy in px of the network's input: the objects of random images, as ``transform`` shows them.

    No image is opened, and none is drawn that has no object. If there are fewer, they are passed several times.
    """
    rng, moves = np.random.default_rng(seed), Compose([step for step in transform.steps if not step.on_pixels])
    order = rng.permutation(len(dataset)).tolist()
    chosen = list(itertools.islice((index for index in order if _has_object(dataset, index)), samples)) or order
    load = partial(_without_pixels, dataset)
    others = OtherSamples(dataset, load)
    shown = [moves(load(index), rng, others) for index in np.resize(chosen, samples).tolist()]
    boxes = np.concatenate([sample.boxes[sample.labels != IGNORE] for sample in shown])
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]


def _has_object(dataset: CocoDataset, index: int) -> bool:
    """Whether an image has an object, besides regions to ignore."""
    _, labels = dataset.objects(index)
    return bool((labels != IGNORE).any())


def _without_pixels(dataset: CocoDataset, index: int) -> Sample:
    """A sample as ``dataset.load`` gives it, all of whose pixels are black."""
    height, width = dataset.sizes[index].tolist()

    def black(shrink: int) -> np.ndarray:
        return np.broadcast_to(np.zeros(3, np.uint8), (-(-height // shrink), -(-width // shrink), 3))

    image = StoredImage((height, width), black)
    return Sample(image, *dataset.objects(index), dataset.image_ids[index], (height, width))


def _lines(shapes: list[Any], best: np.ndarray, level: np.ndarray, maps: list[tuple[int, int]]) -> list[str]:
    mean = f"; mean IoU of an object with its best prior {best.mean():.3f}" if len(best) else ""
    lines = [f"priors fitted to {len(best)} augmented training objects{mean}"]
    for index, (boxes, (rows, columns)) in enumerate(zip(shapes, maps, strict=True)):
        sides = ", ".join(f"{width:g} x {height:g}" for width, height in boxes)
        count = np.count_nonzero(level == index)
        lines.append(f"  map {rows} x {columns}: {sides} px; {count} objects")
    return lines
