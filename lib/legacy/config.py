"""The YAML files of the BMVC 2019 code, and of its parent, become ours."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.data.augment.presets import PRESETS
from lib.models.backbones import BACKBONES as TABLES
from lib.models.backbones.vgg import vgg16
from lib.models.taps import Tap
from lib.utils.lookup import lookup, suggest

log = logging.getLogger(__name__)

# The parts that a scope names -> ours
PARTS = {
    "base": ["backbone"],
    "norm": ["neck.norm", "neck.refine"],
    "extras": ["neck.extras"],
    "transforms": ["neck.transforms"],
    "pyramids": ["neck.pyramids"],
    "loc": ["head.box"],
    "conf": ["head.cls"],
}
ALL_PARTS = {"base", "norm", "extras", "loc", "conf"}

# SSDS -> the head's recipe, and whether the backbone runs on two paths
HEADS = {
    "ssd": ("ssd", False),
    "ssd_lite": ("ssd_lite", False),
    "ssd_dual": ("ssd", True),
    "ssd_lite_dual": ("ssd_lite", True),
    "rfb": ("rfb", False),
    "rfb_lite": ("rfb_lite", False),
    "fssd": ("fssd", False),
    "fssd_lite": ("fssd_lite", False),
}

# FEATURE_LAYER's letters -> (stride, padding)
EXTRAS = {"S": (2, 1), "E": (2, 1), "P": (2, 0), "": (1, 0)}

MOBILENET_V2 = {"type": "mobilenet_v2", "expand_first": True, "round_to": 1}

# NETS without its stride suffix -> backbone
BACKBONES = {
    "vgg16": {"type": "vgg16"},
    "mobilenet_v1": {"type": "mobilenet_v1"},
    "mobilenet_v1_075": {"type": "mobilenet_v1", "width": 0.75},
    "mobilenet_v1_050": {"type": "mobilenet_v1", "width": 0.5},
    "mobilenet_v1_025": {"type": "mobilenet_v1", "width": 0.25},
    "mobilenet_v2": MOBILENET_V2,
    "mobilenet_v2_075": {**MOBILENET_V2, "width": 0.75},
    "mobilenet_v2_050": {**MOBILENET_V2, "width": 0.5},
    "mobilenet_v2_025": {**MOBILENET_V2, "width": 0.25},
}

# Keys that are read below; what else the ancestor knows has no counterpart, and is named when it is met.
KNOWN = {
    "MODEL": "SSDS NETS IMAGE_SIZE NUM_CLASSES FEATURE_LAYER STEPS SIZES ASPECT_RATIOS CLIP VARIANCE",
    "TRAIN": "MAX_EPOCHS BATCH_SIZE TRAINABLE_SCOPE RESUME_SCOPE OPTIMIZER LR_SCHEDULER",
    "TEST": "BATCH_SIZE",
    "MATCHER": "MATCHED_THRESHOLD NEGPOS_RATIO",
    "POST_PROCESS": "SCORE_THRESHOLD IOU_THRESHOLD MAX_DETECTIONS",
    "DATASET": "DATASET DATASET_DIR TRAIN_SETS TEST_SETS PROB",
}
WITHOUT_COUNTERPART = {
    "MODEL": "",
    "TRAIN": "CHECKPOINTS_EPOCHS CHECKPOINTS_KEPT",
    "TEST": "TEST_SCOPE",
    "MATCHER": "UNMATCHED_THRESHOLD BACKGROUND_LABEL NUM_CLASSES VARIANCE",
    "POST_PROCESS": "BACKGROUND_LABEL NUM_CLASSES VARIANCE",
    "DATASET": "IMAGE_SIZE PIXEL_MEANS NUM_WORKERS TRAIN_BATCH_SIZE TEST_BATCH_SIZE",
}
TOP_LEVEL = ("EXP_DIR", "LOG_DIR", "RESUME_CHECKPOINT", "PHASE", "CHECKPOINTS_PREFIX", "ROOT_DIR")


def translate_config(source: Mapping[str, Any]) -> dict:
    """A YAML file of the BMVC code, as ``load_config`` takes it.

    Args:
        source: the mapping that the file holds: MODEL, TRAIN, TEST, MATCHER, POST_PROCESS, DATASET, EXP_DIR, ...

    Returns:
        A native mapping: the same network, priors to the bit, recipe and data paths.

    Raises:
        ValueError: an unknown key, or a value that has no counterpart yet.
    """
    _check_keys(source)
    model, train = source["MODEL"], source.get("TRAIN", {})
    matcher, post = source.get("MATCHER", {}), source.get("POST_PROCESS", {})
    num_classes = model.get("NUM_CLASSES", 81)
    config = {
        "input": {"size": list(model.get("IMAGE_SIZE", [300, 300]))},
        "data": _data(source.get("DATASET", {})),
        "model": _model(model),
        "matcher": {"type": "iou", "threshold": matcher.get("MATCHED_THRESHOLD", 0.5)},
        "loss": {
            "type": "multibox",
            "negative_ratio": float(matcher.get("NEGPOS_RATIO", 3)),
            "min_negatives": 0,
        },
        "postprocess": {
            "score_threshold": post.get("SCORE_THRESHOLD", 0.01),
            "iou_threshold": post.get("IOU_THRESHOLD", 0.6),
            "max_candidates": 1000,  # there: no limit
            # There the limit is one of each class, and the evaluation takes as many of each class and image.
            "max_detections": post.get("MAX_DETECTIONS", 100) * (num_classes - 1),
        },
        "train": _train(train),
        "evaluation": {"batch_size": source.get("TEST", {}).get("BATCH_SIZE", 16)},
    }
    if source.get("RESUME_CHECKPOINT"):
        config["model"]["weights"] = source["RESUME_CHECKPOINT"]
        config["model"]["weights_scope"] = _scope(train.get("RESUME_SCOPE", ""), "TRAIN.RESUME_SCOPE")
    if source.get("EXP_DIR"):
        folder = Path(source["EXP_DIR"])
        config["run"] = {"dir": str(folder.parent), "name": folder.name}
    if "PHASE" in source:
        log.info("PHASE %s says nothing here: train.py trains and test.py tests", source["PHASE"])
    return config


def _check_keys(source: Mapping[str, Any]) -> None:
    """Raises for a key that the ancestor does not have; names those that have no counterpart here."""
    unused = []
    for section, values in source.items():
        if section in TOP_LEVEL:
            continue
        known = lookup(KNOWN, section, "a section of a BMVC config").split()
        others = WITHOUT_COUNTERPART[section].split()
        for key in values:
            if key not in known + others:
                raise ValueError(
                    f"{section} of a BMVC config must hold {', '.join(known)}; got {key}{suggest(key, known)}"
                )
        unused += [f"{section}.{key}" for key in values if key in others]
    if unused:
        log.info("%s have no counterpart and are not used", ", ".join(unused))


def _model(model: Mapping[str, Any]) -> dict:
    head, is_dual = lookup(HEADS, model.get("SSDS", "ssd"), "MODEL.SSDS")
    backbone = _backbone(model.get("NETS", "vgg16"))
    is_vgg = backbone["type"] == "vgg16"
    is_fused = head.startswith("fssd")
    layers, channels = model["FEATURE_LAYER"][0] if is_fused else model["FEATURE_LAYER"]
    taps = [layer for layer in layers if isinstance(layer, int)]
    names: list[Any] = [vgg_row(tap) for tap in taps] if is_vgg else list(taps)
    if is_dual and _is_joined(backbone, names, channels):
        names[-1] = str(Tap(names[-1], joined=(Tap(names[0], is_coarse=True),)))
    neck: dict[str, Any] = {"taps": names, "extras": _extras(layers, channels, head)}
    if is_fused:
        neck["pyramid"] = [
            [width, lookup(EXTRAS, letter, "a letter of MODEL.FEATURE_LAYER")[0]]
            for letter, width in zip(*model["FEATURE_LAYER"][1], strict=True)
        ]
    translated = {
        "num_classes": model.get("NUM_CLASSES", 81),
        "backbone": backbone,
        "neck": neck,
        "head": {"type": head, "predictor": "dense"},
        "priors": _priors(model),
        "variances": list(model.get("VARIANCE", [0.1, 0.2])),
    }
    if is_dual:
        translated["dual_path"] = {"split": 2 if is_vgg else 0}
    return translated


def _extras(layers: Sequence, channels: Sequence[int], head: str) -> list:
    """The extra layers that FEATURE_LAYER's letters stand for."""
    extras: list = []
    for letter, width in zip(layers, channels, strict=True):
        if letter == "RBF":
            extras.append({"type": head, "channels": width, "stride": 2})
        elif not isinstance(letter, int):
            extras.append([width, *lookup(EXTRAS, letter, "a letter of MODEL.FEATURE_LAYER")])
    return extras


