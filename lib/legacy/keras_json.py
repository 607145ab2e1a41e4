"""SSDLite with MobileNetV3 and MobileDet in Keras: its JSON files."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lib.legacy.fields import Needed, read_fields
from lib.utils.lookup import lookup
from lib.utils.yaml_files import nested

log = logging.getLogger(__name__)
ABOUT = "a config of the MobileNetV3 and MobileDet SSDLite in Keras"
MODEL, TRAINING = "model_config", "training_config"
PARTS = ("backbone", "neck", "head")

# What is read, and the default of what may be left out; Needed: it must be given
FIELDS: dict[str, Any] = {
    f"{MODEL}.target_size": Needed(int),
    f"{MODEL}.feature_map_shapes": Needed(list[int]),
    f"{MODEL}.box_variances": Needed(list[float]),
    f"{MODEL}.AnchorSpecs": Needed(list[list[list]]),
    f"{MODEL}.numAnchors": Needed(list[int]),
    f"{MODEL}.backbone.name": Needed(str),
    f"{MODEL}.backbone.width_multiplier": 1.0,
    f"{MODEL}.backbone.modelSize": "large",  # of MobileNetV3: small or large
    f"{MODEL}.backbone.modelType": "CPU",  # of MobileDet; the file of its FPN has none, and cannot run there
    f"{MODEL}.neck.name": Needed(str),
    f"{MODEL}.neck.filters": Needed(int | list[int]),
    f"{MODEL}.head.name": Needed(str),
    **{f"{MODEL}.{part}.isFreeze": False for part in PARTS},
    **{f"{MODEL}.{part}.regularization": 0.0 for part in PARTS},
    f"{TRAINING}.ClfLoss.LossFunction": Needed(str),
    f"{TRAINING}.ClfLoss.Alpha": 0.75,
    f"{TRAINING}.ClfLoss.Gamma": 2.0,
    f"{TRAINING}.ClfLoss.Weight": 1.0,
    f"{TRAINING}.BoxLoss.LossFunction": Needed(str),
    f"{TRAINING}.BoxLoss.Delta": 1.0,
    f"{TRAINING}.BoxLoss.Weight": 1.0,
    f"{TRAINING}.batch_size": Needed(int),
    f"{TRAINING}.num_classes": Needed(int),  # without background
    f"{TRAINING}.epochs": Needed(int),
    f"{TRAINING}.initial_learning_rate": Needed(float),
}
UNUSED = tuple(f"{MODEL}.{name}" for name in ("backbone.dropout", "neck.isLite", "head.isLite"))

_RELU6 = {"reduced_tail": True, "relu6": True, "squeeze_as_block": True}
# Backbone, and of MobileNetV3 its size, of MobileDet its target -> ours; the taps of strides 8, 16 and 32
BACKBONES: dict[str, tuple[dict[str, Any], list[int | str]]] = {
    "mobilenetv3 small": ({"type": "mobilenet_v3_small", **_RELU6}, [3, "9.expand", 12]),
    "mobilenetv3 large": ({"type": "mobilenet_v3_large", **_RELU6}, [6, "13.expand", 16]),
    "mobiledet cpu": ({"type": "mobiledet_cpu"}, [6, 14, 19]),
    "mobiledet gpu": ({"type": "mobiledet_gpu"}, [9, 17, 22]),
}
NAMES = {"mv3": "mobilenetv3", "mobilenet3": "mobilenetv3", "mobilenetv3": "mobilenetv3", "mobiledet": "mobiledet"}
NECKS = {"pfh": "pfh", "pfhlite": "pfh", "fpn": "fpn"}
CLASS_LOSSES: dict[str, dict[str, Any]] = {
    "focal": {"type": "focal"},
    "qfocal": {"type": "quality_focal", "of": "prior"},
}
BOX_LOSSES = {"smoothl1": "smooth_l1", "balancel1": "balanced_l1"}

# What the code does without a key for it
ALWAYS: dict[str, Any] = {
    "input.channels": "rgb",
    "input.mean": [127.5] * 3,
    "input.std": [127.5] * 3,
    "data.layout": "coco2017",
    "data.augment": [{"type": "cover_crop", "p": 0.85}, {"type": "flip"}],
    "model.head.predictor": "separable",
    "model.head.initial_score": 0.01,
    "model.norm": {"eps": 0.001, "momentum": 0.01},
    "model.init": "normal",
    "model.priors.clip": False,
    "matcher": {"type": "iou", "threshold": 0.5, "best_prior": False},
    "postprocess": {"score_threshold": 0.1, "iou_threshold": 0.6, "max_detections": 100},
    "train.decay_norms": False,
    "train.precision": "auto",  # fp16 there
    "train.warmup_epochs": 4.0,
    "train.warmup_start": 1 / 3,
    "train.schedule": {"type": "cosine", "hold": 4.0},
    "evaluation.protocol": "coco",
}


def is_keras(source: Mapping[str, Any]) -> bool:
    """Whether the content is that of one of its files."""
    return bool({MODEL, TRAINING} & source.keys())


def translate(source: Mapping[str, Any], root: str | None = None) -> dict[str, Any]:
    """One of its files as ``load_config`` takes it: the same network, priors, losses and recipe.

    FPN, which that code names and cannot run, does here. The data are COCO 2017's, the default of its command line.

    Raises:
        ValueError, TypeError: an unknown or missing key, or a value that has no counterpart.
    """
    theirs = read_fields(source, FIELDS, UNUSED, ABOUT)
    model, training = _section(theirs, MODEL), _section(theirs, TRAINING)
    config = ALWAYS | _network(model) | _anchors(model) | _losses(training)
    config |= {
        "input.size": [model["target_size"]] * 2,
        "model.num_classes": training["num_classes"] + 1,
        "model.variances": _variances(model["box_variances"]),
        "train.epochs": training["epochs"],
        "train.batch_size": training["batch_size"],
        "train.optimizer": _optimizer(model, training),
        **({"data.root": root} if root else {}),
    }
    frozen = [part for part in PARTS if model[f"{part}.isFreeze"]]
    if frozen:
        log.info(
            "isFreeze: train.frozen=[%s]; these parts keep random weights unless model.weights is given",
            ", ".join(frozen),
        )
        config["train.frozen"] = frozen
    log.info("data.layout=coco2017, the default data set of the original's command line")
    log.info(
        "only the augmentations that take effect in the original are used, crop and flip; gradient centralization has "
        "no effect there and is off"
    )
    return nested(config)


def _section(theirs: Mapping[str, Any], section: str) -> dict[str, Any]:
    """The values of a section, by their keys inside it."""
    return {name.partition(".")[2]: value for name, value in theirs.items() if name.startswith(f"{section}.")}


def _network(model: Mapping[str, Any]) -> dict[str, Any]:
    lookup(("ssd", "ssdlite"), model["head.name"].lower(), f"{MODEL}.head.name in small letters")
    name = lookup(NAMES, model["backbone.name"].lower(), f"{MODEL}.backbone.name in small letters")
    kind, key = ("modelSize", "size") if name == "mobilenetv3" else ("modelType", "target")
    choice = model[f"backbone.{kind}"].lower()
    where = f"{MODEL}.backbone.name and {kind} in small letters"
    backbone, (fine, *taps) = lookup(BACKBONES, f"{name} {choice}", where)
    filters = model["neck.filters"]
    width = model["backbone.width_multiplier"]
    neck: dict[str, Any]
    if lookup(NECKS, model["neck.name"].lower(), f"{MODEL}.neck.name in small letters") == "pfh":
        if not isinstance(filters, list) or len(filters) < 3:
            raise ValueError(f"{MODEL}.neck.filters of PFH must be [-1, -1, 512, 256, ...]; got {filters}")
        extras = [[channels, 2] for channels in filters[2:]]
        extra = {"type": "separable", "hidden": 0.5, "act": "relu6"}
        neck = {"type": "extras", "taps": taps, "extra": extra, "extras": extras}
    else:
        if not isinstance(filters, int):
            raise ValueError(f"{MODEL}.neck.filters of FPN must be a number, such as 128; got {filters}")
        log.info("FPN cannot run there; here the levels are those that its code describes")
        neck = {"type": "pyramid", "taps": [fine, *taps], "width": filters, "smooth": "depthwise"}
        neck |= {"extra": {"type": "depthwise"}, "extras": [[filters, 2], [filters, 2]], "from_tap": True}
    return {"model.backbone": {**backbone, **({"width": width} if width != 1 else {})}, "model.neck": neck}


def _anchors(model: Mapping[str, Any]) -> dict[str, Any]:
    """The anchors of a cell as [width, height] in pixels, in the order of the file."""
    specs, size = model["AnchorSpecs"], model["target_size"]
    boxes = [_boxes(level, size) for level in specs]
    maps, counts = model["feature_map_shapes"], [len(level) for level in boxes]
    if counts != model["numAnchors"] or len(maps) != len(boxes):
        raise ValueError(
            f"{MODEL}.numAnchors must be {counts}, the anchors of AnchorSpecs, for as many feature_map_shapes; got "
            f"{model['numAnchors']} for {maps}"
        )
    log.info("feature_map_shapes %s is not used: maps are as large as the network makes them", maps)
    for cells in maps:
        if cells > 0 and size % cells:  # there the outer centers lie half of a rounded cell from the edges
            apart = (math.ceil(size / cells) - size / cells) / 2
            log.info("centers of anchors differ by %.2f pixels at most on the map of %d cells a side", apart, cells)
    return {"model.priors.boxes": boxes, "model.priors.reference": float(size)}


def _boxes(level: Sequence[Sequence[Any]], size: int) -> list[list[float]]:
    rule = f"an entry of {MODEL}.AnchorSpecs must be [[scale, ratio], ..., [false, null] or [true, scale]]"
    numbers = [number for pair in level[:-1] for number in pair]
    is_good = len(level) > 1 and all(len(pair) == 2 for pair in level) and isinstance(level[-1][0], bool)
    numbers += level[-1][1:] if is_good and level[-1][0] else []
    if not is_good or not all(isinstance(x, (int, float)) and not isinstance(x, bool) and x > 0 for x in numbers):
        raise ValueError(f"{rule}, with numbers above 0; got {level}")
    boxes = [[scale * size * math.sqrt(ratio), scale * size / math.sqrt(ratio)] for scale, ratio in level[:-1]]
    has_square, next_scale = level[-1]
    return [*boxes, [math.sqrt(level[-2][0] * next_scale) * size] * 2] if has_square else boxes


def _variances(values: Sequence[float]) -> list[float]:
    if len(values) != 4 or values[0] != values[1] or values[2] != values[3]:
        raise ValueError(f"{MODEL}.box_variances must be two pairs, such as [0.1, 0.1, 0.2, 0.2]; got {values}")
    return [values[0], values[2]]


def _losses(training: Mapping[str, Any]) -> dict[str, Any]:
    cls, box = (training[f"{name}.LossFunction"].lower() for name in ("ClfLoss", "BoxLoss"))
    if training["BoxLoss.Delta"] != 1:
        raise ValueError(
            f"{TRAINING}.BoxLoss.Delta must be 1, where its loss has no jump; got {training['BoxLoss.Delta']}"
        )
    return {
        "loss": {
            **lookup(CLASS_LOSSES, cls, f"{TRAINING}.ClfLoss.LossFunction in small letters"),
            "alpha": training["ClfLoss.Alpha"],
            "gamma": training["ClfLoss.Gamma"],
            "cls_weight": training["ClfLoss.Weight"],
            "box": lookup(BOX_LOSSES, box, f"{TRAINING}.BoxLoss.LossFunction in small letters"),
            "box_weight": training["BoxLoss.Weight"] / 4,  # there the mean over the four offsets
        }
    }


def _optimizer(model: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """SGD; Keras' penalty has twice the gradient of weight decay, and spares norms, biases and depthwise filters."""
    penalties = {part: model[f"{part}.regularization"] for part in PARTS if not model[f"{part}.isFreeze"]}
    highest = max(penalties.values(), default=0.0)
    if len(set(penalties.values())) > 1:
        log.info("all trained parameters get one weight decay, the highest of %s", penalties)
    rate = training["initial_learning_rate"]
    return {"type": "sgd", "lr": rate, "momentum": 0.9, "weight_decay": 2 * highest}
