"""The BMVC 2019 code and its parent, ssds.pytorch: their YAML files and their checkpoints.

What a file means is what their lib/utils/config_parse.py and lib/ssds_train.py make of it.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.data.augment.presets import PRESETS
from lib.legacy.ssds_network import translate_network
from lib.utils.lookup import accepts, in_words, lookup, suggest
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


_SETS = list[tuple[str | int, str]]  # [[year, set], ...]
# Their other keys that are read -> their types
READ: dict[str, Any] = {
    **dict.fromkeys(("EXP_DIR", "RESUME_CHECKPOINT"), str),
    "PHASE": list[str],
    **dict.fromkeys(("MODEL.FEATURE_LAYER", "MODEL.SIZES", "MODEL.ASPECT_RATIOS"), list[list]),  # must be there
    "MODEL.STEPS": list[list],
    **dict.fromkeys(("MODEL.SSDS", "MODEL.NETS", "TRAIN.TRAINABLE_SCOPE", "TRAIN.RESUME_SCOPE"), str),
    "TRAIN.OPTIMIZER.OPTIMIZER": str,
    **{f"TRAIN.OPTIMIZER.{key}": float for key in ("LEARNING_RATE", "MOMENTUM", "MOMENTUM_2", "WEIGHT_DECAY")},
    "TRAIN.LR_SCHEDULER.SCHEDULER": str,
    "TRAIN.LR_SCHEDULER.STEPS": list[int],
    "TRAIN.LR_SCHEDULER.GAMMA": float,
    "TRAIN.LR_SCHEDULER.WARM_UP_EPOCHS": int,
    "TEST.TEST_SCOPE": tuple[int, int],
    "POST_PROCESS.MAX_DETECTIONS": int,
    **{"DATASET.DATASET": str, "DATASET.DATASET_DIR": str, "DATASET.PROB": float},
    **{"DATASET.TRAIN_SETS": _SETS, "DATASET.TEST_SETS": _SETS},
}
# Those without a counterpart
UNUSED = (
    *("LOG_DIR", "CHECKPOINTS_PREFIX", "ROOT_DIR", "MODEL.HALF_PRECISION", "MODEL.NUM_FUSED"),
    *("TRAIN.CHECKPOINTS_EPOCHS", "TRAIN.CHECKPOINTS_KEPT", "TRAIN.OPTIMIZER.EPS", "TRAIN.LR_SCHEDULER.MAX_EPOCHS"),
    *("MATCHER.UNMATCHED_THRESHOLD", "MATCHER.BACKGROUND_LABEL", "MATCHER.NUM_CLASSES"),
    *("POST_PROCESS.BACKGROUND_LABEL", "POST_PROCESS.NUM_CLASSES", "POST_PROCESS.VARIANCE"),
    *("DATASET.IMAGE_SIZE", "DATASET.NUM_WORKERS", "DATASET.TRAIN_BATCH_SIZE", "DATASET.TEST_BATCH_SIZE"),
)
TYPES = READ | {name: type(default) for name, (_, default) in SAME.items()} | dict.fromkeys(UNUSED, Any)
SECTIONS = {name.rpartition(".")[0]: Mapping for name in TYPES if "." in name}  # MODEL, TRAIN.OPTIMIZER ...
PHASES = ("train", "eval", "test", "visualize", "custom_visualize", "visualize_results")


def translate_config(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """One of their YAML files as ``load_config`` takes it: the same network, priors to the bit, recipe and paths.

    A file of ours, which has no MODEL, stays as it is. The log says what has no counterpart.

    Raises:
        ValueError, TypeError: an unknown or missing key, or a value that has no counterpart.
    """
    if "MODEL" not in source:
        return source
    theirs = _flat(source)
    for key in ("FEATURE_LAYER", "SIZES", "ASPECT_RATIOS"):
        if f"MODEL.{key}" not in theirs:
            raise ValueError(f"MODEL.{key} of a BMVC config must be given; got {', '.join(source['MODEL'])}")
    if unused := [name for name in theirs if name in UNUSED]:
        log.info("not used, for want of a counterpart: %s", ", ".join(unused))
    config: dict[str, Any] = ALWAYS | {ours: theirs.get(name, default) for name, (ours, default) in SAME.items()}
    epochs, num_classes = config["train.epochs"], config["model.num_classes"]
    config |= translate_network(theirs) | _training(theirs, epochs) | _data(theirs)
    config |= _testing(theirs, epochs)
    # There the limit is one of each class, and the evaluation takes as many of each class and image.
    config["postprocess.max_detections"] = theirs.get("POST_PROCESS.MAX_DETECTIONS", 100) * (num_classes - 1)
    config["loss.negative_ratio"] = float(config["loss.negative_ratio"])
    if theirs.get("EXP_DIR"):
        folder = Path(theirs["EXP_DIR"])
        config |= {"run.dir": str(folder.parent), "run.name": folder.name}
    return nested(config)


def _flat(source: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """``{"MODEL": {"NETS": ...}}`` -> ``{"MODEL.NETS": ...}``, each key known and of its type."""
    begin, known = f"{section}." if section else "", SECTIONS | TYPES
    flat: dict[str, Any] = {}
    for key, value in source.items():
        name = f"{begin}{key}"
        if name not in known:
            here = [other.removeprefix(begin) for other in known if other.rpartition(".")[0] == section]
            where = f"{section} of a BMVC config" if section else "a BMVC config"
            raise ValueError(f"{where} must hold {', '.join(here)}; got {key}{suggest(key, here)}")
        if not accepts(value, known[name]):
            raise TypeError(f"{name} of a BMVC config must be {in_words(known[name])}; got {value!r}")
        flat |= _flat(value, name) if name in SECTIONS else {name: value}
    return flat


def _training(theirs: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    def option(name: str, default: Any) -> Any:
        return theirs.get(f"TRAIN.OPTIMIZER.{name}", default)

    kind, momentum, second = option("OPTIMIZER", "sgd"), option("MOMENTUM", 0.9), option("MOMENTUM_2", 0.99)
    optimizer = {"type": kind, "lr": option("LEARNING_RATE", 0.001), "weight_decay": option("WEIGHT_DECAY", 0.0001)}
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
    weights = theirs.get("RESUME_CHECKPOINT")
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

    def option(name: str, default: Any) -> Any:
        return theirs.get(f"TRAIN.LR_SCHEDULER.{name}", default)

    kind, steps, hold = option("SCHEDULER", "step"), option("STEPS", [1]), option("WARM_UP_EPOCHS", 0)
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
    return {"type": "step", "milestones": [hold + end - 1 for end in ends], "gamma": option("GAMMA", 0.98)}


def _scope(theirs: Mapping[str, Any], name: str) -> list[str] | None:
    """``'base,conf'`` -> our parts; None if it names all of them or is empty."""
    parts = [part.strip() for part in theirs.get(name, "").split(",") if part.strip()]
    translated = [ours for part in parts for ours in lookup(PARTS, part, name)]
    is_fused = theirs.get("MODEL.SSDS", "ssd").startswith("fssd")
    everything = set(PARTS) - (set() if is_fused else {"transforms", "pyramids"})
    return None if not parts or set(parts) >= everything else translated


def _data(theirs: Mapping[str, Any]) -> dict[str, Any]:
    name = lookup(("coco", "voc"), theirs.get("DATASET.DATASET", "voc"), "DATASET.DATASET")
    folder = Path(theirs.get("DATASET.DATASET_DIR", "./data"))
    sets = {split: theirs.get(f"DATASET.{key}") for split, key in (("train", "TRAIN_SETS"), ("val", "TEST_SETS"))}
    if name == "voc":
        usual = {"train": [["2007", "trainval"], ["2012", "trainval"]], "val": [["2007", "test"]]}
        sets = {split: usual[split] if given is None else given for split, given in sets.items()}
        log.info("objects that VOC marks as difficult are not learned here; there they were")
    layout = {split: [f"{name}_{year}_{part}" for year, part in pairs] for split, pairs in sets.items() if pairs}
    config: dict[str, Any] = {"data.layout": layout, "data.root": str(folder)} if layout else {}
    probability = float(theirs.get("DATASET.PROB", 0.6))
    config["data.augment"] = [
        {**step, "p": probability} if step["type"] == "expand" else step for step in PRESETS["ssd_ancestor"]
    ]
    return config


def _testing(theirs: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """What PHASE and TEST_SCOPE say: whether training tests, by which AP, and whose checkpoints are kept for tests."""
    given = theirs.get("PHASE", ["train", "eval", "test"])
    phases = {lookup(PHASES, phase, "a word of PHASE") for phase in given}
    config: dict[str, Any] = {"evaluation.protocol": _protocol(theirs, phases)}
    if "train" not in phases:
        log.info("PHASE %s names no train, so their train.py would only test; here train.py trains", given)
    elif not phases & {"eval", "test"}:
        config["train.eval_every"] = 0
        log.info("PHASE %s names neither eval nor test: training tests only once, after its last epoch", given)
    if drawn := [phase for phase in PHASES[3:] if phase in phases]:
        log.info("PHASE %s has no counterpart: demo.py draws detections, tools/show.py priors", ", ".join(drawn))
    if scope := theirs.get("TEST.TEST_SCOPE"):
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
    elif theirs.get("DATASET.DATASET", "voc") == "coco":
        protocol, why = "coco", "as their phase test"
    else:  # the year is that of the last set
        year = int((theirs.get("DATASET.TEST_SETS") or [["2007", "test"]])[-1][0])
        protocol = "voc07" if year < 2010 else "voc12"
        why = f"AP over {'11 points' if year < 2010 else 'every point'}, as their phase test for VOC {year}"
    log.info("evaluation.protocol=%s: %s", protocol, why)
    return protocol
