"""Optimizers, and learning-rate schedules as pure functions of the progress made: nothing to save or restore."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lib.utils.parts import is_in, names_in

Groups = list[dict[str, Any]]
Betas = tuple[float, float]
Schedule = Callable[[float], float]


def parameter_groups(model: nn.Module, rates: Mapping[str, float] | None = None, decay_norms: bool = True) -> Groups:
    """The parameters that learn, as groups of an optimizer; ``rate`` of a group is its factor of the rate.

    ``rates`` are {part of the model (see lib/utils/parts.py): factor}; the longest name that fits counts, others have
    1, and a part without a parameter is a ValueError. With ``decay_norms`` vectors (scales of norms, biases) have
    weight decay as well.
    """
    names_in([name for name, _ in model.named_parameters()], list(rates or ()), "train.rates")
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
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


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """About the orthogonal matrix nearest to ``matrix`` (m, n), by five Newton-Schulz steps (Muon, Jordan et al. 2024).

    The singular vectors stay. The singular values come to lie between 0.7 and 1.2, unless they are tiny beside the
    largest.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def _is_matrix(parameter: torch.Tensor) -> bool:
    """Whether it mixes channels, as the weights of layers do; norms, biases and depthwise kernels do not."""
    return parameter.ndim > 1 and min(parameter.shape[:2]) > 1


class Muon(AdamW):
    """Turns each weight matrix along the orthogonal matrix nearest to its momentum; all else learns as in AdamW.

    The weights of a convolution count as one matrix (outputs, inputs * rows * columns). Its steps are made as large as
    AdamW's are, so rates for AdamW are of the right order (Liu et al. 2025, section 2.2, eq. 4).
    """

    def __init__(self, groups: Groups, lr: float, betas: Betas, weight_decay: float, momentum: float):
        split = [
            {**group, "params": params, "momentum": factor}
            for group in groups
            for is_matrix, factor in ((True, momentum), (False, None))
            if (params := [p for p in group["params"] if _is_matrix(p) == is_matrix])
        ]
        super().__init__(split, lr, betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; see torch's ``Optimizer``."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if group["momentum"] is None]
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in (group for group in groups if group["momentum"] is not None):
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._turn_(parameter, parameter.grad, group)
        return loss

    def _turn_(self, parameter: torch.Tensor, gradient: torch.Tensor, group: Mapping[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            # AdamW looks for the number of steps in all states when it loads them.
            state.update(step=torch.zeros(()), momentum_buffer=torch.zeros_like(parameter))
        state["step"] += 1
        average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonalized(gradient.lerp(average, group["momentum"]).reshape(len(parameter), -1))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(update.reshape(parameter.shape), alpha=group["lr"] * 0.2 * math.sqrt(max(update.shape)))


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


def muon(
    groups: Groups, /, lr: float = 1e-3, betas: Betas = (0.9, 0.999), weight_decay: float = 1e-2, momentum: float = 0.95
) -> Optimizer:
    """Muon for the weights of layers, with ``momentum``; AdamW, with ``betas``, for depthwise kernels and vectors."""
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1; got {momentum}")
    return Muon(groups, lr, betas, weight_decay, momentum)


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
    one step down, and the last one at ``floor``. A run of one epoch or less has none between, and changes at each step.
    """
    by_epoch = by_epoch and epochs > 1

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


OPTIMIZERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "muon": muon, "rmsprop": rmsprop}
SCHEDULES = {kind.__name__: kind for kind in (constant, cosine, restarts, step, exponential, one_cycle)}


def with_warmup(schedule: Schedule, epochs: float, start: float = 1e-3) -> Schedule:
    """The schedule, its factors ramped up linearly from ``start`` over the first ``epochs``."""
    if epochs <= 0:
        return schedule
    return lambda epoch: schedule(epoch) * min(1.0, start + (1 - start) * epoch / epochs)
