"""Configuration: every key with its default and meaning, ``_base_`` files, overrides, strict checks.

A part that says ``type`` is built by the function of that name in the part's registry, and its other keys are
that function's keyword arguments: ``type`` decides which keys there are (see PARTS).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from easydict import EasyDict

from lib.utils.lookup import accepts, check_arguments, lookup, suggest


class Maybe(NamedTuple):
    """A default of None for a key that otherwise takes values of ``type``."""

    type: Any


DEFAULTS: dict[str, Any] = {
    "input": {
        "size": [300, 300],  # (height, width) of the network's input in pixels; images are resized to it
        "channels": "bgr",  # bgr | rgb: the order in which the network sees the channels
        "mean": [103.94, 116.78, 123.68],  # grey levels 0 .. 255, in that order
        "std": [1.0, 1.0, 1.0],  # the same: the network sees (grey level - mean) / std
    },
    "data": {
        "layout": Maybe(
            str
        ),  # a row of lib/data/formats/layouts.py, for train or val without annotations of its own
        "root": Maybe(str),  # where its archives were unpacked; null: the layout's own, such as data/coco
        # images: a folder; null: where the format has it, which COCO's has not. annotations: a COCO JSON file, a
        # folder of VOC, YOLO or VisDrone files, or a YOLO data.yaml
        "train": {"images": Maybe(str), "annotations": Maybe(str)},  # null: the layout's
        "val": {"images": Maybe(str), "annotations": Maybe(str)},  # null: the layout's; neither: no testing
        "classes": Maybe(list),  # class names, in order of their labels; null: those of the annotations
        "bad_boxes": "drop",  # drop | refuse: boxes outside the image, of no area, or not finite
        "augment": "ssd",  # a preset of lib/data/augment/presets.py, or a list of {type: ..., option: ...}
        "workers": 2,  # loader processes; 0: load in the main process
        "cache_mb": 0,  # memory of a process for decoded training images, shared by its workers, in MB
        "decode": "full",  # full | reduced: in training, JPEGs that will be shrunk are decoded at 1/2, 1/4 or 1/8
        "oversample_small": 1.0,  # times an epoch that an image with an object under 32 x 32 pixels is seen
        "aspect_groups": 0,  # batches of like aspect ratio: 2k + 1 groups from 1:2 to 2:1; 0: any images together
    },
    "model": {
        "num_classes": Maybe(int),  # K, with background; null: as data.classes or the annotations say
        "backbone": {"type": "mobilenet_v1"},  # {type, strides: {row: stride}, options of its table}
        "dual_path": Maybe(dict),  # {split: row, pool: subsample | max}; null: one path
        "neck": {
            "taps": [11, 13],  # rows whose outputs are maps, finest first
            "source": Maybe(str),  # start of the extra layers; null: the last tap, of the coarse path if any
            "extras": [[512, 2], [256, 2], [256, 2], [128, 2]],  # [channels, stride] or with [..., padding]
            "extra": Maybe(dict),  # {type, options} of the extra layers; null: the head's own kind
            "l2norm": True,  # whether the first map is normalised (rfb: goes through its finest block)
            "pyramid": Maybe(list),  # fssd: [channels, stride] of each map
            "width": Maybe(int),  # fssd, fpn_lite: channels of each level; null: the neck's own
        },
        "head": {
            "type": "ssd_lite",  # a recipe of lib/models/head.py
            "predictor": Maybe(str),  # dense | separable | separable_biased | shared; null: the recipe's
            "initial_score": Maybe(float),  # of every class before training, for sigmoid losses: such as 0.01
        },
        "priors": {
            "sizes": [45, 90, 135, 180, 225, 270, 315],  # side of each level's first square, and one more
            "ratios": [[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]],  # a list a level, or one for all
            "reference": 300.0,  # side of the square input that sizes are for: they follow another input; 0: they don't
            "steps": Maybe(list),  # pixels between centres on the reference; null: the cells tile the image
            "boxes": Maybe(list),  # own [[width, height], ...] of each level; null for one: those of sizes
            "clip": True,  # centre, width and height clipped to the image
            "clip_centres": True,  # with clip: false leaves the centres alone
        },
        "norm": {"eps": 1e-5, "momentum": 0.1},  # of every BatchNorm
        "variances": [0.1, 0.2],  # scale of the offsets of centre and size
        # imagenet: the backbone's row of lib/models/pretrained.py, which also decides input.channels, mean and std,
        # norm.eps and weights_scope where neither the experiment nor its _base_ gives them
        "weights": Maybe(str),  # a checkpoint to start from: a path, an address, or imagenet
        "weights_scope": Maybe(list),  # parts to take from it, such as [backbone]; null: all
        "weights_sha256": Maybe(str),  # its digest, or the first 8 hex digits or more; null: not checked
        "weights_classes": "same",  # same | reset | by_name | shifted: what becomes of heads for other classes
    },
    "matcher": {"type": "iou"},  # a rule of lib/multibox/matcher.py and its options
    "loss": {"type": "multibox"},  # a criterion of lib/multibox/losses.py and its options
    "postprocess": {
        "score_threshold": 0.01,  # 0 .. 1: a detection's score is greater
        "iou_threshold": 0.45,  # of NMS
        "max_candidates": 400,  # boxes of a class that enter NMS
        "max_detections": 100,  # boxes of an image, at most
    },
    "train": {
        "epochs": 100,  # times that each image is seen
        "batch_size": 32,  # images of a step, of all processes together; the rest of an epoch is left out
        "accumulate": 1,  # parts that the images of a step go through in, to save memory
        "optimizer": {"type": "sgd"},  # an optimizer of lib/optim.py and its options, lr first of all
        "schedule": {"type": "cosine"},  # a schedule of lib/optim.py and its options
        "rates": Maybe(dict),  # factors of the rate, such as {backbone: 0.1}; the longest name counts
        "decay_norms": True,  # whether norms and biases have weight decay
        "centralize": False,  # gradients of convolutions lose their mean over the inputs (gradient centralization)
        "warmup_epochs": 0.0,  # epochs over which the rate rises to the schedule's; parts of one are fine
        "warmup_start": 0.001,  # first factor of the rate
        "clip_norm": Maybe(float),  # largest norm of the gradient; null: any
        "norm": "batch",  # batch | sync | frozen: BatchNorm over the images of a process, of all, or as loaded
        "ema": Maybe(float),  # decay of the averaged weights, which are tested and saved, such as 0.9998
        # of the network in training; the loss stays in fp32. auto: bf16 where the device has instructions for it
        "precision": "fp32",  # fp32 | bf16 | fp16 | auto
        "compile": False,  # torch.compile: a minute or more at the start, faster steps
        "trainable": Maybe(list),  # parts that learn: backbone, neck, head; null: all
        "frozen": Maybe(list),  # parts that do not learn, norms included, such as [backbone.layers.0-2]
        "frozen_norms": Maybe(list),  # parts whose BatchNorm alone stays as loaded, such as [backbone]
        "time_limit_s": Maybe(float),  # the schedule then runs over this time instead of the epochs
        "clock": "wall",  # wall | cpu: how that time is measured; cpu: of the training process, without loader workers
        "patience": Maybe(int),  # training ends after so many epochs without a higher AP; null: it does not
        "eval_every": 1,  # epochs between evaluations; 0: none but the last
        "keep_last": 1,  # checkpoints of the last epochs that stay; more than last.pth are epoch_<number>.pth
        "save_every_steps": 0,  # steps between checkpoints inside an epoch; 0: only after each epoch
        "log_every": 20,  # steps between log lines
    },
    "evaluation": {
        "batch_size": 16,  # images at once; changes speed and memory, no result
        "protocol": "coco",  # a name of lib/evaluation/protocols.py
        "engine": "hotcoco",  # hotcoco | pycocotools
        "ranges": Maybe(dict),  # own area ranges, {name: [least, most]} in px^2 of the original image
        "iou_thresholds": Maybe(list),  # such as [0.5, 0.75]; null: the protocol's
        "max_detections": Maybe(list),  # of an image, such as [1, 10, 100]; null: the protocol's
    },
    "run": {
        "dir": "runs",  # run folders are made here
        "name": Maybe(str),  # of the run folder; null: the experiment file's
        "seed": 0,  # of weights, order and augmentation
        "device": "auto",  # auto | cpu | cuda | cuda:1 ...
        "threads": 0,  # of torch; 0: its own choice
        "keep_memory": True,  # in training, memory that is freed is kept for the next step (Linux with glibc)
        "tf32": False,  # TensorFloat-32 on GPUs that have it: faster, products rounded to 10 bits
        "channels_last": True,  # memory layout of maps; on CPUs depthwise layers train twice as fast in it
    },
}

# Part -> the module and the registry whose entries check and take its keys.
PARTS = {
    "model.backbone": ("lib.models.backbones", "BACKBONES"),
    "matcher": ("lib.multibox.matcher", "MATCHERS"),
    "loss": ("lib.multibox.losses", "LOSSES"),
    "train.optimizer": ("lib.optim", "OPTIMIZERS"),
    "train.schedule": ("lib.optim", "SCHEDULES"),
}


class _Loader(yaml.SafeLoader):
    """YAML without code; refuses a key given twice, and reads ``1e-3`` as the number that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)

    def construct_yaml_str(self, node: yaml.ScalarNode) -> Any:
        text = self.construct_scalar(node)
        if node.style is None and text[:1].isdigit() and "e" in text.lower():
            try:
                return float(text)
            except ValueError:
                return text
        return text


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_yaml_str)


