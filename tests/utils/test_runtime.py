"""Device, seed, precision and memory of a program."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lib.utils.runtime import choose_device, fast_precision, keep_memory, memory_advice, memory_mb, seed_everything

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["mps", "meta", "gpu"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match=f"run.device must be auto, cpu, cuda or cuda:N; got '{name}'"):
        choose_device(name)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_not_every_generator_takes_is_refused(seed):
    with pytest.raises(ValueError, match=rf"a seed, such as run.seed, must be 0 to 2\*\*32 - 1; got {seed}"):
        seed_everything(seed)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_a_cpu_trains_in_bf16_if_it_has_instructions_for_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_precision(torch.device("cpu")) == expected


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_is_asked_without_emulation(monkeypatch, has_bf16, expected):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16 and not including_emulation
    )
    assert fast_precision(torch.device("cuda")) == expected


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
    command = [sys.executable, "-c", SCRIPT, mode]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done, faults = subprocess.run(
        command, cwd=ROOT, env=plain, capture_output=True, text=True, check=True
    ).stdout.split()
    return done == "True", int(faults)


def test_kept_memory_causes_no_page_faults():
    done, faults = measured("keep")
    if not done:
        pytest.skip("this C library has no mallopt")
    assert faults < 100
    assert measured("plain")[1] > 1000


@pytest.mark.parametrize(("platform", "given"), [("linux", 3 * 2**10), ("darwin", 3 * 2**20)])
def test_memory_is_in_mb_on_every_system(monkeypatch, platform, given):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=given))
    assert memory_mb(torch.device("cpu")) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError("Unable to allocate 9.00 GiB for an array"),
    ],
)
def test_lack_of_memory_ends_in_advice(error):
    said = "a batch must fit into memory; got .*: buy more"
    with pytest.raises(ValueError, match=said) as caught, memory_advice("buy more"):
        raise error
    assert str(error)[:20] in str(caught.value)


def test_other_errors_get_no_advice_on_memory():
    said = "^mat1 and mat2 shapes cannot be multiplied$"
    with pytest.raises(RuntimeError, match=said), memory_advice("buy more"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_memory() is False
