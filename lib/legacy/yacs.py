"""lufficc's SSD and its fork, SSDLite with MobileNetV2 and MobileNeXt: their yacs YAML files."""

import ast
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.data.formats.layouts import SETS, are_there, count_images
from lib.legacy.fields import read_fields
from lib.legacy.yacs_networks import find_network
from lib.utils.lookup import lookup
from lib.utils.yaml_files import nested, to_plain

log = logging.getLogger(__name__)
ABOUT = "a config of lufficc's SSD or of SSDLite with MobileNeXt"
MARKS = {"INPUT", "DATASETS", "DATA_LOADER", "SOLVER", "OUTPUT_DIR"}  # top-level keys that no other work has

# Their keys that mean the same as one of ours -> our key, and its value where a file does not give it
SAME: dict[str, tuple[str, Any]] = {
    "MODEL.NUM_CLASSES": ("model.num_classes", 21),
    "MODEL.THRESHOLD": ("matcher.threshold", 0.5),
    "MODEL.PRIORS.CLIP": ("model.priors.clip", True),
    "INPUT.PIXEL_MEAN": ("input.mean", [123.0, 117.0, 104.0]),
    "TEST.NMS_THRESHOLD": ("postprocess.iou_threshold", 0.45),
    "TEST.CONFIDENCE_THRESHOLD": ("postprocess.score_threshold", 0.01),
    "TEST.MAX_PER_IMAGE": ("postprocess.max_detections", 100),
    "TEST.BATCH_SIZE": ("evaluation.batch_size", 10),
}

# The others that are read, and their defaults
FIELDS: dict[str, Any] = {
    **{name: default for name, (_, default) in SAME.items()},
    "MODEL.META_ARCHITECTURE": "SSDDetector",
    "MODEL.DEVICE": "cuda",
    "MODEL.NEG_POS_RATIO": 3.0,
    "MODEL.CENTER_VARIANCE": 0.1,
    "MODEL.SIZE_VARIANCE": 0.2,
    "MODEL.BACKBONE.NAME": "vgg",
    "MODEL.BACKBONE.OUT_CHANNELS": [512, 1024, 512, 256, 256, 256],
    "MODEL.BACKBONE.PRETRAINED": True,
    "MODEL.PRIORS.FEATURE_MAPS": [38, 19, 10, 5, 3, 1],
    "MODEL.PRIORS.STRIDES": [8.0, 16.0, 32.0, 64.0, 100.0, 300.0],
    "MODEL.PRIORS.MIN_SIZES": [30.0, 60.0, 111.0, 162.0, 213.0, 264.0],
    "MODEL.PRIORS.MAX_SIZES": [60.0, 111.0, 162.0, 213.0, 264.0, 315.0],
    "MODEL.PRIORS.ASPECT_RATIOS": [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]],
    "MODEL.PRIORS.BOXES_PER_LOCATION": [4, 6, 6, 6, 4, 4],
    "MODEL.BOX_HEAD.NAME": "SSDBoxHead",
    "MODEL.BOX_HEAD.PREDICTOR": "SSDBoxPredictor",
    "MODEL.BOX_HEAD.LOSS": "MultiBoxLoss",
    "INPUT.IMAGE_SIZE": 300,
    "DATASETS.TRAIN": [],
    "DATASETS.TEST": [],
    "DATA_LOADER.NUM_WORKERS": 8,
    "SOLVER.MAX_ITER": 120000,
    "SOLVER.LR_STEPS": [80000, 100000],
    "SOLVER.GAMMA": 0.1,
    "SOLVER.BATCH_SIZE": 32,
    "SOLVER.LR": 0.001,
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.WEIGHT_DECAY": 0.0005,
    "SOLVER.WARMUP_FACTOR": 1 / 3,
    "SOLVER.WARMUP_ITERS": 500,
    "SOLVER.LR_SCHEDULE": "WarmupMultiStepLR",
    "OUTPUT_DIR": "outputs",
}
UNUSED = ("DATA_LOADER.PIN_MEMORY", "TEST.MAX_PER_CLASS")