def _is_joined(backbone: Mapping[str, Any], taps: Sequence, channels: Sequence[int]) -> bool:
    """Whether the last tap's channels are those of both paths, joined: the dual path's older form."""
    options = {key: value for key, value in backbone.items() if key not in ("type", "strides")}
    table = TABLES[backbone["type"]](**options)
    widths = [table[row].channels for row in taps]
    return channels[len(taps) - 1] == widths[-1] + widths[0] != widths[-1]


def _backbone(name: str) -> dict:
    base, strides = re.fullmatch(r"(.+?)((?:_S\d+L[\d_]+)?)", name).groups()
    backbone = dict(lookup(BACKBONES, base, "MODEL.NETS"))
    if strides:
        backbone["strides"] = {int(row): 1 for row in strides.split("L")[1].split("_")}
    if name == "vgg16_S2L2_5":
        backbone["strides"][17] = 3  # not in the name: its pool5 moves in steps of 3
    return backbone


def vgg_row(module: int) -> int:
    """The row of the VGG16 table after which the BMVC code's module number is read (22 -> 12, 34 -> 19)."""
    ends, end = {}, -1
    for row, layer in enumerate(vgg16()):
        end += 1 if layer.channels is None else 2  # a pool is one module, a convolution two with its ReLU
        ends[end] = row
    return lookup(ends, module, "a number of MODEL.FEATURE_LAYER for VGG16")