def read_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; errors name ``where`` and the line."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"{where} must be YAML; got {' '.join(str(error).split())}") from None


def _read_file(path: Path, above: tuple[Path, ...] = ()) -> dict:
    """The mapping of a YAML file, merged over that of its ``_base_``."""
    if path in above:
        raise ValueError(f"_base_ must not lead back to itself; got {' -> '.join(map(str, (*above, path)))}")
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.yml")] if path.parent.is_dir() else [])
        raise FileNotFoundError(f"the config must be a YAML file; got {path}, which does not exist{near}")
    mapping = read_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(mapping, dict):
        raise ValueError(f"{path} must hold keys and values; got {type(mapping).__name__}")
    base = mapping.pop("_base_", None)
    if base is None:
        return mapping
    return merge(_read_file((path.parent / base).resolve(), (*above, path)), mapping)


def merge(base: Mapping, update: Mapping, where: str = "") -> dict:
    """``update`` over ``base``, key by key. Replaced whole: a part whose ``type`` changes, strides, own ranges."""
    result = dict(base)
    for key, value in update.items():
        name, old = f"{where}{key}", result.get(key)
        if isinstance(value, Mapping) and key not in ("strides", "ranges"):
            value = _expand_short_name(value)
            old = old if isinstance(old, Mapping) else {}
            is_other_type = name in PARTS and value.get("type", old.get("type")) != old.get("type")
            result[key] = merge({} if is_other_type else old, value, f"{name}.")
        else:
            result[key] = value
    return result


