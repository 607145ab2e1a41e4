"""Files of weights: written whole or not at all, and read without running any code that they hold."""

import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib import __version__
from lib.legacy import translate_weights
from lib.legacy.classes import ClassRows
from lib.models.dual_path import with_coarse_statistics
from lib.models.pretrained import input_in_order
from lib.utils.download import fetch
from lib.utils.files import replacing
from lib.utils.lookup import accepts, suggest
from lib.utils.parts import is_in_any, names_in
from lib.utils.yaml_files import nested, value_at

log = logging.getLogger(__name__)
FORMAT = 1
MACHINE = (("run", "threads"), ("data", "workers"))  # keys of the config that say nothing of another machine


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes ``content`` (plain types and tensors) to ``path``; a failure leaves what was there before.

    Raises:
        OSError: the disk is full or not writable; the message says that the old file is kept.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:  # not by name: torch would write it
        torch.save({"format": FORMAT, "version": __version__, **content}, file)


def save_weights(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the part of a run's ``content`` that is needed to use the model, its weights in half precision."""
    kept = {key: content[key] for key in ("config", "classes", "category_ids")}
    model = {name: x.half() if x.is_floating_point() else x for name, x in content["model"].items()}
    save_checkpoint(path, {"model": model, **kept})


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint file, ours or another repository's, on the CPU. No code of it runs.

    Raises:
        FileNotFoundError, ValueError: naming the file and what is wrong with it.
    """
    path = Path(path)
    if path.is_dir():
        inside = [name for name in ("best.pth", "last.pth") if (path / name).is_file()]
        advice = f"give {path / inside[0]}" if inside else "name a file in it"
        raise IsADirectoryError(f"a checkpoint must be a file; got {path}, which is a folder: {advice}")
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.pth")])
        raise FileNotFoundError(f"a checkpoint must be a file; got {path}, which does not exist{near}")
    if path.suffix == ".onnx":
        raise ValueError(
            f"{path} must be a torch checkpoint (.pth) here; got an exported model, which demo.py and test.py "
            "run without --cfg"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} must contain only tensors and plain values; it was not loaded, because it contains other Python "
            f"objects or is not a checkpoint ({_reason(error)}): save the weights alone, "
            "torch.save(model.state_dict(), 'weights.pth')"
        ) from None
    except Exception as error:  # bytes that are no checkpoint make torch's reader fail in any way
        raise ValueError(f"{path} must be a whole torch checkpoint; it cannot be read: {_reason(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping of tensors; got {type(content).__name__}")
    if is_ours(content):
        _check_ours(path, content)
    return content


def _reason(error: Exception) -> str:
    """The first sentence of what torch says, without its advice to load the file in an unsafe way."""
    text = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
    return text if "weights_only" not in text else "its content is not what torch can read safely"


# Key of our checkpoints -> its type, where it is there.
TYPES: dict[str, Any] = {
    "format": int,
    "model": dict,
    "raw_model": dict,
    "config": dict,
    "classes": list[str],
    "category_ids": list[int],
    "position": dict[str, float],
    "sums": dict[str, float],
    "optimizer": dict,
    "scaler": dict,
    "rng": dict,
}


def _check_ours(path: Path, content: Mapping[str, Any]) -> None:
    """Raises unless the parts of a checkpoint of ours have their types."""
    for key, kind in TYPES.items():
        if key in content and not accepts(content[key], kind):
            raise ValueError(f"{path} must be a checkpoint of this project; its {key} is {content[key]!r:.60}")
    for key in ("model", "raw_model"):
        others = [name for name, x in content.get(key, {}).items() if not isinstance(x, torch.Tensor)]
        if others:
            raise ValueError(f"{path} must hold tensors by name in {key}; {others[0]!r:.60} is not a tensor")


def is_ours(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was written by ``save_checkpoint``."""
    return "format" in content and "model" in content


def read_run(path: str | Path) -> dict[str, Any]:
    """A checkpoint of ours, with its config and class names.

    Raises:
        ValueError: it is another repository's, or of a later format.
    """
    content = read_checkpoint(path)
    if not is_ours(content):
        raise ValueError(
            f"{path} must be a checkpoint of this project; it has the keys {', '.join(list(map(str, content))[:5])}: "
            "give its experiment with --cfg, or start a training from it by model.weights"
        )
    if content["format"] > FORMAT:
        raise ValueError(f"{path} must have format {FORMAT} or older; got {content['format']}: update this project")
    if missing := [key for key in ("config", "classes") if key not in content]:
        raise ValueError(
            f"{path} must hold the config and the classes of its run; no {' and no '.join(missing)} is there"
        )
    return content


def stored_config(run: Mapping[str, Any]) -> dict[str, Any]:
    """The config inside a checkpoint of ours, by ``read_run``, without what its training chose for its own machine."""
    config = dict(run["config"])
    for section, key in MACHINE:
        if isinstance(config.get(section), Mapping):
            config[section] = {name: value for name, value in config[section].items() if name != key}
    return config


def implied_by_checkpoint(path: str | Path, channels: str | None = None) -> dict[str, Any]:
    """The config values that a checkpoint's weights imply, where the user gives no others: its own. None of a
    checkpoint without a config, as those of other works are. For ``channels`` see ``input_in_order``.
    """
    content = read_checkpoint(path)
    config = content.get("config", {}) if is_ours(content) else {}
    if any(value_at(config, key) is None for key in ("input.channels", "input.mean", "input.std")):
        return {}
    eps = value_at(config, "model.norm.eps")
    return {
        "input": input_in_order(config["input"], channels),
        **({} if eps is None else nested({"model.norm.eps": eps})),
    }


def load_weights(
    model: nn.Module,
    source: str | Path,
    scope: Sequence[str] | None = None,
    *,
    sha256: str | None = None,
    classes: str = "same",
    names: Sequence[str] | None = None,
) -> None:
    """Loads a checkpoint's weights into the model, strictly: every tensor of the scope, or an error.

    Args:
        model: changed in place.
        source: a checkpoint, or its address: ours, or of another work (lib/legacy/families.py).
        scope: parts to take (lib/utils/parts.py), such as ``["backbone"]``; None: all.
        sha256: the file's digest, or its first hex digits.
        classes, names: what happens to class predictors for other classes: the mode and names of ``ClassRows``.

    Raises:
        FileNotFoundError, ValueError: naming the file and the tensors that do not fit.
    """
    path = fetch(source, sha256)
    content = read_checkpoint(path)
    wanted, ours = scope or None, model.state_dict()
    if wanted:
        chosen = names_in(ours, wanted, "model.weights_scope")
        ours = {name: value for name, value in ours.items() if name in chosen}
    if is_ours(content) and classes == "shifted":
        classes = "by_name"  # column 0 of ours is background always
    fit = ClassRows(model, classes, names, content.get("classes") if is_ours(content) else None)
    if is_ours(content):
        theirs = with_coarse_statistics(content["model"], model)
        given = {name: value for name, value in theirs.items() if is_in_any(name, wanted)}
        for name in given.keys() & ours.keys():
            fitted = fit(name, given[name], ours[name])
            given[name] = given[name] if fitted is None else fitted
        _check_fit(path, given, ours)
    else:
        try:
            given = translate_weights(_tensors(content), model, scope, fit)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    model.load_state_dict(given, strict=False)
    total = len(model.state_dict())
    rest = "; the others keep their initial values" if len(given) < total else ""
    log.info("%s: loaded %d of the model's %d tensors%s", path, len(given), total, rest)


def _tensors(content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of another repository's checkpoint, which may lie beside the optimizer's state."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    others = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(f"a checkpoint must hold tensors by name; got {', '.join(map(str, others[:3]))} among them")
    return dict(content)


def _check_fit(path: Path, given: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor]) -> None:
    """Raises unless both have the same names and shapes."""
    problems = [f"{name} is missing" for name in ours if name not in given]
    problems += [f"{name} is not the model's" for name in given if name not in ours]
    for name, tensor in ours.items():
        if name in given and given[name].shape != tensor.shape:
            problems.append(f"{name} is {tuple(given[name].shape)}, the model's {tuple(tensor.shape)}")
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ValueError(
            f"{path} must hold exactly the tensors of this model; {'; '.join(problems[:4])}{more}: choose the config "
            "that it was trained with, take a part of it by model.weights_scope=[backbone], or for other classes "
            "choose model.weights_classes=reset or by_name"
        )
