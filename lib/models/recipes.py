"""What short names stand for: ``model.head.type`` for a neck and a predictor together, ``S1L0`` for strides."""

import re
from collections.abc import Mapping
from typing import Any

from lib.utils.lookup import lookup

CONV, CONV_NORM, SEPARABLE = {"type": "conv"}, {"type": "conv", "norm": True}, {"type": "separable"}
PYRAMID = {"type": "pyramid", "extra": {"type": "sandglass", "hidden": 128, "last": False}}

# short name -> model.neck, without what an experiment has to say itself, and model.head.predictor
RECIPES: dict[str, dict[str, Any]] = {
    "ssd": {"neck": {"type": "extras", "extra": CONV, "norm": "l2norm"}, "predictor": "dense"},
    "ssd_lite": {"neck": {"type": "extras", "extra": SEPARABLE, "norm": "l2norm"}, "predictor": "dense"},
    "rfb": {"neck": {"type": "extras", "extra": CONV_NORM, "norm": "rfb", "refine": "rfb"}, "predictor": "dense"},
    "rfb_lite": {"neck": {"type": "extras", "extra": CONV_NORM, "norm": "rfb_lite"}, "predictor": "dense"},
    "fssd": {"neck": {"type": "fusion", "extra": {**CONV, "act": None}}, "predictor": "dense"},
    "fssd_lite": {"neck": {"type": "fusion", "extra": {**SEPARABLE, "act": None}}, "predictor": "dense"},
    "fpn_lite": {"neck": PYRAMID, "predictor": "shared"},
}
DEFAULT = "ssd_lite"


def expand_recipe(model: Mapping[str, Any]) -> dict[str, Any]:
    """The ``model`` of a config with its short name written out, so that ``model.neck`` has a type.

    With a short name, keys of ``model.neck`` that are null count as not given, ``extra`` changes the options of the
    recipe's extra layers, and ``l2norm: false`` leaves out what the first map goes through.

    Raises:
        ValueError: an unknown short name, or one beside a neck that has a type already.
    """
    neck, head = model["neck"], model["head"]
    if "type" in neck:
        if head["type"] is not None:
            raise ValueError(
                f"model.head.type must be null where model.neck.type is given ({neck['type']}); got {head['type']!r}, "
                "which stands for a neck too: choose model.head.type=null, or a model.neck without a type"
            )
        return dict(model)
    recipe = lookup(RECIPES, DEFAULT if head["type"] is None else head["type"], "model.head.type")
    given = {key: value for key, value in neck.items() if value is not None}
    has_norm = given.pop("l2norm", True)
    if not isinstance(has_norm, bool):
        raise TypeError(f"model.neck.l2norm must be true or false; got {has_norm!r}")
    options = {key: value for key, value in recipe["neck"].items() if has_norm or key != "norm"}
    extra, default = given.get("extra"), options["extra"]
    if isinstance(extra, Mapping) and extra.get("type", default["type"]) == default["type"]:
        given["extra"] = {**default, **extra}
    head = {**head, "type": None, "predictor": head["predictor"] or recipe["predictor"]}
    return {**model, "neck": {**options, **given}, "head": head}


def expand_surgery(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """``{type: mobilenet_v1_S2L0_6}``, *S(number of strides taken out)L(rows)*, with ``strides: {0: 1, 6: 1}``, and
    with those that stand beside the type.
    """
    match = re.fullmatch(r"(.+)_S(\d+)L(\d+(?:_\d+)*)", str(part.get("type", "")))
    if not match:
        return part
    rows = match[3].split("_")
    if len(rows) != int(match[2]):
        raise ValueError(f"S{match[2]} must be followed by L and {match[2]} rows; got {match[0]!r}")
    given, taken_out = part.get("strides"), dict.fromkeys(rows, 1)
    strides = {**taken_out, **given} if isinstance(given, Mapping) else given or taken_out  # a list is refused later
    return {**part, "type": match[1], "strides": strides}
