"""The list of slow tests in slow.py names tests that exist."""

from pathlib import Path

import pytest
from slow import SLOW

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_test_exists(name):
    path, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / path).read_text() if function else (ROOT / path).exists()
