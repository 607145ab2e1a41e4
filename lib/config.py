"""Configuration: every key with its default and meaning, ``_base_`` files, overrides, strict checks.

A part that says ``type`` is built by the function of that name in the part's registry, and its other keys are
that function's keyword arguments: ``type`` decides which keys there are (see PARTS in lib/config_checks.py).
"""

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from easydict import EasyDict

from lib.checkpoint import implied_by_checkpoint
from lib.config_checks import PARTS, check_values
from lib.legacy import translate_config
from lib.models.pretrained import IMAGENET, IMPLIED, implied_config
from lib.models.recipes import expand_recipe, expand_surgery
from lib.multibox.coder import BoxCoder
from lib.ops.padded import Selection, check_selection
from lib.utils.lookup import accepts
from lib.utils.schema import Maybe, check_plain, without_maybe
from lib.utils.yaml_files import dump_yaml, located, parse_override, read_with_bases, to_plain, value_at, with_text

DEFAULTS: dict[str, Any] = {
    "input": {
        "size": [300, 300],  # [height, width] in pixels that the network sees in training
        # stretch | letterbox | native: how an image becomes that size. letterbox keeps the aspect ratio and pads.
        # native keeps the pixels: training shows a random window; testing pads, or cuts what is larger into tiles
        "resize": "stretch",
        "test_size": Maybe(list),  # the size in testing, also in the evaluations of a training; null: as size
        "test_resize": Maybe(str),  # how an image becomes that size in testing; null: as resize says
        "test_scale": 1.0,  # pixels of the input for one of the image, with native: 2.0 shows objects twice as large
        "channels": "bgr",  # bgr | rgb: the order in which the network sees the channels
        "mean": [103.94, 116.78, 123.68],  # gray levels in 0 .. 255, in the order of channels
        "std": [1.0, 1.0, 1.0],  # in the same units, 1 or more: the network sees (gray level - mean) / std
        # full | percentile | [low, high]: what is black and white in images of more than 8 bits: the ends of the type's
        # range, the 0.1 and 99.9 percentiles of each image, or the same numbers in all
        "depth": "full",
        "bands": Maybe(list),  # numbers from 1 of the bands for red, green and blue; null: the first three
        "max_pixels": 2**28,  # an image with more is refused before it is decoded; at most 2^30
    },
    "data": {
        # a name from LAYOUTS in lib/data/formats/layouts.py, or sets of it as {train: [...], val: [...]}: the data of
        # train and of val where these name no annotations
        "layout": Maybe(str | dict),
        "root": Maybe(str),  # folder where its archives were unpacked; null: the layout's, such as data/coco
        # images: a folder; null: where the format keeps it (COCO's does not say). annotations: a COCO JSON file, a
        # folder of VOC, YOLO or VisDrone files, or a YOLO data.yaml; null: the layout's
        "train": {"images": Maybe(str), "annotations": Maybe(str)},  # needed for training, unless data.layout gives it
        # null, also in data.layout: no tests during training, and no best.pth
        "val": {"images": Maybe(str), "annotations": Maybe(str)},
        "classes": Maybe(list),  # class names in the order of their labels; null: those of the annotations
        # as_stored | upright: which pixels boxes refer to in images with an EXIF orientation, if the image sizes in the
        # annotations do not decide it; null: upright for YOLO and for COCO without sizes
        "orientation": Maybe(str),
        "bad_boxes": "drop",  # drop | refuse: boxes outside the image, without area, or not finite
        "augment": "ssd",  # a preset of lib/data/augment/presets.py, or a list of {type: ..., option: ...}
        "workers": 2,  # processes that load images; 0: the main process loads them
        "cache_mb": 0,  # MB of memory for decoded training images, for each training process; its workers share it
        "decode": "full",  # full | reduced: training decodes JPEGs that it will shrink at 1/2, 1/4 or 1/8 of their size
        "oversample_small": 1.0,  # how often an epoch shows an image with an object under 32 x 32 pixels
        # 0 .. 1: images with a class that occurs in less than this fraction of the images are repeated (LVIS's repeat
        # factor sampling); 0: off
        "repeat_rare": 0.0,
        "aspect_groups": 0,  # k: batches of similar aspect ratio, in 2k + 1 groups from 1:2 to 2:1; 0: any mixture
    },
    "model": {
        "num_classes": Maybe(int),  # K, background included; null: as data.classes or the annotations say
        "backbone": {"type": "mobilenet_v1"},  # {type, strides: {row: stride}, options of the type}
        "dual_path": Maybe(dict),  # {split: row, pool, norm} of lib/models/dual_path.py; null: one path
        # {type, taps, options of the type}, see lib/models/necks; without a type as model.head.type says
        "neck": {
            "taps": [11, 13],  # rows whose outputs become feature maps, finest first
            "extras": [[512, 2], [256, 2], [256, 2], [128, 2]],  # [channels, stride] or with [..., padding]
        },
        "head": {
            "type": Maybe(str),  # a short name of lib/models/recipes.py; null: model.neck has a type, or ssd_lite
            "predictor": Maybe(str),  # dense | separable | separable_biased | shared; null: the short name's
            "initial_score": Maybe(float),  # score of each class at first, for sigmoid losses: such as 0.01
        },
        "priors": {
            # data: the boxes are fitted to the training data as augmentation shows it, once, when a run starts; the
            # run's config.yml and checkpoints hold them. Each cell gets as many priors as boxes has, or two if boxes is
            # null
            "fit": Maybe(str),
            # sizes and ratios count only where fit and boxes are null
            "sizes": [45, 90, 135, 180, 225, 270, 315],  # side of each level's first square, and one more
            "ratios": [[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]],  # a list for each level, or one for all
            "reference": 300.0,  # side of the square input that sizes are for; they scale with it; 0: never
            "steps": Maybe(list),  # pixels between centers at each level; null: the cells tile the image
            "boxes": Maybe(list),  # for each level [[width, height], ...], or null: as sizes and ratios say
            "clip": True,  # whether center, width and height are each clipped to the image
            "clip_centers": True,  # with clip: whether the center is clipped too
        },
        "norm": {"eps": 1e-5, "momentum": 0.1},  # of every BatchNorm
        "init": "torch",  # torch | xavier | normal: initial weights of neck and head; see lib/models/init.py
        "variances": [0.1, 0.2],  # scale of the offsets of the center and of the size
        # imagenet: the backbone's entry in lib/models/pretrained.py. That, or a checkpoint file of this project, also
        # decides input.channels, mean and std and norm.eps where neither the experiment nor its _base_ gives them;
        # imagenet decides weights_scope, too
        "weights": Maybe(str),  # a checkpoint to start from: a path, an address, or imagenet
        "weights_scope": Maybe(list),  # parts to take from it, such as [backbone] or [backbone.layers.0-2]; null: all
        "weights_sha256": Maybe(str),  # its digest, or at least the first 8 hex digits; null: not checked
        "weights_classes": "same",  # same | reset | by_name | shifted: what happens to predictors of other classes
    },
    "matcher": {"type": "iou"},  # a rule of lib/multibox/matcher.py and its options
    "loss": {"type": "multibox"},  # a class loss of lib/multibox/losses.py, its options, and the box loss's
    "postprocess": {
        "score_threshold": 0.01,  # 0 .. 1: detections have a greater score
        "iou_threshold": 0.45,  # boxes of a class whose IoU is greater count as one object
        # boxes of a class that enter NMS, at most; null: 400, or max_detections if that is more
        "max_candidates": Maybe(int),
        # boxes of all classes in an image, at most; null: the largest limit of evaluation.max_detections or else of the
        # protocol, 200 where it has none
        "max_detections": Maybe(int),
        # nms | soft | fusion: of the boxes of one object the best stays, or all with lower scores, or their mean
        "suppression": "nms",
        # soft: width of the Gaussian that lowers the scores; null: they fall linearly, by iou_threshold
        "soft_sigma": Maybe(float),
    },
    "train": {
        "epochs": 100.0,  # how often training sees each image; may be a fraction
        "batch_size": 32,  # images of a step, of all processes together; a last, smaller batch is left out
        "accumulate": 1,  # a step processes its images in this many parts, to save memory
        "optimizer": {"type": "sgd"},  # an optimizer of lib/optim.py and its options, lr first of all
        "schedule": {"type": "cosine"},  # a schedule of lib/optim.py and its options
        # learning-rate multipliers by part, such as {backbone: 0.1}; if two names match, the longer one applies
        "rates": Maybe(dict[str, float]),
        "decay_norms": True,  # whether weight decay acts on norms and biases
        "centralize": False,  # whether each filter's gradient loses its mean (gradient centralization)
        "warmup_epochs": 0.0,  # epochs of linear warm-up; may be a fraction
        "warmup_start": 0.001,  # learning rate at the start of the warm-up, as a fraction of the schedule's
        "clip_norm": Maybe(float),  # largest norm of the gradient; null: no limit
        "norm": "batch",  # batch | sync | frozen: BatchNorm by the images of one process, of all, or as loaded
        "ema": Maybe(float),  # decay of the averaged weights, such as 0.9998; these are then tested and saved
        # fp32 | bf16 | fp16: of the network in training; the loss stays in fp32. auto: bf16 where the device has
        # instructions for it
        "precision": "fp32",
        "compile": False,  # torch.compile: a minute or more at the start, faster steps
        "trainable": Maybe(list),  # parts that learn, such as [neck, head]; null: all
        "frozen": Maybe(list),  # parts that do not learn, norms included, such as [backbone.layers.0-2]
        "frozen_norms": Maybe(list),  # parts whose BatchNorm alone stays as loaded, such as [backbone]
        "time_limit_s": Maybe(float),  # seconds after which training ends at the latest; null: no limit
        "clock": "wall",  # wall | cpu: how that time is measured; cpu: of the training process, without loader workers
        "patience": Maybe(int),  # training ends after this many epochs, 1 or more, without a higher AP; null: never
        "eval_every": 1,  # epochs between evaluations; 0: only after the last
        "keep_last": 1,  # last epochs whose checkpoints stay; 2 or more: as epoch_<number>.pth too
        "save_every_steps": 0,  # steps between checkpoints inside an epoch; 0: only after each epoch
        "log_every": 20,  # steps between losses on the progress bar and in TensorBoard; 0: none
    },
    "evaluation": {
        "batch_size": 16,  # images at once; changes speed and memory, not the result
        "protocol": "coco",  # a name of lib/evaluation/protocols.py
        "engine": "hotcoco",  # hotcoco | pycocotools
        "ranges": Maybe(dict),  # areas in px^2 of the image, {name: [least, most]}; null: the protocol's
        "iou_thresholds": Maybe(list),  # such as [0.5, 0.75]; null: the protocol's
        # of each class in an image (visdrone: of all classes), such as [1, 10, 100]; null: the protocol's
        "max_detections": Maybe(list),
    },
    "run": {
        "dir": "runs",  # run folders are made here
        "name": Maybe(str),  # name of the run's folder; null: the experiment file's
        "seed": 0,  # random seed of the initial weights, the order of images, and augmentation
        "device": "auto",  # auto | cpu | cuda | cuda:1 ...
        "threads": 0,  # of torch; 0: torch chooses
        "keep_memory": True,  # whether the process keeps freed memory for the next step or image (Linux with glibc)
        "tf32": False,  # TensorFloat-32 on GPUs that have it: faster, products rounded to 10 bits
        "channels_last": True,  # memory layout of maps; on CPUs depthwise layers train twice as fast in it
    },
}

