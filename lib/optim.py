"""Optimizers, and learning-rate schedules as pure functions of the progress made: nothing to save or restore."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

Schedule = Callable[[float], float]


def sgd(
    parameters: Iterable[nn.Parameter],
    /,
    lr: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, nesterov=nesterov)


def adamw(
    parameters: Iterable[nn.Parameter],
    /,
    lr: float = 1e-3,
    betas: Sequence[float] = (0.9, 0.999),
    weight_decay: float = 1e-2,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(parameters, lr, tuple(betas), weight_decay=weight_decay)


def adam(
    parameters: Iterable[nn.Parameter],
    /,
    lr: float = 1e-3,
    betas: Sequence[float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Adam."""
    return torch.optim.Adam(parameters, lr, tuple(betas), weight_decay=weight_decay)


def rmsprop(
    parameters: Iterable[nn.Parameter],
    /,
    lr: float = 1e-3,
    alpha: float = 0.9,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
) -> torch.optim.Optimizer:
    """RMSprop with momentum."""
    return torch.optim.RMSprop(parameters, lr, alpha, momentum=momentum, weight_decay=weight_decay)


def constant(epochs: float, /) -> Schedule:
    """The base rate throughout."""
    return lambda epoch: 1.0


def cosine(epochs: float, /, hold: float = 0.0, floor: float = 0.0, by_epoch: bool = False) -> Schedule:
    """Half a cosine from 1 to ``floor`` (SGDR, Loshchilov & Hutter 2017, eq. 5).

    Args:
        hold: epochs at the base rate before the descent.
        floor: the last factor.
        by_epoch: whether the rate changes only between epochs, the first one already one step down and the
            last one at ``floor``, as in the BMVC code; otherwise at each step.
    """

    def factor(epoch: float) -> float:
        done = math.floor(epoch + 1e-9) + 1 if by_epoch else epoch
        share = min(max(done - hold, 0.0) / max(epochs - hold, 1e-9), 1.0)
        return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2

    return factor


def restarts(epochs: float, /, period: float = 10.0, growth: float = 1.0, floor: float = 0.0) -> Schedule:
    """Cosines one after another, each ``growth`` times as long as the one before (SGDR, section 3).

    Args:
        period: epochs of the first cosine.
    """
    if period <= 0 or growth < 1:
        raise ValueError(f"train.schedule needs period > 0 and growth >= 1; got {period} and {growth}")

    def factor(epoch: float) -> float:
        start, length = 0.0, period
        while epoch >= start + length:
            start, length = start + length, length * growth
        return floor + (1 - floor) * (1 + math.cos(math.pi * (epoch - start) / length)) / 2

    return factor


def step(epochs: float, /, milestones: Sequence[float] = (), gamma: float = 0.1) -> Schedule:
    """Times ``gamma`` at each milestone, in epochs."""
    return lambda epoch: gamma ** sum(epoch >= milestone for milestone in milestones)


def exponential(epochs: float, /, gamma: float = 0.95) -> Schedule:
    """Times ``gamma`` after each epoch."""
    return lambda epoch: gamma ** math.floor(epoch + 1e-9)


OPTIMIZERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop}
SCHEDULES = {
    "constant": constant,
    "cosine": cosine,
    "restarts": restarts,
    "step": step,
    "exponential": exponential,
}


def with_warmup(schedule: Schedule, epochs: float, start: float = 1e-3) -> Schedule:
    """The schedule, its factors ramped up linearly from ``start`` over the first ``epochs``."""
    if epochs <= 0:
        return schedule
    return lambda epoch: schedule(epoch) * min(1.0, start + (1 - start) * epoch / epochs)
