"""Finds the compiled kernels that ``make`` put beside this file, and prepares tensors and arrays for them."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Iterable
from types import ModuleType

import numpy as np
import torch

log = logging.getLogger(__name__)
NAMESPACE = "multibox"  # of the torch operators: torch.ops.multibox.nms
MODULES = ("_nms", "_overlaps", "_fusion", "_training", "_cuda")


@functools.cache
def load(name: str) -> ModuleType | None:
    """The compiled module ``lib.ops.<name>``, or None, with a warning the first time, where it is not built."""
    try:
        return importlib.import_module(f"lib.ops.{name}")
    except ImportError as error:
        log.debug("lib.ops.%s: %s", name, error)
        _warn()
        return None


def built() -> list[str]:
    """Those of MODULES that are here."""
    return [name for name in MODULES if importlib.util.find_spec(f"lib.ops.{name}")]


@functools.cache
def _warn() -> None:
    log.warning("compiled kernels are missing or do not load: slow torch code runs instead; run `make`")


def kernel_dtype(*tensors: torch.Tensor) -> torch.dtype:
    """The type to compute in: float64 if any tensor is, else float32, which holds every half exactly."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def as_input(tensor: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """A CPU tensor as the contiguous array that a kernel reads; no copy where it is one already."""
    if tensor.dtype != dtype:
        tensor = tensor.to(dtype)
    return np.ascontiguousarray(tensor.numpy(force=True))  # force: a tensor may need a gradient


def as_tensors(*values: torch.Tensor | np.ndarray | None) -> list[torch.Tensor | None]:
    """NumPy arrays as tensors; tensors and None as they are."""
    return [_as_tensor(value) if isinstance(value, np.ndarray) else value for value in values]


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    array = np.ascontiguousarray(array)
    return torch.from_numpy(
        array if array.flags.writeable else array.copy()
    )  # torch warns of what it may not write


def as_given(tensors: Iterable[torch.Tensor], given: torch.Tensor | np.ndarray) -> tuple:
    """Results in the form of the input: arrays if it was one."""
    return tuple(tensor.numpy() for tensor in tensors) if isinstance(given, np.ndarray) else tuple(tensors)
