"""The BMVC 2019 code and its parent, ssds.pytorch: their YAML files.

What a file means is what their lib/utils/config_parse.py and lib/ssds_train.py make of it.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.data.augment.presets import PRESETS
from lib.legacy.families import PARTS
from lib.legacy.fields import Needed, read_fields
from lib.legacy.ssds_network import translate_network
from lib.utils.lookup import lookup
from lib.utils.schema import Maybe
from lib.utils.yaml_files import nested

log = logging.getLogger(__name__)
ABOUT = "a BMVC config"

# Their key that means the same as one of ours -> our key, and its value where a file does not give it
SAME: dict[str, tuple[str, Any]] = {
    "MODEL.IMAGE_SIZE": ("input.size", [300, 300]),
    "MODEL.NUM_CLASSES": ("model.num_classes", 21),
    "MODEL.CLIP": ("model.priors.clip", True),
    "TRAIN.MAX_EPOCHS": ("train.epochs", 300),
    "TRAIN.BATCH_SIZE": ("train.batch_size", 128),
    "TEST.BATCH_SIZE": ("evaluation.batch_size", 128),
    "MATCHER.MATCHED_THRESHOLD": ("matcher.threshold", 0.5),
    "MATCHER.NEGPOS_RATIO": ("loss.negative_ratio", 3.0),
    "MATCHER.VARIANCE": ("model.variances", [0.1, 0.2]),
    "POST_PROCESS.SCORE_THRESHOLD": ("postprocess.score_threshold", 0.01),
    "POST_PROCESS.IOU_THRESHOLD": ("postprocess.iou_threshold", 0.6),
    "DATASET.PIXEL_MEANS": ("input.mean", [103.94, 116.78, 123.68]),
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


_SETS = Maybe(list[tuple[str | int, str]])  # [[year, set], ...]
# The others that are read, and their defaults
FIELDS: dict[str, Any] = {
    **{name: default for name, (_, default) in SAME.items()},
    "EXP_DIR": Maybe(str),
    "RESUME_CHECKPOINT": Maybe(str),
    "PHASE": ["train", "eval", "test"],
    "MODEL.SSDS": "ssd",
    "MODEL.NETS": "vgg16",
    "MODEL.FEATURE_LAYER": Needed(list[list]),
    "MODEL.SIZES": Needed(list[list]),
    "MODEL.ASPECT_RATIOS": Needed(list[list]),
    "MODEL.STEPS": Maybe(list[list]),
    "TRAIN.TRAINABLE_SCOPE": "",
    "TRAIN.RESUME_SCOPE": "",
    "TRAIN.OPTIMIZER.OPTIMIZER": "sgd",
    "TRAIN.OPTIMIZER.LEARNING_RATE": 0.001,
    "TRAIN.OPTIMIZER.MOMENTUM": 0.9,
    "TRAIN.OPTIMIZER.MOMENTUM_2": 0.99,
    "TRAIN.OPTIMIZER.WEIGHT_DECAY": 0.0001,
    "TRAIN.LR_SCHEDULER.SCHEDULER": "step",
    "TRAIN.LR_SCHEDULER.STEPS": [1],
    "TRAIN.LR_SCHEDULER.GAMMA": 0.98,
    "TRAIN.LR_SCHEDULER.WARM_UP_EPOCHS": 0,
    "TEST.TEST_SCOPE": Maybe(tuple[int, int]),
    "POST_PROCESS.MAX_DETECTIONS": 100,  # of one class
    "DATASET.DATASET": "voc",
    "DATASET.DATASET_DIR": "./data",
    "DATASET.TRAIN_SETS": _SETS,
    "DATASET.TEST_SETS": _SETS,
    "DATASET.PROB": 0.6,  # of expanding an image
}
UNUSED = (
    *("LOG_DIR", "CHECKPOINTS_PREFIX", "ROOT_DIR", "MODEL.HALF_PRECISION", "MODEL.NUM_FUSED"),
    *("TRAIN.CHECKPOINTS_EPOCHS", "TRAIN.CHECKPOINTS_KEPT", "TRAIN.OPTIMIZER.EPS", "TRAIN.LR_SCHEDULER.MAX_EPOCHS"),
    *("MATCHER.UNMATCHED_THRESHOLD", "MATCHER.BACKGROUND_LABEL", "MATCHER.NUM_CLASSES"),
    *("POST_PROCESS.BACKGROUND_LABEL", "POST_PROCESS.NUM_CLASSES", "POST_PROCESS.VARIANCE"),
    *("DATASET.IMAGE_SIZE", "DATASET.NUM_WORKERS", "DATASET.TRAIN_BATCH_SIZE", "DATASET.TEST_BATCH_SIZE"),
)
PHASES = ("train", "eval", "test", "visualize", "custom_visualize", "visualize_results")


def is_ssds(source: Mapping[str, Any]) -> bool:
    """Whether the content may be that of one of their files; those of lufficc's SSD have a MODEL, too."""
    return "MODEL" in source


