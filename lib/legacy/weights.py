"""The tensors of other repositories' checkpoints under our names, strictly: each used, or named in the error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from lib.legacy.families import FAMILIES, Family, find_family
from lib.models.dual_path import COARSE, with_coarse_statistics

log = logging.getLogger(__name__)
Fit = Callable[[str, torch.Tensor, torch.Tensor], torch.Tensor | None]


class Pairing(NamedTuple):
    """What came of pairing the modules of one part.

    Attributes:
        pairs: our name -> their tensor.
        problems: what could not be paired, in words.
        left: their names past the last module of ours.
    """

    pairs: dict[str, torch.Tensor]
    problems: list[str]
    left: list[str]


def same_shape(name: str, theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor | None:
    """Their tensor if it has the shape of ours, or is the fully connected layer that our 1x1 convolution is."""
    if theirs.shape == ours.shape:
        return theirs
    return theirs.reshape(ours.shape) if (*theirs.shape, 1, 1) == tuple(ours.shape) else None


def translate_weights(
    state_dict: Mapping[str, torch.Tensor],
    model: nn.Module,
    scope: Iterable[str] | None = None,
    fit: Fit = same_shape,
) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint of any family of lib/legacy/families.py under our names.

    Both sides list the modules of a part in the order in which they were defined, which is the order in which
    they run: so the n-th of theirs is the n-th of ours; names inside a module and shapes must agree.

    Args:
        state_dict: name -> tensor; a ``module.`` prefix is taken off.
        model: the detector that is to take them.
        scope: prefixes of our names that are wanted, such as ``["backbone"]``; the rest of both sides is left
            alone. None: everything; of a classifier's checkpoint, the backbone.
        fit: (our name, their tensor, our tensor) -> the tensor to take, or None if theirs does not fit.

    Returns:
        Our name -> tensor, for every tensor of the model (inside the scope).

    Raises:
        ValueError: naming every tensor that has no counterpart, on either side.
    """
    theirs = {str(name).removeprefix("module."): tensor for name, tensor in state_dict.items()}
    family = FAMILIES[find_family(theirs)]
    theirs = family.prepare(theirs)
    ours = {name: x for name, x in model.state_dict().items() if not name.startswith(f"backbone.{COARSE}")}
    wanted = tuple(scope) if scope else ("backbone",) if family.is_classifier else ("",)
    translated: dict[str, torch.Tensor] = {}
    problems: list[str] = []
    for part in dict.fromkeys(part for _, part in family.parts if part):
        if not part.startswith(wanted) and not any(prefix.startswith(part) for prefix in wanted):
            continue
        pairing = _pair_modules(
            {name: x for name, x in theirs.items() if family.part_of(name) == part},
            {name: x for name, x in ours.items() if name.startswith(part + ".")},
            fit,
        )
        translated |= {name: x for name, x in pairing.pairs.items() if name.startswith(wanted)}
        if part.startswith(wanted):
            problems += pairing.problems
            problems += _past_the_end(pairing.left, family)
    known = tuple(f"{part}." for _, part in family.parts if part)
    problems += [
        f"nothing for our {name}" for name in ours if name.startswith(wanted) and not name.startswith(known)
    ]
    if problems:
        raise ValueError(_refusal(family, problems))
    return with_coarse_statistics(translated, model)


def _past_the_end(left: list[str], family: Family) -> list[str]:
    if not family.is_classifier:
        return [f"{name} with no counterpart" for name in left]
    if left:
        names = ", ".join(left) if len(left) < 4 else f"{left[0]} to {left[-1]}, {len(left)} tensors"
        log.info("of %s not used, past the last row that is tapped: %s", family.about, names)
    return []


def _refusal(family: Family, problems: list[str]) -> str:
    more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
    return (
        f"a checkpoint of {family.about} must hold the tensors of this model, one for one; got "
        f"{'; '.join(problems[:8])}{more}. Choose the experiment that the checkpoint was trained with, a smaller "
        "model.weights_scope, or for other classes model.weights_classes=by_name"
    )


def _pair_modules(theirs: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor], fit: Fit) -> Pairing:
    """Pairs the modules of one part in order."""
    pairs, problems = {}, []
    their_modules, our_modules = _by_module(theirs), _by_module(ours)
    for theirs_, ours_ in zip(their_modules, our_modules, strict=False):
        for kind in dict.fromkeys([*theirs_, *ours_]):
            if kind == "num_batches_tracked" and kind not in theirs_:  # checkpoints from before torch 0.4.1
                pairs[ours_[kind][0]] = torch.zeros((), dtype=torch.long)
            elif kind not in theirs_:
                problems.append(f"nothing for our {ours_[kind][0]}")
            elif kind not in ours_:
                problems.append(f"{theirs_[kind][0]} with no counterpart")
            else:
                (their_name, tensor), (our_name, own) = theirs_[kind], ours_[kind]
                fitted = fit(our_name, tensor, own)
                if fitted is None:
                    shapes = f"{tuple(tensor.shape)} for {tuple(own.shape)}"
                    problems.append(f"{their_name} {shapes} of our {our_name}")
                else:
                    pairs[our_name] = fitted
    shorter = min(len(their_modules), len(our_modules))
    left = [name for rest in their_modules[shorter:] for name, _ in rest.values()]
    problems += [f"nothing for our {name}" for rest in our_modules[shorter:] for name, _ in rest.values()]
    return Pairing(pairs, problems, left)


def _by_module(tensors: Mapping[str, torch.Tensor]) -> list[dict[str, tuple[str, torch.Tensor]]]:
    """Tensors by module, in order: [{"weight": (name, tensor), "bias": ...}, ...]."""
    modules: dict[str, dict] = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        modules.setdefault(module, {})[kind.removeprefix("scale_")] = (
            name,
            tensor,
        )  # torchvision's scale_weight
    return list(modules.values())