# Paths that count from the experiment file that names them if they exist there, else from the working folder. Those of
# overrides, and run.dir, always count from the working folder.
PATHS = (
    "model.weights",
    "data.root",
    *(f"data.{split}.{key}" for split in ("train", "val") for key in ("images", "annotations")),
)

# Keys of model.backbone and of evaluation whose mappings replace one another whole, as their entries belong together.
WHOLE = ("strides", "ranges")

# The ``start`` of a run: the checkpoint that this key names.
WEIGHTS = "model.weights"

# Key of older files and checkpoints -> its name now.
RENAMED = {"model.priors.clip_centres": "clip_centers"}


def merge(
    base: Mapping[str, Any], update: Mapping[str, Any], where: str = "", *, is_joined: bool = False
) -> dict[str, Any]:
    """``update`` over ``base``, key by key. Replaced whole: what WHOLE names, and PARTS whose ``type`` changes.

    Args:
        where: the key of the config that both belong to, with a dot behind it; empty: they are whole configs.
        is_joined: both are arguments of one command line, so that neither replaces anything of the other whole.
    """
    result = dict(base)
    for key, value in update.items():
        key = RENAMED.get(f"{where}{key}", key)
        name, old = f"{where}{key}", result.get(key)
        if isinstance(value, Mapping):
            value = expand_surgery(value)
            old = old if isinstance(old, Mapping) else {}
            is_other = key in WHOLE or (name in PARTS and value.get("type", old.get("type")) != old.get("type"))
            result[key] = merge({} if is_other and not is_joined else old, value, f"{name}.", is_joined=is_joined)
        else:
            result[key] = value
    return result