def _priors(model: Mapping[str, Any]) -> dict:
    return {
        "sizes": _squares(model["SIZES"], "MODEL.SIZES"),
        "steps": _squares(model["STEPS"], "MODEL.STEPS") if model.get("STEPS") else None,
        # The list counts a cell's boxes by twos: its 1 stands for the two squares.
        "ratios": [[ratio for ratio in level if ratio != 1] for level in model["ASPECT_RATIOS"]],
        "reference": 0.0,  # sizes are pixels, whatever the input
        "clip": model.get("CLIP", True),
    }


def _squares(pairs: Sequence, name: str) -> list:
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(set(pair)) != 1:
            raise ValueError(
                f"{name} must be a list of pairs of equal numbers, such as [[8, 8], ...]; got {pair}"
            )
    return [pair[0] for pair in pairs]


def _train(train: Mapping[str, Any]) -> dict:
    epochs = train.get("MAX_EPOCHS", 100)
    settings, scheduler = dict(train.get("OPTIMIZER", {})), dict(train.get("LR_SCHEDULER", {}))
    optimizer = {"type": settings.pop("OPTIMIZER", "sgd"), "lr": settings.pop("LEARNING_RATE", 0.001)}
    optimizer["weight_decay"] = settings.pop("WEIGHT_DECAY", 0.0001)
    momentum = settings.pop("MOMENTUM", 0.9)
    if optimizer["type"] in ("sgd", "rmsprop"):
        optimizer["momentum"] = momentum
    elif optimizer["type"] == "adam":
        optimizer["betas"] = [momentum, settings.pop("MOMENTUM_2", 0.99)]
    return {
        "epochs": epochs,
        "batch_size": train.get("BATCH_SIZE", 32),
        "optimizer": optimizer,
        "schedule": _schedule(scheduler, epochs),
        "trainable": _scope(train.get("TRAINABLE_SCOPE", ""), "TRAIN.TRAINABLE_SCOPE"),
    }


def _schedule(scheduler: Mapping[str, Any], epochs: int) -> dict:
    steps, gamma = scheduler.get("STEPS", [1]), scheduler.get("GAMMA", 0.98)
    hold = scheduler.get("WARM_UP_EPOCHS", 0)  # its "warm-up" stays at the base rate
    schedules = {
        "SGDR": {"type": "cosine", "hold": float(hold), "by_epoch": True},
        "step": {"type": "step", "milestones": list(range(steps[0], epochs, steps[0])), "gamma": gamma},
        "multi_step": {"type": "step", "milestones": list(steps), "gamma": gamma},
        "exponential": {"type": "exponential", "gamma": gamma},
    }
    return lookup(schedules, scheduler.get("SCHEDULER", "step"), "TRAIN.LR_SCHEDULER.SCHEDULER")


def _scope(text: str, name: str) -> list[str] | None:
    """``'base,conf'`` -> our parts; None if it names all of them or is empty."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    translated = [ours for part in parts for ours in lookup(PARTS, part, name)]
    return None if not parts or set(parts) >= ALL_PARTS else translated


def _data(dataset: Mapping[str, Any]) -> dict:
    name = dataset.get("DATASET", "coco")
    if name != "coco":
        raise ValueError(
            f"DATASET.DATASET must be coco; got {name!r}: convert the data to COCO's JSON format"
        )
    root = Path(dataset.get("DATASET_DIR", "./data/COCO"))
    data: dict[str, Any] = {
        part: _coco_set(root, dataset[key], f"DATASET.{key}")
        for part, key in (("train", "TRAIN_SETS"), ("val", "TEST_SETS"))
        if dataset.get(key)
    }
    data["augment"] = [
        {**step, "p": float(dataset.get("PROB", 0.6))} if step["type"] == "expand" else step
        for step in PRESETS["ssd_ancestor"]
    ]
    return data


def _coco_set(root: Path, sets: Sequence, name: str) -> dict:
    if len(sets) != 1:
        raise ValueError(f"{name} must name one set; got {sets}: join the sets' JSON files into one")
    year, part = sets[0]
    folder = root / "images" / f"{part}{year}"
    if not folder.is_dir() and (root / f"{part}{year}").is_dir():
        folder = root / f"{part}{year}"  # COCO's own layout, without images/
    return {"images": str(folder), "annotations": str(root / "annotations" / f"instances_{part}{year}.json")}
