"""Finds the compiled kernels that ``make`` put beside this file, and registers the operators that call them."""

import functools
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from lib.utils.digest import digest_of

log = logging.getLogger(__name__)
MODULES = ("_nms", "_overlaps", "_fusion", "_training", "_depthwise", "_pointwise", "_batch_norm", "_cuda")
MISSING = "compiled kernels are missing or do not load: slow torch code runs instead; run `make`"
MISSING_CUDA = (
    "the CUDA kernels are missing or do not load: boxes on a GPU are copied to the CPU for NMS; install the CUDA "
    "toolkit and run `make`"
)
STALE = "the compiled kernels are not of the sources in csrc/, and are left out: slow torch code runs; run `make`"
NO_LAUNCH = (
    "the CUDA kernels do not run on {device} ({error}): its boxes are copied to the CPU for NMS; set NVCC to a toolkit "
    "no newer than the driver's CUDA version, which nvidia-smi shows, or CUDA_ARCH to the GPU's architecture, and run "
    "`make`"
)
SOURCES = Path(__file__).resolve().parents[2] / "csrc"
Array = NDArray[Any]
Values = TypeVar("Values", torch.Tensor, Array)  # an operator that takes arrays gives arrays
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@functools.cache
def load(name: str) -> ModuleType | None:
    """The compiled module ``lib.ops.<name>``, or None, with a warning the first time, where it is not built, or not of
    the sources that are here."""
    try:
        core = importlib.import_module(f".{name}", __package__)
    except ImportError as error:
        log.debug("lib.ops.%s: %s", name, error)
        _warn(MISSING_CUDA if name == "_cuda" else MISSING)
        return None
    if _is_stale(core):
        _warn(STALE)
        return None
    return core


def _is_stale(core: ModuleType) -> bool:
    """Whether a module was compiled from other sources than those in csrc/, or before modules told which; without csrc/
    none is.
    """
    if not SOURCES.is_dir():
        return False
    files = [SOURCES / name for name in getattr(core, "SOURCES", ())]
    is_complete = bool(files) and all(file.is_file() for file in files)
    return not is_complete or digest_of(files) != core.SOURCES_DIGEST


def built() -> list[str]:
    """Those of MODULES that are here and can be used."""
    return [name for name in MODULES if importlib.util.find_spec(f"lib.ops.{name}") and load(name)]


@functools.cache
def _warn(message: str) -> None:
    log.warning(message)


def is_on_host(tensor: torch.Tensor) -> bool:
    """Whether the host may read the tensor's values without waiting for another device."""
    return tensor.is_cpu


def needed(name: str) -> ModuleType:
    """The compiled module ``lib.ops.<name>`` where the caller knows that it is built."""
    module = load(name)
    assert module is not None, f"lib.ops.{name} is not built, so its operator must not be called"
    return module


def for_cpu(name: str, tensor: torch.Tensor) -> ModuleType | None:
    """The compiled module that works on ``tensor``; None where torch must: on another device, or not built."""
    return load(name) if is_on_host(tensor) else None


def is_for_training(name: str, x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether a kernel that only trains runs: gradients are wanted, in float32 on the CPU, where no autocast asks for
    another precision, outside of what torch traces to compile. Without gradients oneDNN is faster on a single image.
    So is torch on several threads where the kernel was compiled without OpenMP.
    """
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call]
    if is_traced or not torch.is_grad_enabled() or not x.dtype == weight.dtype == torch.float32:
        return False
    core = None if torch.is_autocast_enabled("cpu") else for_cpu(name, x)
    return core is not None and (core.HAS_OPENMP or torch.get_num_threads() == 1)


def for_cuda(tensor: torch.Tensor) -> ModuleType | None:
    """The compiled CUDA kernels if ``tensor`` is on a GPU on which they run, else None."""
    return _cuda_on(tensor.device) if tensor.is_cuda else None


@functools.cache
def _cuda_on(device: torch.device) -> ModuleType | None:
    """The CUDA kernels, tried on one box; None, with a warning, where they are not built or cannot be launched, as with
    an older driver than their toolkit asks for, or code for other GPUs."""
    core = load("_cuda")
    if core is None:
        return None
    box, stays = torch.zeros(4, device=device), torch.ones(1, dtype=torch.bool, device=device)
    stream = torch.cuda.current_stream(device).cuda_stream
    try:
        with torch.cuda.device(device):
            core.group_nms(box.data_ptr(), 1, 1, 0.5, stays.data_ptr(), stream)
    except RuntimeError as error:
        _warn(NO_LAUNCH.format(device=device, error=error))
        return None
    return core


def operator(
    check: Callable[..., None], fake: Callable[..., Any]
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Makes a function the torch operator ``torch.ops.multibox.<its name>``, which torch.compile and torch.export
    keep as one node.

    ``check`` and ``fake`` are called like it. ``check`` raises for arguments that do not fit, before the function, or
    ``fake`` in its place, runs. ``fake`` gives empty results of the right shapes, or of a size not known yet.
    """

    def checked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            check(*arguments, **named)
            return function(*arguments, **named)

        return call

    def register(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        name = function.__name__.lstrip("_")
        qualified = f"multibox::{name}"
        torch.library.define(qualified, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(qualified, "default", checked(function))
        torch.library.register_fake(qualified, checked(fake))
        return cast(Callable[_Arguments, _Result], getattr(torch.ops.multibox, name).default)

    return register


def unknown_size() -> Any:
    """The length, in a fake result, of what only the values decide."""
    return torch.library.get_ctx().new_dynamic_size()


def kernel_dtype(*tensors: torch.Tensor) -> torch.dtype:
    """The type to compute in: float64 if any tensor is, else float32, which holds every half exactly."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def as_input(tensor: torch.Tensor, dtype: torch.dtype = torch.float32) -> Array:
    """A CPU tensor as the contiguous array that a kernel reads; no copy where it is one already."""
    if tensor.dtype != dtype:
        tensor = tensor.to(dtype)
    return np.ascontiguousarray(tensor.numpy(force=True))  # force: a tensor may need a gradient


def as_pixels(x: torch.Tensor) -> Array:
    """A map (B, C, h, w) as (B * h * w, C); no copy where it is float32 and lies in memory so."""
    return as_input(x.detach().permute(0, 2, 3, 1)).reshape(-1, x.shape[1])


def as_tensor(value: torch.Tensor | Array, name: str) -> torch.Tensor:
    """A NumPy array of any strides and byte order as a tensor; a tensor as it is. Others are a TypeError."""
    if isinstance(value, torch.Tensor):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be a tensor or a NumPy array of numbers; got {kind}")
    dtype = value.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize > 8:  # torch has no long double
        dtype = np.dtype(np.float64)
    array = np.ascontiguousarray(value, dtype)
    # A side of length 0 or 1 counts as contiguous whatever its stride, which torch wants to be positive nevertheless;
    # and torch warns of what it may not write.
    is_plain = array.flags.writeable and array.strides == np.empty(array.shape, dtype).strides
    return torch.from_numpy(array if is_plain else array.copy("C"))


def as_given(tensor: torch.Tensor, given: Values) -> Values:
    """A result in the form of the input: an array if that was one."""
    return tensor.numpy() if isinstance(given, np.ndarray) else tensor
