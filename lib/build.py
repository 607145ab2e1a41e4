"""From a config to models and what trains them; ``lib/build_data.py`` builds what images go through."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.build_data import input_size
from lib.checkpoint import implied_by_checkpoint, load_weights
from lib.data.formats.layouts import has_split, parts_of
from lib.data.formats.registry import read_dataset
from lib.evaluation.protocols import Protocol, make_protocol
from lib.legacy.classes import class_names
from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone, with_strides
from lib.models.cost import neck_map_sizes
from lib.models.detector import Detector, Normalizer
from lib.models.dual_path import make_dual_path
from lib.models.head import PREDICTORS, MultiBoxHead
from lib.models.init import initialize_, set_initial_score_
from lib.models.necks import NECKS, Neck
from lib.models.norm import freeze_norms_
from lib.models.pretrained import (
    IMAGENET,
    check_gray_levels,
    implied_config,
    pretrained,
    warn_of_other_input,
    weight_file,
)
from lib.models.taps import Tap, parse_taps
from lib.multibox.coder import BoxCoder
from lib.multibox.coverage import boxes_by_cells
from lib.multibox.losses import CLASS_LOSSES, LOSSES, Criterion, Matcher
from lib.multibox.matcher import MATCHERS
from lib.multibox.postprocess import PostProcess
from lib.multibox.priors import PriorGenerator
from lib.ops.checks import check_weight
from lib.ops.padded import Selection
from lib.optim import OPTIMIZERS, SCHEDULES, Schedule, parameter_groups, with_warmup
from lib.utils.download import fetch
from lib.utils.lookup import build, check_arguments, lookup
from lib.utils.parts import names_in
from lib.utils.yaml_files import value_at

log = logging.getLogger(__name__)
CANDIDATES = 400  # boxes of a class that enter NMS, where neither the config nor the cap of detections asks for more
NO_LIMIT = 200  # detections of an image for a protocol that has no limit, as in the SSD paper


def num_classes(cfg: Mapping[str, Any]) -> int:
    """K, background included: ``model.num_classes``, else of ``data.classes``, of the training data, or COCO's."""
    given, classes = cfg["model"]["num_classes"], cfg["data"]["classes"]
    layout, train = cfg["data"]["layout"], cfg["data"]["train"]
    if given is not None and classes and given != len(classes) + 1:
        raise ValueError(
            f"model.num_classes must be {len(classes) + 1} (the {len(classes)} classes of the data, plus background); "
            f"got {given}: choose model.num_classes=null to have it follow the data"
        )
    if given is not None:
        count = given
    elif classes:
        count = len(classes) + 1
    elif train["annotations"] and Path(train["annotations"]).exists():
        count = len(read_dataset(train["annotations"], train["images"])["categories"]) + 1
    elif has_split(layout, "train") and not train["annotations"]:
        count = parts_of(layout, "train")[0].num_classes + 1
    else:
        count = 80 + 1  # COCO's
    if count < 2:
        raise ValueError(f"model.num_classes must be 2 or more, background and one class; got {count}")
    return int(count)


def names_of_classes(cfg: Mapping[str, Any]) -> list[str]:
    """The names of label 1, 2, ...: ``data.classes``, or else what their number tells (lib/legacy/classes.py)."""
    return list(cfg["data"]["classes"] or class_names(num_classes(cfg)))


def build_detector(cfg: Mapping[str, Any]) -> Detector:
    """The detector that ``model`` describes, its weights at random (torch's generator)."""
    model = cfg["model"]
    options = parse_taps(model["neck"])
    backbone = _build_backbone(model, [*options["taps"], options.get("source") or options["taps"][-1]])
    neck: Neck = build(NECKS, options, "model.neck", backbone)
    if backbone.has_coarse_path and not any(tap.is_coarse for tap in neck.inputs):
        log.warning(
            "model.dual_path is set, but model.neck reads no map of the coarse path, which then only costs time: add "
            "one to model.neck.taps, such as coarse.%d, or set model.dual_path=null",
            options["taps"][-1].row,
        )
    priors = build_priors(model["priors"], _map_sizes(backbone, neck, input_size(cfg)), input_size(cfg))
    head = _build_head(model, neck.out_channels, priors.boxes_per_cell, num_classes(cfg))
    initialize_(neck, model["init"])
    detector = Detector(backbone, neck, head, priors)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = model["norm"]["eps"], model["norm"]["momentum"]
    layout = torch.channels_last if cfg["run"]["channels_last"] else torch.contiguous_format
    return detector.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]  # torch's stubs lack it