def _expand_short_name(part: Mapping) -> Mapping:
    """``{type: mobilenet_v1_S1L0}`` -> ``{type: mobilenet_v1, strides: {0: 1}}``.

    *S(number of strides taken out)L(rows)*: ``S2L0_6`` is ``{0: 1, 6: 1}``.
    """
    match = re.fullmatch(r"(.+)_S(\d+)L(\d+(?:_\d+)*)", str(part.get("type", "")))
    if not match:
        return part
    rows = match[3].split("_")
    if len(rows) != int(match[2]):
        raise ValueError(f"S{match[2]} must be followed by L and {match[2]} rows; got {match[0]!r}")
    return {**part, "type": match[1], "strides": dict.fromkeys(rows, 1)}


def _resolve(value: Any) -> Any:
    """Defaults with ``Maybe`` turned into None, nothing shared with DEFAULTS."""
    if isinstance(value, Maybe):
        return None
    if isinstance(value, Mapping):
        return {key: _resolve(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _check(values: Mapping, defaults: Mapping, where: str = "") -> None:
    """Raises for a key that DEFAULTS does not have, and for a value of another type."""
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in defaults:
            raise ValueError(
                f"a config key must be one of {', '.join(defaults)}; got {name}{suggest(key, defaults)}"
            )
        default = defaults[key]
        if name in PARTS:
            if not isinstance(value, Mapping):
                raise TypeError(f"{name} must be a mapping with a type, such as {default}; got {value!r}")
        elif isinstance(default, Mapping):
            if not isinstance(value, Mapping):
                raise TypeError(f"{name} must hold the keys {', '.join(default)}; got {value!r}")
            _check(value, default, f"{name}.")
        elif name == "data.augment":
            if not isinstance(value, (str, list)):
                raise TypeError(f"{name} must be the name of a preset or a list of transforms; got {value!r}")
        else:
            expected = default.type | None if isinstance(default, Maybe) else type(default)
            if not accepts(value, expected):
                raise TypeError(f"{name} must be {getattr(expected, '__name__', expected)}; got {value!r}")


def _check_parts(config: Mapping) -> None:
    """Checks each part's keys against the function that will take them."""
    for name, (module, registry) in PARTS.items():
        part: Any = config
        for key in name.split("."):
            part = part[key]
        function = lookup(
            getattr(importlib.import_module(module), registry), part.get("type"), f"{name}.type"
        )
        check_arguments(
            function, {key: value for key, value in part.items() if key not in ("type", "strides")}, name
        )


def _parse_override(text: str) -> dict:
    """``train.epochs=10`` -> {"train": {"epochs": 10}}."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"an override must read key=value, such as train.epochs=10; got {text!r}")
    result: Any = read_yaml(value, f"the value of {key}")
    for part in reversed(key.split(".")):
        result = {part: result}
    return result


def load_config(source: str | Path | Mapping = "", overrides: Iterable[str] = ()) -> EasyDict:
    """The complete, checked configuration.

    Args:
        source: an experiment file, or a mapping as such a file holds; files of the BMVC code's layout are
            translated (lib/legacy.py).
        overrides: ``key.key=value`` texts, the value in YAML, applied in order.

    Returns:
        Every key of DEFAULTS, by attribute or by index.

    Raises:
        FileNotFoundError, ValueError, TypeError: naming the file or key, what came, and what to choose.
    """
    values = (
        dict(source) if isinstance(source, Mapping) else _read_file(Path(source).resolve()) if source else {}
    )
    if "MODEL" in values:  # by name, at call time: every rank may import this module
        values = importlib.import_module("lib.legacy").translate_config(values)
    values = merge({}, values)
    for override in overrides:
        values = merge(values, _parse_override(override))
    _check(values, DEFAULTS)
    config = merge(_resolve(DEFAULTS), values)
    if config["model"]["weights"] == "imagenet":
        implied = importlib.import_module("lib.models.pretrained").implied_config(
            config["model"]["backbone"].get("type"), values.get("input", {}).get("channels")
        )
        config = merge(merge(_resolve(DEFAULTS), implied), values)
    _check_parts(config)
    return EasyDict(_with_text_keys(config))


def _with_text_keys(value: Any) -> Any:
    """EasyDict takes text keys only: the rows of ``strides`` become text."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return value


def to_plain(value: Any) -> Any:
    """A config as plain dicts and lists, for YAML files and checkpoints."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def dump_config(config: Mapping) -> str:
    """The config as YAML that ``load_config`` reads back to the same config."""
    return yaml.safe_dump(to_plain(config), sort_keys=False, default_flow_style=None)
