"""Memory that is freed stays with the process."""

import os
import subprocess
import sys

import pytest

from lib.utils.runtime import keep_memory

# page faults of ten rounds that take and free 32 MB, and the setting's own answer
SCRIPT = """
import resource, sys
import torch
from lib.utils.runtime import keep_memory
done = keep_memory() if sys.argv[1] == "keep" else False
for _ in range(10):
    torch.ones(8 << 20).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(8 << 20).sum()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def measured(mode: str) -> tuple[bool, int]:
    root = os.path.dirname(sys.modules["lib"].__path__[0])
    command = [sys.executable, "-c", SCRIPT, mode]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done, faults = subprocess.run(
        command, cwd=root, env=plain, capture_output=True, text=True, check=True
    ).stdout.split()
    return done == "True", int(faults)


def test_kept_memory_causes_no_page_faults():
    done, faults = measured("keep")
    if not done:
        pytest.skip("this C library has no mallopt")
    assert faults < 100
    assert measured("plain")[1] > 1000


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_memory() is False