def _map_sizes(backbone: Backbone, neck: Neck, size: tuple[int, int]) -> list[tuple[int, int]]:
    try:
        return neck_map_sizes(backbone, neck, size)
    except RuntimeError as error:
        raise ValueError(
            f"input.size must leave a map for each level; got {list(size)}, too small ({error}): choose a larger "
            "input.size, or fewer model.neck.extras"
        ) from None


def _build_backbone(model: Mapping[str, Any], taps: Iterable[Tap]) -> Backbone:
    """The rows of the table that the taps need, on one path or on two."""
    options = dict(model["backbone"])
    strides = options.pop("strides", None) or {}
    table = with_strides(build(BACKBONES, options, "model.backbone"), strides)
    last = max(part.row for tap in taps for part in tap.parts)
    if last >= len(table):
        raise ValueError(f"model.neck.taps must be rows of {options['type']}, 0 to {len(table) - 1}; got {last}")
    backbone = Backbone(table[: last + 1])  # rows after the last tap would only cost
    if not model["dual_path"]:
        return backbone
    check_arguments(make_dual_path, model["dual_path"], "model.dual_path")
    return make_dual_path(backbone, **model["dual_path"])


def build_priors(options: Mapping[str, Any], maps: Sequence[tuple[int, int]], size: tuple[int, int]) -> PriorGenerator:
    """The priors that ``model.priors`` describes for maps of (height, width), one a level, and an input of ``size``.

    Those that are still to be fitted to data, by no given number, are two squares a cell.
    """
    options = dict(options)
    fit = options.pop("fit", None)
    if fit is not None and lookup(("data",), fit, "model.priors.fit") and not options["boxes"]:
        options["boxes"] = boxes_by_cells(maps, size, options["reference"])
    priors = PriorGenerator(**options, size=size)
    if len(priors.boxes_per_cell) != len(maps):
        if options["boxes"]:
            rule, got = f"boxes must have {len(maps)} entries for {len(maps)} maps, one per map", len(options["boxes"])
        else:
            rule = f"sizes must have {len(maps) + 1} entries for {len(maps)} maps, one per map and one more"
            got = len(options["sizes"])
        raise ValueError(f"model.priors.{rule}; got {got}: or choose model.priors={{fit: data, boxes: null}}")
    return priors


