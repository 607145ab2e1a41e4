"""One thread, no display, the same numbers on every run."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from slow import mark_slow_

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the slow tests and puts them first."""
    mark_slow_(items)


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh random generator with a fixed seed."""
    return torch.Generator().manual_seed(0)