def _locate(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The mapping of an experiment file; each of its PATHS that exists beside the file is made absolute."""
    for path in PATHS:
        values = with_text(values, path, functools.partial(located, folder=folder))
    return dict(values)


def _at_home(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping with the user's folder for the ``~`` that a path of it begins with."""
    for path in (*PATHS, "run.dir"):
        values = with_text(values, path, os.path.expanduser)
    return values


def _is_text(key: str) -> bool:
    """Whether a key takes a text, whatever it looks like."""
    default = value_at(DEFAULTS, key)
    return key not in PARTS and accepts("", default.type if isinstance(default, Maybe) else type(default))


def _joined(overrides: Iterable[str]) -> dict[str, Any]:
    """The mapping that ``key=value`` texts make together: an option counts before its type, too."""
    last: dict[str, str] = {}
    for text in overrides:
        key = text.partition("=")[0]
        last.pop(key, None)  # else the text would keep the place of the first one for its key
        last[key] = text
    given = (parse_override(text, _is_text) for text in last.values())
    return functools.reduce(functools.partial(merge, is_joined=True), given, {})


def read_config(path: str | Path) -> dict[str, Any]:
    """The mapping of an experiment file over that of its ``_base_``, as it stands there; see ``load_config``."""
    return read_with_bases(Path(path).expanduser().resolve(), merge, _locate)


def load_config(
    source: str | Path | Mapping[str, Any] = "", overrides: Iterable[str] = (), start: str | Path | None = None
) -> EasyDict:
    """The complete, checked configuration: every key of DEFAULTS, by attribute or by index.

    Args:
        source: an experiment file, or a mapping as such a file holds; of other works too (lib/legacy).
        overrides: ``key.key=value`` texts, the value in YAML. Together they are one mapping over ``source``, so only
            values for the same key have an order: the last one counts.
        start: the checkpoint whose weights the model gets: what they imply counts where ``source`` and ``overrides``
            give nothing else. WEIGHTS, or a file that is not there: that of ``model.weights``. None: no file is opened.

    Errors (FileNotFoundError, ValueError, TypeError) name the file or key, what came, and what to choose.
    """
    values = source if isinstance(source, Mapping) else read_config(source) if source else {}
    changes = _at_home(_joined(overrides))
    root = value_at(changes, "data.root")
    values = _at_home(translate_config(values, root if isinstance(root, str) else None))
    given = merge(merge({}, values), changes)
    config = _complete(given)
    implied = _implied(config["model"], given, start)
    return EasyDict(to_plain(_complete(merge(implied, given)) if implied else config))


def _implied(model: Mapping[str, Any], given: Mapping[str, Any], start: str | Path | None) -> dict[str, Any]:
    """The values that the weights of ``start``, or else of ImageNet, imply for what is not ``given``."""
    channels, weights = value_at(given, "input.channels"), model["weights"]
    source = start if start is None or os.path.isfile(start) else weights
    is_open = any(value_at(given, key) is None for key in IMPLIED)
    implied = {}
    if is_open and source and source != IMAGENET and os.path.isfile(source):
        implied = implied_by_checkpoint(source, channels)  # of another work's file: nothing
    if not implied and weights == IMAGENET:
        implied = implied_config(model["backbone"]["type"], channels)
    return implied


def _complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over the defaults, with its short name written out, checked."""
    config = merge(without_maybe(DEFAULTS), given)
    check_plain(config, open_ended=("evaluation.ranges",))
    model = config["model"]
    if isinstance(model, Mapping) and all(isinstance(model[part], Mapping) for part in ("neck", "head")):
        config["model"] = expand_recipe(model)  # anything else is refused by the check
    check_values(config, DEFAULTS)
    BoxCoder(tuple(config["model"]["variances"]))
    given_selection = {key: value for key, value in config["postprocess"].items() if value is not None}
    check_selection(Selection(**given_selection), "postprocess.")
    return config


def dump_config(config: Mapping[str, Any]) -> str:
    """The config as YAML that ``load_config`` reads back to the same config."""
    return dump_yaml(to_plain(config), flow=None)
