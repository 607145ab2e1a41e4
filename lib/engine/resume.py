"""Whether a run may go on from its checkpoint with the settings that are given now."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.config import load_config
from lib.utils.fields import one_line
from lib.utils.yaml_files import to_plain, value_at

NEEDED = ("model", "optimizer", "scaler", "position", "sums", "values", "rng", "classes", "config")
# Keys of the config that decide what the checkpoint's tensors are for. Others may change: they are used from now on,
# the options of the optimizer among them.
FIXED = (
    "model",
    "input.channels",
    "input.mean",
    "input.std",
    "train.optimizer.type",
    "train.trainable",
    "train.frozen",
    "train.rates",
    "train.decay_norms",
)
FREE = ("weights", "weights_scope", "weights_sha256", "weights_classes", "init")  # of model: they were used once
# Keys whose change is not worth a line: of the model all are compared, and the others change no weights.
UNTOLD = ("model", "run.dir", "run.name", "data.workers", "data.cache_mb", "train.log_every")
WAY = "resume with the run's own settings, or start another run by run.name=... (from these weights: model.weights={})"


def check_resume(
    path: Path, checkpoint: Mapping[str, Any], cfg: Mapping[str, Any], classes: Sequence[str], model: nn.Module
) -> list[str]:
    """The settings that change on resuming, a line each: ``changed on resume: train.epochs 100 -> 30``.

    Raises ValueError unless a checkpoint of the run can go on with this config, these classes and this model.

    Args:
        path: of the checkpoint, for the message.
        cfg: the resolved config of now; ``classes`` are those of the data of now, in the order of their labels.
    """
    way = WAY.format(path)
    missing = [key for key in NEEDED if key not in checkpoint]
    if missing:
        raise ValueError(f"{path} must hold the state of a run; it has no {', '.join(missing)}: {way}")
    if list(classes) != list(checkpoint["classes"]):
        raise ValueError(
            f"a resumed run must have the classes that it began with, in their order: {list(checkpoint['classes'])} in "
            f"{path}; got {list(classes)} in the data: {way}"
        )
    stored = load_config(checkpoint["config"])
    for key in FIXED:
        _check_same(key, _part(stored, key), _part(cfg, key), way)
    is_frozen = [config["train"]["norm"] == "frozen" for config in (stored, cfg)]
    if not all(is_frozen):  # else all norms are, whatever train.frozen_norms says; batch and sync may change places
        key = "train.norm" if any(is_frozen) else "train.frozen_norms"
        _check_same(key, _part(stored, key), _part(cfg, key), way)
    if (stored["train"]["ema"] is None) != (cfg["train"]["ema"] is None):
        _check_same("train.ema", stored["train"]["ema"], cfg["train"]["ema"], way)
    _check_tensors(path, checkpoint.get("raw_model", checkpoint["model"]), model.state_dict(), way)
    return [f"changed on resume: {change}" for change in _changes(to_plain(stored), to_plain(cfg))]


def _changes(stored: Any, given: Any, key: str = "") -> Iterator[str]:
    """``key old -> new`` of each value that differs, in ``key`` or below it; an option that is not given is None."""
    if stored == given or key in UNTOLD:
        return
    if isinstance(stored, dict) and isinstance(given, dict):
        for name in {**stored, **given}:
            yield from _changes(stored.get(name), given.get(name), f"{key}.{name}" if key else name)
    else:
        yield f"{key} {one_line(stored)} -> {one_line(given)}"


def _part(cfg: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key as plain values; None where it is not there."""
    value = value_at(cfg, key)
    if key == "model":
        # num_classes may be given or told from the data: the classes have been compared
        value = {name: part for name, part in value.items() if name not in (*FREE, "num_classes")}
    return to_plain(value)


def _check_same(key: str, stored: Any, given: Any, way: str) -> None:
    """Raises for the first key, in ``key`` or below it, whose value is another one."""
    if stored == given:
        return
    if isinstance(stored, dict) and isinstance(given, dict):
        for name in [*stored, *given]:
            _check_same(f"{key}.{name}", stored.get(name), given.get(name), way)
    raise ValueError(f"{key} of a resumed run must stay {stored!r}; got {given!r}: {way}")


def _check_tensors(path: Path, stored: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor], way: str) -> None:
    """Raises unless the tensors have the names and shapes of the model's."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (stored, ours)]
    other = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
    if other:
        theirs, mine = (given.get(other[0]) for given in shapes)
        raise ValueError(
            f"{path} must hold exactly the tensors of this model; {len(set(other))} differ, such as {other[0]}: "
            f"{theirs} there, {mine} here: {way}"
        )