def translate(source: Mapping[str, Any], root: str | None = None) -> dict[str, Any]:
    """One of their YAML files as ``load_config`` takes it: the same network, priors to the bit, recipe and paths.

    ``root`` is not needed: the file names the folder of the data.

    Raises:
        ValueError, TypeError: an unknown or missing key, or a value that has no counterpart.
    """
    theirs = read_fields(source, FIELDS, UNUSED, ABOUT)
    config: dict[str, Any] = ALWAYS | {ours: theirs[name] for name, (ours, _) in SAME.items()}
    epochs, num_classes = config["train.epochs"], config["model.num_classes"]
    config |= translate_network(theirs) | _training(theirs, epochs) | _data(theirs) | _testing(theirs, epochs)
    # There the limit is one of each class, and the evaluation takes as many of each class and image.
    config["postprocess.max_detections"] = theirs["POST_PROCESS.MAX_DETECTIONS"] * (num_classes - 1)
    config["loss.negative_ratio"] = float(config["loss.negative_ratio"])
    if theirs["EXP_DIR"]:
        folder = Path(theirs["EXP_DIR"])
        config |= {"run.dir": str(folder.parent), "run.name": folder.name}
    return nested(config)


def _training(theirs: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    names = ("OPTIMIZER", "LEARNING_RATE", "MOMENTUM", "MOMENTUM_2", "WEIGHT_DECAY")
    kind, rate, momentum, second, decay = (theirs[f"TRAIN.OPTIMIZER.{name}"] for name in names)
    optimizer = {"type": kind, "lr": rate, "weight_decay": decay}
    of_kind = {
        "sgd": {"momentum": momentum},
        "rmsprop": {"momentum": momentum, "alpha": second},
        "adam": {"betas": [momentum, second]},
    }
    config = {
        "train.optimizer": optimizer | lookup(of_kind, kind, "TRAIN.OPTIMIZER.OPTIMIZER"),
        "train.schedule": _schedule(theirs, epochs),
        "train.trainable": _scope(theirs, "TRAIN.TRAINABLE_SCOPE"),
    }
    weights = theirs["RESUME_CHECKPOINT"]
    if weights and Path(weights).is_file():
        config |= {"model.weights": weights, "model.weights_scope": _scope(theirs, "TRAIN.RESUME_SCOPE")}
    elif weights:
        log.warning(
            "RESUME_CHECKPOINT %s is not there: training would start from random weights, as theirs did", weights
        )
    return config


def _schedule(theirs: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Theirs counts epochs from 1, so a rate changes one epoch earlier than its number says; its "warm-up" stays at the
    base rate.
    """

    names = ("SCHEDULER", "STEPS", "GAMMA", "WARM_UP_EPOCHS")
    kind, steps, gamma, hold = (theirs[f"TRAIN.LR_SCHEDULER.{name}"] for name in names)
    if kind == "SGDR":
        return {"type": "cosine", "hold": float(hold), "by_epoch": True}
    lookup(("step", "multi_step", "exponential", "SGDR"), kind, "TRAIN.LR_SCHEDULER.SCHEDULER")
    if kind == "step" and (not steps or steps[0] < 1):
        raise ValueError(f"TRAIN.LR_SCHEDULER.STEPS must begin with the epochs of a step, 1 or more; got {steps}")
    if kind == "multi_step":
        ends = steps
    else:
        every = steps[0] if kind == "step" else 1
        ends = range(every, epochs + 1, every)
    return {"type": "step", "milestones": [hold + end - 1 for end in ends], "gamma": gamma}


def _scope(theirs: Mapping[str, Any], name: str) -> list[str] | None:
    """``'base,conf'`` -> our parts; None if it names all of them or is empty."""
    parts = [part.strip() for part in theirs[name].split(",") if part.strip()]
    translated = [ours for part in parts for ours in lookup(PARTS, part, name)]
    is_fused = theirs["MODEL.SSDS"].startswith("fssd")
    everything = set(PARTS) - (set() if is_fused else {"transforms", "pyramids"})
    return None if not parts or set(parts) >= everything else translated


def _data(theirs: Mapping[str, Any]) -> dict[str, Any]:
    name = lookup(("coco", "voc"), theirs["DATASET.DATASET"], "DATASET.DATASET")
    folder = Path(theirs["DATASET.DATASET_DIR"])
    sets = {split: theirs[f"DATASET.{key}"] for split, key in (("train", "TRAIN_SETS"), ("val", "TEST_SETS"))}
    if name == "voc":
        usual = {"train": [["2007", "trainval"], ["2012", "trainval"]], "val": [["2007", "test"]]}
        sets = {split: usual[split] if given is None else given for split, given in sets.items()}
        log.info("objects that VOC marks as difficult are not learned here; there they were")
    layout = {split: [f"{name}_{year}_{part}" for year, part in pairs] for split, pairs in sets.items() if pairs}
    config: dict[str, Any] = {"data.layout": layout, "data.root": str(folder)} if layout else {}
    probability = float(theirs["DATASET.PROB"])
    config["data.augment"] = [
        {**step, "p": probability} if step["type"] == "expand" else step for step in PRESETS["ssd_ancestor"]
    ]
    return config


def _testing(theirs: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """What PHASE and TEST_SCOPE say: whether training tests, by which AP, and whose checkpoints are kept for tests."""
    given = theirs["PHASE"]
    phases = {lookup(PHASES, phase, "a word of PHASE") for phase in given}
    config: dict[str, Any] = {"evaluation.protocol": _protocol(theirs, phases)}
    if "train" not in phases:
        log.info("PHASE %s names no train, so their train.py would only test; here train.py trains", given)
    elif not phases & {"eval", "test"}:
        config["train.eval_every"] = 0
        log.info("PHASE %s names neither eval nor test: training tests only once, after its last epoch", given)
    if drawn := [phase for phase in PHASES[3:] if phase in phases]:
        log.info("PHASE %s has no counterpart: demo.py draws detections, tools/show.py priors", ", ".join(drawn))
    if scope := theirs["TEST.TEST_SCOPE"]:
        config["train.keep_last"] = max(1, epochs - scope[0] + 1)
        log.info(
            "TEST_SCOPE %s: training keeps the checkpoints of its last %d epochs, as epoch_<number>.pth; their test.py "
            "tests each of the scope, here test.py tests the one that --checkpoint names",
            *(scope, config["train.keep_last"]),
        )
    return config


def _protocol(theirs: Mapping[str, Any], phases: set[str]) -> str:
    """The AP that their phases compute: eval at IoU 0.5 over every point, test as the data set's own tools do."""
    if phases & {"eval", "test"} == {"eval"}:
        protocol, why = "voc12", "as their phase eval, but detections of a class that an image lacks count"
    elif theirs["DATASET.DATASET"] == "coco":
        protocol, why = "coco", "as their phase test"
    else:  # the year is that of the last set
        year = int((theirs["DATASET.TEST_SETS"] or [["2007", "test"]])[-1][0])
        protocol = "voc07" if year < 2010 else "voc12"
        why = f"AP over {'11 points' if year < 2010 else 'every point'}, as their phase test for VOC {year}"
    log.info("evaluation.protocol=%s: %s", protocol, why)
    return protocol