PREDICTORS = {"SSDBoxPredictor": "dense", "SSDLiteBoxPredictor": "separable_biased"}
LOSSES: dict[str, dict[str, Any]] = {
    # an image without objects teaches nothing there
    "MultiBoxLoss": {"loss": {"type": "multibox", "min_negatives": 0}},
    "FocalLoss": {
        "loss": {"type": "focal", "alpha": 0.25, "gamma": 2.0, "cls_weight": 5.0},
        "model.head.initial_score": 0.01,
        "model.weights_classes": "shifted",  # column 0 of their checkpoints is the first class
    },
}

# What their code does without a key for it
ALWAYS: dict[str, Any] = {
    "input.channels": "rgb",
    "data.augment": "ssd_lufficc",
    "matcher.type": "iou",
    "model.init": "xavier",  # right for their box predictors; some of their extra layers start He-normal
    "postprocess.max_candidates": 1000,  # there: no limit
}
USUAL = ["voc_2007_trainval", "voc_2012_trainval"]  # what the recipe is for where a file names no data
FORK_STD = [58.395, 57.12, 57.375]  # the fork divides by it; lufficc's code does not divide


def is_yacs(source: Mapping[str, Any]) -> bool:
    """Whether the content is that of one of their files."""
    model = source.get("MODEL")
    parts = model if isinstance(model, Mapping) else {}
    return bool(MARKS & source.keys()) or bool({"BACKBONE", "BOX_HEAD", "PRIORS"} & parts.keys())


def translate(source: Mapping[str, Any], root: str | None = None) -> dict[str, Any]:
    """One of their files as ``load_config`` takes it: the same network, priors to the bit, recipe and data.

    Args:
        source: the file's content.
        root: the folder of the data, ``data.root``; None: the environment variable VOC_ROOT or COCO_ROOT, or else
            the folder datasets where there is one, as there.

    Raises:
        ValueError, TypeError: an unknown key, or a value that has no counterpart.
    """
    given = _decoded(source)
    theirs = read_fields(given, FIELDS, UNUSED, ABOUT)
    is_fork = _is_fork(given, theirs)
    config = ALWAYS | {ours: theirs[name] for name, (ours, _) in SAME.items()}
    config |= _network(theirs, is_fork) | _priors(theirs) | _loss(theirs)
    config |= _data(theirs, root) | _solver(theirs, is_fork, root)
    side = theirs["INPUT.IMAGE_SIZE"]
    config |= {"input.size": [side, side], "input.std": FORK_STD if is_fork else [1.0, 1.0, 1.0]}
    config["model.variances"] = [theirs["MODEL.CENTER_VARIANCE"], theirs["MODEL.SIZE_VARIANCE"]]
    if "NUM_WORKERS" in given.get("DATA_LOADER", {}):
        config["data.workers"] = theirs["DATA_LOADER.NUM_WORKERS"]
    if "OUTPUT_DIR" in given:
        folder = Path(theirs["OUTPUT_DIR"])
        config |= {"run.dir": str(folder.parent), "run.name": folder.name}
    if theirs["MODEL.DEVICE"] != "cuda":  # theirs by default, also without a GPU: here auto
        config["run.device"] = theirs["MODEL.DEVICE"]
    return nested(config)


def _decoded(value: Any) -> Any:
    """Tuples and lists that YAML takes for texts, such as ``("voc_2007_test", )``, as lists, which yacs does too."""
    if isinstance(value, Mapping):
        return {str(key): _decoded(item) for key, item in value.items()}
    if isinstance(value, str) and value[:1] in ("(", "[") and len(value) < 10_000:
        try:
            return to_plain(ast.literal_eval(value))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return value
    return value