def adopt_fitted_priors_(cfg: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Where the priors of ``cfg`` are fitted to data, gives it those of a checkpoint's ``content``, which were."""
    priors = cfg["model"]["priors"]
    if priors["fit"] is None:
        return
    boxes = content["config"]["model"]["priors"].get("boxes") if "config" in content else None
    if not boxes:
        raise ValueError(
            "model.priors.fit=data needs a checkpoint that holds the fitted boxes, one of train.py; got one without: "
            "choose the model.priors.boxes that it was trained with"
        )
    priors.update(boxes=boxes, fit=None)


def _build_head(
    model: Mapping[str, Any], in_channels: Sequence[int], boxes_per_cell: Sequence[int], num_classes: int
) -> MultiBoxHead:
    options = model["head"]
    predictor = lookup(PREDICTORS, options["predictor"] or "dense", "model.head.predictor")
    head = MultiBoxHead(in_channels, boxes_per_cell, num_classes, predictor)
    initialize_(head, model["init"])
    if options["initial_score"] is not None:
        outputs = {boxes * num_classes for boxes in boxes_per_cell}
        set_initial_score_(head.cls, options["initial_score"], outputs)
    return head


def load_initial_weights(cfg: Mapping[str, Any], model: nn.Module, names: Sequence[str] | None = None) -> None:
    """Gives the model of a new run the weights that ``model.weights`` names, if any. ``names`` are the model's classes,
    without background; None: told by their number. An input of another scale than any weights expect is a ValueError.
    """
    options = cfg["model"]
    source, sha256, expected = options["weights"], options["weights_sha256"], {}
    about = f"the weights of {source}"
    if source == IMAGENET:
        row, expected = pretrained(options["backbone"]["type"]), implied_config(options["backbone"]["type"])
        source, sha256, about = weight_file(row), sha256 or row.sha256, "the ImageNet weights"
    elif source is not None:
        expected = implied_by_checkpoint(fetch(source, sha256))
    check_gray_levels(cfg["input"]["std"], value_at(expected, "input.std"))
    if source is None:
        return
    warn_of_other_input(about, expected, cfg)
    load_weights(
        model, source, options["weights_scope"], sha256=sha256, classes=options["weights_classes"], names=names
    )


def build_normalizer(cfg: Mapping[str, Any]) -> Normalizer:
    """uint8 images -> what the detector takes."""
    return Normalizer(cfg["input"]["mean"], cfg["input"]["std"])


def build_coder(cfg: Mapping[str, Any]) -> BoxCoder:
    """The code of the box offsets."""
    return BoxCoder(tuple(cfg["model"]["variances"]))


def build_matcher(cfg: Mapping[str, Any]) -> Matcher:
    """Which object each prior is to predict: ``matcher(priors, target) -> Matches``."""
    matcher: Matcher = build(MATCHERS, cfg["matcher"], "matcher")
    return matcher


def build_loss(cfg: Mapping[str, Any]) -> Criterion:
    """The training criterion: ``loss(predictions, target) -> {name: value}``."""
    criterion: Criterion = build(LOSSES, cfg["loss"], "loss", build_matcher(cfg), build_coder(cfg))
    return criterion


def selection(cfg: Mapping[str, Any]) -> Selection:
    """Which boxes become detections; what ``postprocess`` leaves open follows ``evaluation``."""
    given = dict(cfg["postprocess"])
    if given["max_detections"] is None:
        given["max_detections"] = _protocol(cfg).limits[-1] or NO_LIMIT
    if given["max_candidates"] is None:
        given["max_candidates"] = max(CANDIDATES, given["max_detections"])
    return Selection(**given)


def build_postprocess(cfg: Mapping[str, Any]) -> PostProcess:
    """Predictions -> detections in the original images."""
    activation = lookup(CLASS_LOSSES, cfg["loss"]["type"], "loss.type").activation
    return PostProcess(build_coder(cfg), selection(cfg), activation)


def frozen_norms(cfg: Mapping[str, Any]) -> list[str] | None:
    """The parts whose BatchNorm layers stay as loaded, by ``train.norm``, ``train.frozen_norms`` and
    ``train.frozen``; None: all of the model.
    """
    train = cfg["train"]
    return None if train["norm"] == "frozen" else [*(train["frozen_norms"] or ()), *(train["frozen"] or ())]


def build_optimizer(cfg: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over the parameters that ``train.trainable`` names and ``train.frozen`` does not."""
    train, names = cfg["train"], [name for name, _ in model.named_parameters()]
    scope = train["trainable"]
    chosen = set(names) if scope is None else names_in(names, scope, "train.trainable")
    frozen = names_in(names, train["frozen"], "train.frozen")
    names_in([name for name, _ in model.named_modules()], train["frozen_norms"], "train.frozen_norms")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen and name not in frozen)
    freeze_norms_(model, frozen_norms(cfg))
    for part, factor in (train["rates"] or {}).items():
        check_weight(factor, f"train.rates.{part}")
    groups = parameter_groups(model, train["rates"], train["decay_norms"])
    if not groups:
        raise ValueError(
            f"train.trainable must name parts such as backbone, neck, head; got {scope}, of which nothing learns "
            f"with train.frozen={train['frozen']}"
        )
    optimizer: torch.optim.Optimizer = build(OPTIMIZERS, train["optimizer"], "train.optimizer", groups)
    for group in optimizer.param_groups:
        group["lr"] *= group["rate"]
    return optimizer


def build_schedule(cfg: Mapping[str, Any]) -> Schedule:
    """Factor of the learning rate, as a function of the epochs done."""
    train = cfg["train"]
    schedule = build(SCHEDULES, train["schedule"], "train.schedule", train["epochs"])
    return with_warmup(schedule, train["warmup_epochs"], train["warmup_start"])


def _protocol(cfg: Mapping[str, Any]) -> Protocol:
    keys = ("protocol", "ranges", "iou_thresholds", "max_detections")
    return make_protocol(**{key: cfg["evaluation"][key] for key in keys})


def headline(cfg: Mapping[str, Any]) -> str:
    """The key of the metric to quote, by which the best weights are chosen."""
    return _protocol(cfg).headline


def build_protocol(cfg: Mapping[str, Any]) -> Protocol:
    """How ``evaluation`` judges detections; it warns where the detector gives fewer than the protocol counts."""
    protocol = _protocol(cfg)
    limit = protocol.limits[-1] or 0
    counted = f"{limit} detections of {'an image' if protocol.limit_is_of_image else 'each class in an image'}"
    for key in ("max_candidates", "max_detections"):
        given = cfg["postprocess"][key]
        if given is not None and given < limit:
            log.warning(
                "postprocess.%s=%d is below the %s that %s counts, which lowers recall in dense images: choose "
                "postprocess.%s=null",
                *(key, given, counted, protocol.name, key),
            )
    return protocol
