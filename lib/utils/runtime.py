"""Device, seed and threads of a process, and the errors that a user can mend."""

from __future__ import annotations

import contextlib
import random
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch


def choose_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device if there is one, else the CPU.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"run.device must be auto, cpu, cuda or cuda:N; got {name!r}") from None
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ValueError(f"run.device must be a device of this machine; got {name!r}: choose cpu or auto")
    return device


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch. Data augmentation does not use them: it has generators of its own."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third parties may draw from it
    torch.manual_seed(seed)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Ends a script with one clear line, and status 2, where the user can mend what is wrong.

    That is an error which a check of this project raised, or the operating system. One that comes from inside
    a library is a defect of ours, and keeps its traceback.
    """
    try:
        yield
    except (ValueError, TypeError, FloatingPointError, OSError) as error:
        if not isinstance(error, OSError) and not _is_raised_by_us(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        sys.exit(130)


def _is_raised_by_us(error: Exception) -> bool:
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    return Path(innermost.filename).resolve().is_relative_to(Path(__file__).resolve().parents[1])


def set_threads(count: int) -> None:
    """Sets torch's threads; 0 leaves its own choice."""
    if count < 0:
        raise ValueError(f"run.threads must be 0 (torch's own choice) or more; got {count}")
    if count:
        torch.set_num_threads(count)