def _is_fork(given: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether a file is of the fork, which alone has these keys and data. Its files for VGG16 are lufficc's."""
    fork_keys = "LOSS" in given.get("MODEL", {}).get("BOX_HEAD", {}) or "LR_SCHEDULE" in given.get("SOLVER", {})
    sets = [*theirs["DATASETS.TRAIN"], *theirs["DATASETS.TEST"]]
    return fork_keys or theirs["MODEL.BACKBONE.NAME"] == "mobilenext" or any("coco_2017" in str(name) for name in sets)


def _network(theirs: Mapping[str, Any], is_fork: bool) -> dict[str, Any]:
    lookup(("SSDDetector",), theirs["MODEL.META_ARCHITECTURE"], "MODEL.META_ARCHITECTURE")
    lookup(("SSDBoxHead",), theirs["MODEL.BOX_HEAD.NAME"], "MODEL.BOX_HEAD.NAME")
    name, channels = theirs["MODEL.BACKBONE.NAME"], theirs["MODEL.BACKBONE.OUT_CHANNELS"]
    network = find_network(name, channels, theirs["INPUT.IMAGE_SIZE"], is_fork)
    if theirs["MODEL.BACKBONE.PRETRAINED"]:
        log.info(
            "MODEL.BACKBONE.PRETRAINED loads nothing here: training starts from random weights, unless "
            "model.weights=imagenet is given, or a classifier's file with model.weights_scope=[backbone] "
            "(docs/legacy_configs.md)"
        )
    maps = theirs["MODEL.PRIORS.FEATURE_MAPS"]
    log.info("MODEL.PRIORS.FEATURE_MAPS %s is not used: maps are as large as the network makes them", maps)
    predictor = lookup(PREDICTORS, theirs["MODEL.BOX_HEAD.PREDICTOR"], "MODEL.BOX_HEAD.PREDICTOR")
    return {**network.as_ours(), "model.head.predictor": predictor}


def _priors(theirs: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: theirs[f"MODEL.PRIORS.{key}"] for key in ("STRIDES", "MIN_SIZES", "MAX_SIZES", "ASPECT_RATIOS")}
    fields["BOXES_PER_LOCATION"] = theirs["MODEL.PRIORS.BOXES_PER_LOCATION"]
    levels = len(theirs["MODEL.BACKBONE.OUT_CHANNELS"])
    for key, values in (*fields.items(), ("FEATURE_MAPS", theirs["MODEL.PRIORS.FEATURE_MAPS"])):
        if len(values) != levels:
            raise ValueError(
                f"MODEL.PRIORS.{key} must have {levels} entries, as MODEL.BACKBONE.OUT_CHANNELS has; got {values}"
            )
    small, large, ratios = fields["MIN_SIZES"], fields["MAX_SIZES"], fields["ASPECT_RATIOS"]
    counts = [2 + 2 * len(level) for level in ratios]
    if fields["BOXES_PER_LOCATION"] != counts:
        raise ValueError(
            f"MODEL.PRIORS.BOXES_PER_LOCATION must be {counts}, two squares and a pair for each aspect ratio; got "
            f"{fields['BOXES_PER_LOCATION']}"
        )
    if min(*small, *large, *(ratio for level in ratios for ratio in level), 1) <= 0:
        raise ValueError(f"MODEL.PRIORS must have sizes and aspect ratios above 0; got {small}, {large} and {ratios}")
    shapes: dict[str, Any] = {"model.priors.sizes": [*small, large[-1]], "model.priors.ratios": ratios}
    if small[1:] != large[:-1] or small != sorted(small):  # our sizes end where the next level's begin
        shapes = {"model.priors.boxes": [_shapes(*level) for level in zip(small, large, ratios, strict=True)]}
    return {
        **shapes,
        "model.priors.reference": float(theirs["INPUT.IMAGE_SIZE"]),
        "model.priors.steps": fields["STRIDES"],
    }


def _shapes(small: float, large: float, ratios: Sequence[float]) -> list[list[float]]:
    """The [width, height] of a cell's boxes: two squares, then a pair for each ratio."""
    middle = math.sqrt(small * large)
    pairs = [(small * math.sqrt(ratio), small / math.sqrt(ratio)) for ratio in ratios]
    return [[float(small)] * 2, [middle] * 2, *([*box] for w, h in pairs for box in ((w, h), (h, w)))]


def _loss(theirs: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(lookup(LOSSES, theirs["MODEL.BOX_HEAD.LOSS"], "MODEL.BOX_HEAD.LOSS"))
    if config["loss"]["type"] == "multibox":
        return {"loss": {**config["loss"], "negative_ratio": float(theirs["MODEL.NEG_POS_RATIO"])}}
    log.info(
        "FocalLoss: column 0 of a checkpoint is the first class there, not background; the columns are moved when one "
        "is loaded (model.weights_classes=shifted)"
    )
    return config


def _data(theirs: Mapping[str, Any], root: str | None) -> dict[str, Any]:
    layout = {}
    for split, key in (("train", "DATASETS.TRAIN"), ("val", "DATASETS.TEST")):
        if theirs[key]:
            layout[split] = [name for name in theirs[key] if lookup(SETS, name, f"an entry of {key}")]
    if not layout:
        return {}
    tested = [*layout.get("val", ()), *layout.get("train", ())]
    is_voc = tested[0].startswith("voc")
    log.info("%s, of DATASETS, by data.layout", "11-point AP at IoU 0.5" if is_voc else "COCO's AP")
    config: dict[str, Any] = {"data.layout": layout, "evaluation.protocol": "voc07" if is_voc else "coco"}
    folder = _root(layout, root)
    return config | ({"data.root": folder} if folder else {})


def _root(layout: Mapping[str, Sequence[str]], root: str | None) -> str | None:
    """The folder of the data as their code finds it; None: ours."""
    sets = next(iter(layout.values()))
    told = root or os.environ.get("VOC_ROOT" if sets[0].startswith("voc") else "COCO_ROOT")
    return told or ("datasets" if are_there(sets, "datasets") else None)


def _solver(theirs: Mapping[str, Any], is_fork: bool, root: str | None) -> dict[str, Any]:
    """The recipe, its iterations turned into epochs by the size of the data."""
    sets, batch, longest = theirs["DATASETS.TRAIN"], theirs["SOLVER.BATCH_SIZE"], theirs["SOLVER.MAX_ITER"]
    is_coco = bool(sets) and sets[0].startswith("coco")
    gpus = (8 if is_coco else 4) if is_fork else 1  # that their README and scripts train on
    if min(batch, longest) < 1:
        raise ValueError(f"SOLVER must have BATCH_SIZE and MAX_ITER of 1 or more; got {batch} and {longest}")
    if theirs["SOLVER.LR_SCHEDULE"] == "WarmupCosLR":
        log.info("SOLVER.LR_STEPS and SOLVER.GAMMA are not used: WarmupCosLR has none")
    # With more GPUs their code does fewer iterations of larger batches, at a rate that is higher by as much.
    epochs_of = _epochs(theirs, root)
    rate = theirs["SOLVER.LR"] * gpus
    if gpus > 1:
        log.info("made for %d GPUs of %d images each: train.batch_size=%d, lr=%g", gpus, batch, batch * gpus, rate)
    schedules = {
        "WarmupMultiStepLR": {
            "type": "step",
            "milestones": [epochs_of(step) for step in theirs["SOLVER.LR_STEPS"]],
            "gamma": theirs["SOLVER.GAMMA"],
        },
        "WarmupCosLR": {"type": "cosine"},
    }
    return {
        "train.epochs": max(round(epochs_of(longest)), 1),
        "train.batch_size": batch * gpus,
        "train.optimizer": {
            "type": "sgd",
            "lr": rate,
            "momentum": theirs["SOLVER.MOMENTUM"],
            "weight_decay": theirs["SOLVER.WEIGHT_DECAY"],
        },
        "train.schedule": lookup(schedules, theirs["SOLVER.LR_SCHEDULE"], "SOLVER.LR_SCHEDULE"),
        # the warm-up alone is not divided by the number of GPUs
        "train.warmup_epochs": epochs_of(theirs["SOLVER.WARMUP_ITERS"] * gpus),
        "train.warmup_start": theirs["SOLVER.WARMUP_FACTOR"],
        "train.norm": "sync" if is_fork and is_coco else "batch",
    }


def _epochs(theirs: Mapping[str, Any], root: str | None) -> Callable[[float], float]:
    """Iterations of BATCH_SIZE images -> epochs of the training data, as they are there or as published."""
    sets, batch, longest = theirs["DATASETS.TRAIN"] or USUAL, theirs["SOLVER.BATCH_SIZE"], theirs["SOLVER.MAX_ITER"]
    num_images, is_counted = count_images(sets, _root({"train": sets}, root))
    if num_images < 1:
        raise ValueError(f"DATASETS.TRAIN must name sets with images; got {', '.join(sets)}, which have none")

    def epochs_of(iterations: float) -> float:
        return round(iterations * batch / num_images, 3)

    how = "counted" if is_counted else "as published, because their files are not there or too large to count"
    log.info(
        "%d iterations of %d images are %d epochs of the %d images of %s (%s)",
        *(longest, batch, max(round(epochs_of(longest)), 1), num_images, ", ".join(sets), how),
    )
    return epochs_of
