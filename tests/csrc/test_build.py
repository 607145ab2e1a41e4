import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "csrc" / "build.py"


@pytest.fixture
def script():
    """csrc/build.py as a module of its own for each test."""
    spec = importlib.util.spec_from_file_location("csrc_build", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_second_build_finds_all_up_to_date():
    subprocess.run([sys.executable, SCRIPT], cwd="/", check=True, capture_output=True)
    again = subprocess.run([sys.executable, SCRIPT], cwd="/", check=True, capture_output=True, text=True)
    assert again.stdout.count("up to date") >= 2 and "built" not in again.stdout


def test_a_changed_variable_is_not_up_to_date(script, monkeypatch):
    before = script.fingerprint(script.KERNELS[0], script.cpu_command())
    monkeypatch.setenv("ARCH", "x86-64")
    assert script.fingerprint(script.KERNELS[0], script.cpu_command()) != before


@pytest.mark.parametrize(
    ("kernel", "find", "message"),
    [("KERNELS", "cpu_command", "install g++ or clang++, or set CXX"), ("CUDA", "cuda_command", "or set NVCC")],
)
def test_a_missing_compiler_is_a_skip_that_says_what_to_do(script, monkeypatch, kernel, find, message):
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    chosen = script.CUDA_KERNEL if kernel == "CUDA" else script.KERNELS[0]
    outcome, detail = script.make(chosen, getattr(script, find), None)
    assert outcome == "skipped" and message in detail


def test_a_failing_compiler_is_told_with_its_output(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "OUTPUT", tmp_path)
    monkeypatch.setattr(script, "BUILD", tmp_path / "build")
    outcome, detail = script.make(
        script.KERNELS[0], script.cpu_command, lambda *_: script.run(sys.executable, "-c", "1 / 0")
    )
    assert outcome == "failed" and "ZeroDivisionError" in detail


def test_cuda_architectures_can_be_chosen(script, monkeypatch):
    monkeypatch.setenv("CUDA_ARCH", "80;sm_90")
    assert script.cuda_flags("nvcc") == [
        "-gencode=arch=compute_80,code=[sm_80,compute_80]",
        "-gencode=arch=compute_90,code=[sm_90,compute_90]",
    ]


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc")
def test_cuda_kernels_compile_where_nvcc_is_found(script):
    outcome, detail = script.make(script.CUDA_KERNEL, script.cuda_command, script.build_cuda)
    assert outcome in ("built", "up to date"), detail
