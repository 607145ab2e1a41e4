"""The tensors of other works' checkpoints under our names: each is used, or named in the error."""

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from lib.legacy.families import find_family
from lib.models.dual_path import COARSE, with_coarse_statistics
from lib.utils.parts import is_in, is_in_any

log = logging.getLogger(__name__)
Modules = list[dict[str, tuple[str, torch.Tensor]]]  # [{"weight": (name, tensor), "bias": ...}, ...]
Fit = Callable[[str, torch.Tensor, torch.Tensor], torch.Tensor | None]


def same_shape(name: str, theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor | None:
    """Their tensor if it has the shape of ours, or is the fully connected layer that our 1x1 convolution is."""
    if theirs.shape == ours.shape:
        return theirs
    return theirs.reshape(ours.shape) if (*theirs.shape, 1, 1) == tuple(ours.shape) else None


def translate_weights(
    state_dict: Mapping[str, torch.Tensor], model: nn.Module, scope: Iterable[str] | None = None, fit: Fit = same_shape
) -> dict[str, torch.Tensor]:
    """Our name -> tensor of another work's checkpoint, for every tensor of the model (inside the scope).

    Both sides list the modules of a part in the order in which they were defined, which is the order in which
    they run: so the n-th of theirs is the n-th of ours; names inside a module and shapes must agree.

    Args:
        state_dict: name -> tensor; a ``module.`` prefix is taken off.
        model: the detector that is to take them.
        scope: our parts that are wanted (lib/utils/parts.py), such as ``["backbone"]``; the rest of both sides is
            left alone. None: everything; of a classifier's checkpoint, the backbone.
        fit: (our name, their tensor, our tensor) -> the tensor to take, or None if theirs does not fit.

    Raises:
        ValueError: naming every tensor that has no counterpart, on either side.
    """
    theirs = {str(name).removeprefix("module."): tensor for name, tensor in state_dict.items()}
    family, theirs = find_family(theirs), _with_convolutions(theirs)
    ours = {name: x for name, x in model.state_dict().items() if not name.startswith(f"backbone.{COARSE}")}
    wanted = list(scope) if scope else ["backbone"] if family.is_classifier else None
    translated: dict[str, torch.Tensor] = {}
    problems: list[str] = []
    whole: list[str] = []  # parts of which every tensor is wanted
    for part in dict.fromkeys(filter(None, family.parts.values())):
        if is_in_any(part, wanted):
            whole.append(part)
        elif not any(is_in(inner, part) for inner in wanted or ()):
            continue
        their_modules = _by_module({name: x for name, x in theirs.items() if family.part_of(name) == part})
        our_modules = _by_module({name: x for name, x in ours.items() if name.startswith(part + ".")})
        if family.is_classifier and (unused := their_modules[len(our_modules) :]):
            names = [name for module in unused for name, _ in module.values()]
            about = ", ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]}, {len(names)} tensors"
            log.info("not used from %s, because the neck reads no later row: %s", family.about, about)
            their_modules = their_modules[: len(our_modules)]
        pairs, failures = _pair_modules(their_modules, our_modules, fit)
        translated |= {name: x for name, x in pairs.items() if is_in_any(name, wanted)}
        problems += failures if part in whole else []
    rest = [name for name in ours if is_in_any(name, wanted) and not any(is_in(name, part) for part in whole)]
    problems += [f"nothing for our {name}" for name in rest if name not in translated]
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(
            f"a checkpoint of {family.about} must hold the tensors of this model, one for one; got "
            f"{'; '.join(problems[:8])}{more}. Choose the experiment that the checkpoint was trained with, a smaller "
            "model.weights_scope, or for other classes model.weights_classes=by_name"
        )
    return with_coarse_statistics(translated, model)


def _with_convolutions(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A VGG classifier's first two fully connected layers as fc6 and fc7 of SSD: every fourth channel, and of the 7x7
    inputs of the first every third (SSD, section 3.1, after DeepLab). Other checkpoints stay as they are.
    """
    if "classifier.0.weight" not in tensors or tensors["classifier.0.weight"].shape != (4096, 512 * 49):
        return tensors
    result = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    result["features.fc6.weight"] = tensors["classifier.0.weight"].view(4096, 512, 7, 7)[::4, :, ::3, ::3]
    result["features.fc6.bias"] = tensors["classifier.0.bias"][::4]
    result["features.fc7.weight"] = tensors["classifier.3.weight"].view(4096, 4096, 1, 1)[::4, ::4]
    result["features.fc7.bias"] = tensors["classifier.3.bias"][::4]
    return result


def _pair_modules(theirs: Modules, ours: Modules, fit: Fit) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The modules of one part, paired in order: our name -> their tensor, and what could not be paired, in words."""
    pairs, problems = {}, []
    none: dict[str, tuple[str, torch.Tensor]] = {}
    for their_module, our_module in itertools.zip_longest(theirs, ours, fillvalue=none):
        for kind in dict.fromkeys([*their_module, *our_module]):
            if kind not in our_module:
                problems.append(f"{their_module[kind][0]} with no counterpart")
                continue
            (name, tensor), fitted = our_module[kind], None
            problem = f"nothing for our {name}"
            if kind in their_module:
                their_name, their_tensor = their_module[kind]
                fitted = fit(name, their_tensor, tensor)
                problem = f"{their_name} {tuple(their_tensor.shape)} for {tuple(tensor.shape)} of our {name}"
            elif kind == "num_batches_tracked":  # checkpoints from before torch 0.4.1 have none
                fitted = torch.zeros((), dtype=torch.long)
            if fitted is None:
                problems.append(problem)
            else:
                pairs[name] = fitted
    return pairs, problems


def _by_module(tensors: Mapping[str, torch.Tensor]) -> Modules:
    """Tensors by module, in order."""
    modules: dict[str, dict[str, tuple[str, torch.Tensor]]] = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        kind = kind.removeprefix("scale_")  # torchvision's scale_weight
        modules.setdefault(module, {})[kind] = (name, tensor)
    return list(modules.values())
