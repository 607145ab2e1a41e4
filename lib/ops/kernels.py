"""Finds the compiled kernels that ``make`` put beside this file, and prepares tensors for them."""

from __future__ import annotations

import functools
import importlib
import logging
from types import ModuleType

import numpy as np
import torch

log = logging.getLogger(__name__)
NAMESPACE = "multibox"  # of the torch operators: torch.ops.multibox.nms


@functools.cache
def load(name: str) -> ModuleType | None:
    """The compiled module ``lib.ops.<name>``, or None, with one warning, where it is not built."""
    try:
        return importlib.import_module(f"lib.ops.{name}")
    except ImportError as error:
        log.warning(
            "compiled kernels %s not usable (%s): slow torch code runs instead; run `make`", name, error
        )
        return None


def kernel_dtype(*tensors: torch.Tensor) -> torch.dtype:
    """The type to compute in: float64 if any tensor is, else float32, which holds every half exactly."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def as_input(tensor: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """A CPU tensor as the contiguous array that a kernel reads; no copy where it is one already."""
    if tensor.dtype != dtype:
        tensor = tensor.to(dtype)
    return np.ascontiguousarray(tensor.numpy(force=True))  # force: a tensor may need a gradient


def as_tensors(*values: torch.Tensor | np.ndarray) -> list[torch.Tensor]:
    """NumPy arrays as tensors; tensors as they are."""
    return [
        torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        for value in values
    ]


def check_boxes(boxes: torch.Tensor, name: str) -> None:
    """That ``boxes`` is a floating (N, 4) tensor."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"{name} must have the shape (N, 4); got {tuple(boxes.shape)}: pass one image's xyxy boxes"
        )
    check_floating(boxes, name)


def check_floating(tensor: torch.Tensor, name: str) -> None:
    """That a tensor is of a floating type."""
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating; got {tensor.dtype}: convert by .float()")


def check_same_device(*tensors: torch.Tensor | None) -> None:
    """That all tensors are on one device."""
    devices = [tensor.device for tensor in tensors if tensor is not None]
    if devices.count(devices[0]) != len(devices):
        raise ValueError(f"tensors must be on one device; got {devices}: move them by .to(device)")
