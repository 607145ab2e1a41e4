"""The BMVC 2019 code and its parent, ssds.pytorch: their YAML files and their checkpoints."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.data.augment.presets import PRESETS
from lib.models.backbones import BACKBONES as TABLES
from lib.models.backbones.vgg import vgg16
from lib.models.taps import Tap
from lib.utils.lookup import build, lookup, suggest
from lib.utils.yaml_files import nested

log = logging.getLogger(__name__)

# A part of their detector -> ours
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

# MODEL.SSDS: the type of the head, and whether the backbone runs on two paths
HEADS = ("ssd", "ssd_lite", "ssd_dual", "ssd_lite_dual", "rfb", "rfb_lite", "fssd", "fssd_lite")

LETTER = "a letter of MODEL.FEATURE_LAYER"  # -> (stride, padding)
EXTRAS = {"S": (2, 1), "E": (2, 1), "P": (2, 0), "": (1, 0)}

# MODEL.NETS without its stride suffix -> backbone
WIDTHS = {"": {}, "_075": {"width": 0.75}, "_050": {"width": 0.5}, "_025": {"width": 0.25}}
MOBILENETS: dict[str, dict[str, Any]] = {"mobilenet_v1": {}, "mobilenet_v2": {"expand_first": True, "round_to": 1}}
BACKBONES: dict[str, dict[str, Any]] = {"vgg16": {"type": "vgg16"}} | {
    f"{name}{suffix}": {"type": name, **options, **width}
    for name, options in MOBILENETS.items()
    for suffix, width in WIDTHS.items()
}

# Their key that means the same as one of ours -> our key, and its value where a file does not give it
SAME: dict[str, tuple[str, Any]] = {
    "MODEL.IMAGE_SIZE": ("input.size", [300, 300]),
    "MODEL.NUM_CLASSES": ("model.num_classes", 81),
    "MODEL.CLIP": ("model.priors.clip", True),
    "MODEL.VARIANCE": ("model.variances", [0.1, 0.2]),
    "TRAIN.MAX_EPOCHS": ("train.epochs", 100),
    "TRAIN.BATCH_SIZE": ("train.batch_size", 32),
    "TEST.BATCH_SIZE": ("evaluation.batch_size", 16),
    "MATCHER.MATCHED_THRESHOLD": ("matcher.threshold", 0.5),
    "MATCHER.NEGPOS_RATIO": ("loss.negative_ratio", 3.0),
    "POST_PROCESS.SCORE_THRESHOLD": ("postprocess.score_threshold", 0.01),
    "POST_PROCESS.IOU_THRESHOLD": ("postprocess.iou_threshold", 0.6),
}

# What their code does without a key for it
ALWAYS: dict[str, Any] = {
    "matcher.type": "iou",
    "loss.type": "multibox",
    "loss.min_negatives": 0,
    "model.head.predictor": "dense",
    "model.priors.reference": 0.0,  # sizes are pixels, whatever the input
    "postprocess.max_candidates": 1000,  # there: no limit
}

# Their keys by section: those that are read, without those of SAME, and those that have no counterpart
READ = {
    "MODEL": "FEATURE_LAYER SIZES ASPECT_RATIOS SSDS NETS STEPS",  # the first three must be there
    "TRAIN": "TRAINABLE_SCOPE RESUME_SCOPE OPTIMIZER LR_SCHEDULER",
    "TEST": "",
    "MATCHER": "",
    "POST_PROCESS": "MAX_DETECTIONS",
    "DATASET": "DATASET DATASET_DIR TRAIN_SETS TEST_SETS PROB",
}
UNUSED = {
    "TRAIN": "CHECKPOINTS_EPOCHS CHECKPOINTS_KEPT",
    "TEST": "TEST_SCOPE",
    "MATCHER": "UNMATCHED_THRESHOLD BACKGROUND_LABEL NUM_CLASSES VARIANCE",
    "POST_PROCESS": "BACKGROUND_LABEL NUM_CLASSES VARIANCE",
    "DATASET": "IMAGE_SIZE PIXEL_MEANS NUM_WORKERS TRAIN_BATCH_SIZE TEST_BATCH_SIZE",
}
TOP_LEVEL = ("EXP_DIR", "LOG_DIR", "RESUME_CHECKPOINT", "PHASE", "CHECKPOINTS_PREFIX", "ROOT_DIR")


def translate_config(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """One of their YAML files as ``load_config`` takes it: the same network, priors to the bit, recipe and paths.

    A file of ours, which has no MODEL, stays as it is.

    Raises:
        ValueError, TypeError: an unknown or missing key, or a value that has no counterpart.
    """
    if "MODEL" not in source:
        return source
    theirs = _flat(source)
    config: dict[str, Any] = ALWAYS | {ours: theirs.get(name, default) for name, (ours, default) in SAME.items()}
    config |= _network(theirs) | _priors(theirs) | _training(theirs, config["train.epochs"]) | _data(theirs)
    # There the limit is one of each class, and the evaluation takes as many of each class and image.
    limit = theirs.get("POST_PROCESS.MAX_DETECTIONS", 100)
    config["postprocess.max_detections"] = limit * (config["model.num_classes"] - 1)
    config["loss.negative_ratio"] = float(config["loss.negative_ratio"])
    if theirs.get("EXP_DIR"):
        folder = Path(theirs["EXP_DIR"])
        config |= {"run.dir": str(folder.parent), "run.name": folder.name}
    if "PHASE" in theirs:
        log.info("PHASE %s says nothing here: train.py trains and test.py tests", theirs["PHASE"])
    return nested(config)


def _flat(source: Mapping[str, Any]) -> dict[str, Any]:
    """``{"MODEL": {"NETS": ...}}`` -> ``{"MODEL.NETS": ...}``, each key known; logs those that are not used."""
    flat = {key: value for key, value in source.items() if key in TOP_LEVEL}
    for section in [section for section in source if section not in TOP_LEVEL]:
        read = lookup(READ, section, "a section of a BMVC config").split()
        read += [name.partition(".")[2] for name in SAME if name.startswith(f"{section}.")]
        unused = UNUSED.get(section, "").split()
        if not isinstance(source[section], Mapping):
            raise TypeError(f"{section} of a BMVC config must be a mapping; got {source[section]!r}")
        for key, value in source[section].items():
            if key not in read + unused:
                near = suggest(key, read)
                raise ValueError(f"{section} of a BMVC config must hold {', '.join(read)}; got {key}{near}")
            if key in unused:
                log.info("%s.%s of a BMVC config has no counterpart and is not used", section, key)
            flat[f"{section}.{key}"] = value
    for key in READ["MODEL"].split()[:3]:
        if f"MODEL.{key}" not in flat:
            raise ValueError(f"MODEL.{key} of a BMVC config must be given; got {', '.join(source['MODEL'])}")
    return flat


def _network(theirs: Mapping[str, Any]) -> dict[str, Any]:
    name = lookup(HEADS, theirs.get("MODEL.SSDS", "ssd"), "MODEL.SSDS")
    head, is_dual, is_fused = name.removesuffix("_dual"), name.endswith("_dual"), name.startswith("fssd")
    backbone = _backbone(theirs.get("MODEL.NETS", "vgg16"))
    is_vgg = backbone["type"] == "vgg16"
    features = theirs["MODEL.FEATURE_LAYER"]
    layers, channels = features[0] if is_fused else features
    taps = [vgg_row(tap) if is_vgg else tap for tap in layers if isinstance(tap, int)]
    names: list[int | str] = [*taps]
    if is_dual and _is_joined(backbone, taps, channels):
        names[-1] = str(Tap(taps[-1], joined=(Tap(taps[0], is_coarse=True),)))
    rows = zip(layers, channels, strict=True)
    config = {
        "model.backbone": backbone,
        "model.head.type": head,
        "model.neck.taps": names,
        "model.neck.extras": [_extra(layer, width, head) for layer, width in rows if not isinstance(layer, int)],
    }
    if is_fused:
        pyramid = zip(*features[1], strict=True)
        config["model.neck.pyramid"] = [[width, lookup(EXTRAS, letter, LETTER)[0]] for letter, width in pyramid]
    if is_dual:
        config["model.dual_path"] = {"split": 2 if is_vgg else 0}
    return config


def _extra(letter: str, width: int, head: str) -> list[int] | dict[str, Any]:
    """The extra layer that a letter of MODEL.FEATURE_LAYER stands for."""
    if letter == "RBF":
        return {"type": head, "channels": width, "stride": 2}
    return [width, *lookup(EXTRAS, letter, LETTER)]


def _is_joined(backbone: Mapping[str, Any], taps: Sequence[int], channels: Sequence[int]) -> bool:
    """Whether the last tap has the channels of both paths joined, as in the older form of the dual path."""
    table = build(TABLES, {key: value for key, value in backbone.items() if key != "strides"}, "MODEL.NETS")
    widths = [table[row].channels for row in taps]
    return channels[len(taps) - 1] == widths[-1] + widths[0] != widths[-1]


def _backbone(name: str) -> dict[str, Any]:
    base, _, rows = re.sub(r"_S\d+L([\d_]+)$", r" \1", name).partition(" ")
    backbone = dict(lookup(BACKBONES, base, "MODEL.NETS"))
    if rows:
        backbone["strides"] = {int(row): 1 for row in rows.split("_")}
    if name == "vgg16_S2L2_5":
        backbone["strides"][17] = 3  # the name does not say it: its pool5 moves in steps of 3
    return backbone


def vgg_row(module: int) -> int:
    """The row of the VGG16 table after which the BMVC code reads its module of that number (22 -> 12, 34 -> 19)."""
    ends, end = {}, -1
    for row, layer in enumerate(vgg16()):
        end += 1 if layer.channels is None else 2  # a pool is one module, a convolution two with its ReLU
        ends[end] = row
    return lookup(ends, module, "a number of MODEL.FEATURE_LAYER for VGG16")


def _priors(theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model.priors.sizes": _squares(theirs["MODEL.SIZES"], "MODEL.SIZES"),
        "model.priors.steps": _squares(theirs.get("MODEL.STEPS") or [], "MODEL.STEPS") or None,
        # The list counts the boxes of a cell in pairs: its 1 stands for the two squares.
        "model.priors.ratios": [[ratio for ratio in level if ratio != 1] for level in theirs["MODEL.ASPECT_RATIOS"]],
    }


def _squares(pairs: Sequence, name: str) -> list:
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(set(pair)) != 1:
            raise ValueError(f"{name} must be a list of pairs of equal numbers, such as [[8, 8], ...]; got {pair}")
    return [pair[0] for pair in pairs]


def _training(theirs: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    settings = theirs.get("TRAIN.OPTIMIZER", {})
    kind, momentum = settings.get("OPTIMIZER", "sgd"), settings.get("MOMENTUM", 0.9)
    rate, decay = settings.get("LEARNING_RATE", 0.001), settings.get("WEIGHT_DECAY", 0.0001)
    optimizer = {"type": kind, "lr": rate, "weight_decay": decay}
    if kind in ("sgd", "rmsprop"):
        optimizer["momentum"] = momentum
    elif kind == "adam":
        optimizer["betas"] = [momentum, settings.get("MOMENTUM_2", 0.99)]
    config = {
        "train.optimizer": optimizer,
        "train.schedule": _schedule(theirs.get("TRAIN.LR_SCHEDULER", {}), epochs),
        "train.trainable": _scope(theirs, "TRAIN.TRAINABLE_SCOPE"),
    }
    if theirs.get("RESUME_CHECKPOINT"):
        scope = _scope(theirs, "TRAIN.RESUME_SCOPE")
        config |= {"model.weights": theirs["RESUME_CHECKPOINT"], "model.weights_scope": scope}
    return config


def _schedule(scheduler: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    steps, gamma = scheduler.get("STEPS", [1]), scheduler.get("GAMMA", 0.98)
    hold = scheduler.get("WARM_UP_EPOCHS", 0)  # its "warm-up" stays at the base rate
    schedules = {
        "SGDR": {"type": "cosine", "hold": float(hold), "by_epoch": True},
        "step": {"type": "step", "milestones": list(range(steps[0], epochs, steps[0])), "gamma": gamma},
        "multi_step": {"type": "step", "milestones": list(steps), "gamma": gamma},
        "exponential": {"type": "exponential", "gamma": gamma},
    }
    return lookup(schedules, scheduler.get("SCHEDULER", "step"), "TRAIN.LR_SCHEDULER.SCHEDULER")


def _scope(theirs: Mapping[str, Any], name: str) -> list[str] | None:
    """``'base,conf'`` -> our parts; None if it names all of them or is empty."""
    parts = [part.strip() for part in theirs.get(name, "").split(",") if part.strip()]
    translated = [ours for part in parts for ours in lookup(PARTS, part, name)]
    return None if not parts or set(parts) >= ALL_PARTS else translated


def _data(theirs: Mapping[str, Any]) -> dict[str, Any]:
    name, probability = theirs.get("DATASET.DATASET", "coco"), theirs.get("DATASET.PROB", 0.6)
    if name != "coco":
        raise ValueError(f"DATASET.DATASET must be coco; got {name!r}: convert the data by tools/convert_dataset.py")
    root = Path(theirs.get("DATASET.DATASET_DIR", "./data/COCO"))
    config: dict[str, Any] = {}
    for part, key in (("train", "DATASET.TRAIN_SETS"), ("val", "DATASET.TEST_SETS")):
        if theirs.get(key):
            config[f"data.{part}"] = _coco_set(root, theirs[key], key)
    config["data.augment"] = [
        {**step, "p": float(probability)} if step["type"] == "expand" else step for step in PRESETS["ssd_ancestor"]
    ]
    return config


def _coco_set(root: Path, sets: Sequence, name: str) -> dict[str, str]:
    if len(sets) != 1:
        raise ValueError(f"{name} must name one set; got {sets}: join the sets' JSON files into one")
    year, part = sets[0]
    folder = root / "images" / f"{part}{year}"
    if not folder.is_dir() and (root / f"{part}{year}").is_dir():
        folder = root / f"{part}{year}"  # COCO's own layout, without images/
    return {"images": str(folder), "annotations": str(root / "annotations" / f"instances_{part}{year}.json")}
