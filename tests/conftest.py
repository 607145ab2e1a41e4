"""One thread, no display, the same numbers on every run."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh random generator with a fixed seed."""
    return torch.Generator().manual_seed(0)
