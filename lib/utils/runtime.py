"""How a program runs: its device, seed, threads, precision and memory."""

import contextlib
import ctypes
import gc
import platform
import random
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # scripts that need no torch start in a fifth of the time without it
    import torch

# What torch says for a GPU, for the CPU, and for a library that it calls.
OUT_OF_MEMORY = re.compile("out of memory|not enough memory|can't allocate memory|STATUS_ALLOC_FAILED")


def choose_device(name: str) -> "torch.device":
    """``auto`` is the first CUDA device if there is one, else the CPU. A device that is not here is a ValueError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"run.device must be auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(
            f"run.device (--device) must be a device that torch can use; got {name!r}, but torch {torch.__version__} "
            f"finds {torch.cuda.device_count()} CUDA devices: choose cpu or auto, or install torch with CUDA support"
        )
    return device


def device_name(device: "torch.device") -> str:
    """What a device is: the name of the GPU, or ``cpu: `` and that of the processor."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    return f"cpu: {(names or [platform.processor() or platform.machine()])[0]}"


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch. Data augmentation uses none of them, but its own generators."""
    import torch

    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed, such as run.seed, must be 0 to 2**32 - 1; got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third parties may draw from it
    torch.manual_seed(seed)


@contextlib.contextmanager
def paused_gc() -> Iterator[None]:
    """Keeps the garbage collector from looking again and again through many small objects that stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def set_threads(count: int) -> None:
    """Sets torch's threads; with 0 torch chooses."""
    if count < 0:
        raise ValueError(f"run.threads must be 0 (torch chooses) or more; got {count}")
    if count:
        import torch

        torch.set_num_threads(count)


def prepare_torch(seed: int, threads: int, tf32: bool) -> None:
    """Seeds every generator, sets torch's threads, and whether GPUs may round factors to TensorFloat-32."""
    seed_everything(seed)
    set_threads(threads)
    set_tf32(tf32)


def set_tf32(allowed: bool) -> None:
    """Whether GPUs may round the factors of products to TensorFloat-32; torch alone does so in convolutions."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def fast_precision(device: "torch.device") -> "torch.dtype":
    """bfloat16 if the device has instructions for it, else float32: emulated, it takes up to ten times as long."""
    import torch

    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bf16 = any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if has_bf16 else torch.float32


def keep_memory() -> bool:
    """Has the C library keep freed memory for the next request; False where it is not glibc and has no such setting.

    By default glibc maps each large block anew and unmaps it when it is freed, so on a CPU each map of a network costs
    page faults and zeroed pages: about a quarter of a training step, and of an image in inference. What the environment
    variables MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_ do is done here for this process and those that it starts by
    fork. To be called before the first large allocation.
    """
    if sys.platform != "linux":
        return False
    trim_threshold, mmap_max = -1, -4  # of glibc's malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


@contextlib.contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Has torch's lack of memory, on a GPU or the CPU, be a ValueError that gives advice on what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        said = textwrap.shorten(str(error), 120, placeholder=" ...")
        raise ValueError(f"a batch must fit into memory; got {said!r}: {advice}") from None


def memory_mb(device: "torch.device") -> float:
    """The most memory in use so far, in MB: the GPU's, or on a CPU the process's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not there on Windows

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
