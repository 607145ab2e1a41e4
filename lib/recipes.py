"""What the short names of ``model.head.type`` stand for: a neck and a predictor together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lib.utils.lookup import lookup


class Recipe(NamedTuple):
    """A detector of the SSD family.

    Attributes:
        neck: ``model.neck`` without the taps, the extra layers and what else an experiment says.
        predictor: ``model.head.predictor``, unless an experiment says another.
    """

    neck: Mapping[str, Any]
    predictor: str = "dense"


CONV, CONV_NORM, SEPARABLE = {"type": "conv"}, {"type": "conv", "norm": True}, {"type": "separable"}
PYRAMID = {"type": "pyramid", "extra": {"type": "sandglass", "hidden": 128, "last": False}}
RECIPES = {
    "ssd": Recipe({"type": "extras", "extra": CONV, "norm": "l2norm"}),
    "ssd_lite": Recipe({"type": "extras", "extra": SEPARABLE, "norm": "l2norm"}),
    "rfb": Recipe({"type": "extras", "extra": CONV_NORM, "norm": "rfb", "refine": "rfb"}),
    "rfb_lite": Recipe({"type": "extras", "extra": CONV_NORM, "norm": "rfb_lite"}),
    "fssd": Recipe({"type": "fusion", "extra": {**CONV, "act": None}}),
    "fssd_lite": Recipe({"type": "fusion", "extra": {**SEPARABLE, "act": None}}),
    "fpn_lite": Recipe(PYRAMID, "shared"),
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
    options = dict(recipe.neck)
    has_norm = given.pop("l2norm", True)
    if not isinstance(has_norm, bool):
        raise TypeError(f"model.neck.l2norm must be true or false; got {has_norm!r}")
    if not has_norm:
        options.pop("norm", None)
    extra, default = given.get("extra"), options["extra"]
    if isinstance(extra, Mapping) and extra.get("type", default["type"]) == default["type"]:
        given["extra"] = {**default, **extra}
    head = {**head, "type": None, "predictor": head["predictor"] or recipe.predictor}
    return {**model, "neck": {**options, **given}, "head": head}
