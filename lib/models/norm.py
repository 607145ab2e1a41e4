"""BatchNorm with its activation in one kernel, over the images of all processes, and that no longer learns."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.ops.batch_norm import batch_norm, is_kernel_for
from lib.utils.parts import is_in

KERNEL_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Hardswish: "hard_swish",
    nn.SiLU: "swish",
}


def normalized(norm: nn.Module, act: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """``act(norm(x))`` (B, C, h, w), in training on a CPU by a kernel of ours (lib/ops/batch_norm.py)."""
    name = KERNEL_ACTIVATIONS.get(type(act))
    if name is None or not _takes_kernel(norm, x):
        y: torch.Tensor = act(norm(x))
        return y
    assert isinstance(norm, nn.BatchNorm2d), "see _takes_kernel"
    result = batch_norm(x, norm.weight, norm.bias, norm.eps, name)
    _update_(norm, result.mean, result.variance, x.numel() // x.shape[1])
    return result.map


def _takes_kernel(norm: nn.Module, x: torch.Tensor) -> bool:
    """Whether it is a plain BatchNorm of torch in training, and the map one that the kernel reads without a copy."""
    if type(norm) is not nn.BatchNorm2d or not (norm.training and norm.affine and norm.track_running_stats):
        return False
    is_plain = norm.momentum is not None and x.is_contiguous(memory_format=torch.channels_last)
    return is_plain and x.numel() > x.shape[1] and is_kernel_for(x, norm.weight)  # torch refuses a single pixel


@torch.no_grad()
def _update_(norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor, count: int | torch.Tensor) -> None:
    """Moves the running statistics towards those of ``count`` pixels."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient of a process's share is the sum of all processes' gradients."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.forward(_, gradient)


def _sum(x: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return total


class SyncNorm(nn.BatchNorm2d):
    """BatchNorm whose batch is that of all processes together, on any device.

    torch's own SyncBatchNorm runs on GPUs only; there it is the faster one, see ``synchronize``. The variance
    is summed around the common mean, in a second exchange, because the mean of squares would lose digits.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h, w); every process must call it at the same time."""
        if not self.training or not distributed.is_initialized():
            return super().forward(x)
        exact = x.to(self.weight.dtype)  # the statistics of half-precision maps are float32
        count = _sum(exact.new_tensor([x.numel() / x.shape[1]]))
        mean = _sum(exact.sum((0, 2, 3))) / count  # (C,)
        centered = exact - mean[:, None, None]
        variance = _sum(centered.square().sum((0, 2, 3))) / count  # (C,)
        _update_(self, mean, variance, count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y: torch.Tensor = centered * scale[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)


def synchronize(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with BatchNorm over the images of all processes; names and tensors stay."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncNorm  # same attributes, another forward
    return model


def freeze_norms_(model: nn.Module, parts: Sequence[str] | None = None) -> None:
    """Keeps statistics, scales and shifts of the parts, such as ``backbone.layers.0-2``, as they are; None: of all.

    Call it again after each ``model.train()``, which undoes it.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (parts is None or any(is_in(name, part) for part in parts)):
            module.eval().requires_grad_(False)
