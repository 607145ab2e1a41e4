"""What the values of a config must be: types and ranges, the names of parts, and the options that each part takes."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lib.data.augment.presets import build_transform
from lib.data.depth import check_bands, check_depth
from lib.data.fit import FITS
from lib.data.loader import CHANNELS
from lib.models.backbones import BACKBONES
from lib.models.necks import NECKS
from lib.multibox.losses import LOSSES
from lib.multibox.matcher import MATCHERS
from lib.ops.checks import check_count, check_fraction, check_positive, check_sigma
from lib.optim import OPTIMIZERS, SCHEDULES
from lib.utils.lookup import build, lookup, prepare, suggest
from lib.utils.schema import check_value


def _check_backbone(part: Mapping[str, Any], name: str) -> None:
    """Checks the keys of a backbone against its table; ``strides`` belongs to all tables."""
    is_part = isinstance(part, Mapping)
    prepare(BACKBONES, {k: v for k, v in part.items() if k != "strides"} if is_part else part, name)


def _check_augment(value: str | Sequence[Mapping[str, Any]], name: str) -> None:
    """Checks the name of a preset, or the options of each transform."""
    if not isinstance(value, (str, list)):
        raise TypeError(f"{name} must be the name of a preset or a list of transforms; got {value!r}")
    build_transform(value, (1, 1), where=name)


# Part -> the registry whose entries take its keys, or a function of (value, key of the config) that checks it.
PARTS: dict[str, Mapping[str, Any] | Callable[[Any, str], Any]] = {
    "input.resize": functools.partial(lookup, FITS),
    "input.test_resize": lambda value, name: value is None or lookup(FITS, value, name),
    "input.channels": functools.partial(lookup, CHANNELS),
    "input.depth": check_depth,
    "input.bands": check_bands,
    "data.augment": _check_augment,
    "model.backbone": _check_backbone,
    "model.neck": NECKS,
    # These are built, which checks the ranges of their options as well, without the parts that they work with.
    "matcher": functools.partial(build, MATCHERS),
    "loss": lambda value, name: build(LOSSES, value, name, None, None),
    "train.optimizer": OPTIMIZERS,
    "train.schedule": SCHEDULES,
}

# Key of a list -> the type of its items, where its default does not say it.
ITEMS: dict[str, Any] = {
    **dict.fromkeys(("data.classes", "model.weights_scope", "train.trainable", "train.frozen"), str),
    "train.frozen_norms": str,
    "evaluation.iou_thresholds": float,
    "evaluation.max_detections": int,
    "model.priors.sizes": float,
    "model.priors.steps": float,
    "model.priors.ratios": float | list[float],
    "model.priors.boxes": list[list[float]] | None,
}

# Key -> the range of its values, unless null: a function of (value, key of the config) that refuses others.
RANGES: dict[str, Callable[[Any, str], None]] = {
    **dict.fromkeys(("train.epochs", "train.time_limit_s", "train.clip_norm", "model.norm.eps"), check_sigma),
    **dict.fromkeys(("model.norm.momentum", "postprocess.score_threshold"), check_fraction),
    **dict.fromkeys(("train.patience", "evaluation.batch_size"), check_positive),
    **dict.fromkeys(
        (f"train.{key}" for key in ("eval_every", "keep_last", "save_every_steps", "log_every")), check_count
    ),
}


def check_values(values: Mapping[str, Any], defaults: Mapping[str, Any], where: str = "") -> None:
    """Raises for a key that ``defaults`` does not have, and for a value of another type or out of its range."""
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in defaults:
            raise ValueError(f"a config key must be one of {', '.join(defaults)}; got {name}{suggest(key, defaults)}")
        default = defaults[key]
        if name in PARTS:
            part = PARTS[name]
            part(value, name) if callable(part) else prepare(part, value, name)
        elif isinstance(default, Mapping):
            if not isinstance(value, Mapping):
                raise TypeError(f"{name} must hold the keys {', '.join(default)}; got {value!r}")
            check_values(value, default, f"{name}.")
        else:
            check_value(value, default, name, ITEMS.get(name))
            if name in RANGES and value is not None:
                RANGES[name](value, name)
