"""Optimizers, and learning-rate schedules as pure functions of the progress made: nothing to save or restore."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lib.utils.parts import is_in

Groups = list[dict[str, Any]]
Betas = tuple[float, float]
Schedule = Callable[[float], float]


def parameter_groups(model: nn.Module, rates: Mapping[str, float] | None = None, decay_norms: bool = True) -> Groups:
    """The parameters that learn, as groups of an optimizer; ``rate`` of a group is its factor of the rate.

    ``rates`` are {part of the model (see lib/utils/parts.py): factor}; the longest name that fits counts, others have
    1, and a part without a parameter that learns is a ValueError. With ``decay_norms`` vectors (scales of norms,
    biases) have weight decay as well.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for part in rates or {}:
        if not any(is_in(name, part) for name in parameters):
            raise ValueError(f"train.rates must name parts that learn, such as backbone; got {part!r}")
    by_length = sorted((rates or {}).items(), key=lambda item: len(item[0]), reverse=True)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        rate = next((factor for part, factor in by_length if is_in(name, part)), 1.0)
        has_decay = decay_norms or parameter.ndim > 1
        decay = {} if has_decay else {"weight_decay": 0.0}
        groups.setdefault((rate, has_decay), {"params": [], "rate": rate, **decay})["params"].append(parameter)
    return list(groups.values())


def centralize_(parameters: Iterable[nn.Parameter]) -> None:
    """Subtracts from each filter's gradient its mean (gradient centralization, Yong et al. 2020, eq. 1)."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.ndim > 1:
            parameter.grad -= parameter.grad.mean(dim=tuple(range(1, parameter.ndim)), keepdim=True)


def sgd(
    groups: Groups, /, lr: float = 1e-3, momentum: float = 0.9, weight_decay: float = 1e-4, nesterov: bool = False
) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    return SGD(groups, lr, momentum, weight_decay=weight_decay, nesterov=nesterov)


def adamw(groups: Groups, /, lr: float = 1e-3, betas: Betas = (0.9, 0.999), weight_decay: float = 1e-2) -> Optimizer:
    """Adam with decoupled weight decay."""
    return AdamW(groups, lr, (betas[0], betas[1]), weight_decay=weight_decay)


def adam(groups: Groups, /, lr: float = 1e-3, betas: Betas = (0.9, 0.999), weight_decay: float = 0.0) -> Optimizer:
    """Adam."""
    return Adam(groups, lr, (betas[0], betas[1]), weight_decay=weight_decay)


def rmsprop(
    groups: Groups, /, lr: float = 1e-3, alpha: float = 0.9, momentum: float = 0.9, weight_decay: float = 1e-4
) -> Optimizer:
    """RMSprop with momentum."""
    return RMSprop(groups, lr, alpha, momentum=momentum, weight_decay=weight_decay)


def _falling(angle: float, floor: float) -> float:
    """Half a cosine: 1 at the angle 0, ``floor`` at pi."""
    return floor + (1 - floor) * (1 + math.cos(angle)) / 2


def constant(epochs: float, /) -> Schedule:
    """The base rate throughout."""
    return lambda epoch: 1.0


def cosine(epochs: float, /, hold: float = 0.0, floor: float = 0.0, by_epoch: bool = False) -> Schedule:
    """Half a cosine from 1 to ``floor`` (SGDR, Loshchilov & Hutter 2017, eq. 5), after ``hold`` epochs at 1.

    It changes at each step, or with ``by_epoch`` only between epochs, as in the BMVC code: the first epoch is already
    one step down, and the last one at ``floor``.
    """

    def factor(epoch: float) -> float:
        done = math.floor(epoch + 1e-9) + 1 if by_epoch else epoch
        return _falling(math.pi * min(max(done - hold, 0.0) / max(epochs - hold, 1e-9), 1.0), floor)

    return factor


def restarts(epochs: float, /, period: float = 10.0, growth: float = 1.0, floor: float = 0.0) -> Schedule:
    """Cosines one after another, of ``period`` epochs and then each ``growth`` times as long (SGDR, section 3)."""
    if period <= 0 or growth < 1:
        raise ValueError(f"train.schedule must have period > 0 and growth >= 1; got {period} and {growth}")

    def factor(epoch: float) -> float:
        start, length = 0.0, period
        while epoch >= start + length:
            start, length = start + length, length * growth
        return _falling(math.pi * (epoch - start) / length, floor)

    return factor


def step(
    epochs: float, /, milestones: Sequence[float] = (), every: float | None = None, gamma: float = 0.1
) -> Schedule:
    """Times ``gamma`` at each milestone, in epochs, or after ``every`` so many epochs."""
    if every is not None and (every <= 0 or milestones):
        raise ValueError(f"train.schedule must have milestones, or else every > 0; got {list(milestones)} and {every}")
    if every is not None:
        return lambda epoch: gamma ** math.floor(epoch / every + 1e-9)
    return lambda epoch: gamma ** sum(epoch >= milestone for milestone in milestones)


def one_cycle(epochs: float, /, rise: float = 0.3, start: float = 0.04, floor: float = 4e-6) -> Schedule:
    """Half a cosine up from ``start`` to 1 over the share ``rise`` of the epochs, then one down to ``floor``
    (Smith & Topin 2018; both halves as cosines, as is usual now).
    """
    if not 0 < rise < 1:
        raise ValueError(f"train.schedule.rise must be a share of the epochs in 0 .. 1; got {rise}")

    def factor(epoch: float) -> float:
        share = min(epoch / epochs, 1.0)
        if share < rise:
            return _falling(math.pi * (1 - share / rise), start)
        return _falling(math.pi * ((share - rise) / (1 - rise)), floor)

    return factor


def exponential(epochs: float, /, gamma: float = 0.95) -> Schedule:
    """Times ``gamma`` after each epoch."""
    return lambda epoch: gamma ** math.floor(epoch + 1e-9)


OPTIMIZERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop}
SCHEDULES = {kind.__name__: kind for kind in (constant, cosine, restarts, step, exponential, one_cycle)}


def with_warmup(schedule: Schedule, epochs: float, start: float = 1e-3) -> Schedule:
    """The schedule, its factors ramped up linearly from ``start`` over the first ``epochs``."""
    if epochs <= 0:
        return schedule
    return lambda epoch: schedule(epoch) * min(1.0, start + (1 - start) * epoch / epochs)
