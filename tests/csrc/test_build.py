import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.modules import ROOT, load_build

SCRIPT = ROOT / "csrc" / "build.py"


@pytest.fixture
def script():
    """csrc/build.py as a module of its own for each test."""
    return load_build()


def test_a_second_build_finds_all_up_to_date(script):
    subprocess.run([sys.executable, SCRIPT], cwd="/", check=True, capture_output=True)
    again = subprocess.run([sys.executable, SCRIPT], cwd="/", check=True, capture_output=True, text=True)
    outcomes = [line[:10] for line in again.stdout.splitlines()[: len(script.KERNELS)]]
    assert outcomes == ["up to date"] * len(script.KERNELS), again.stdout


def test_a_changed_variable_is_not_up_to_date(script, monkeypatch):
    kernel = script.KERNELS[0]
    before = script.fingerprint(kernel, script.cpu_command(kernel))
    monkeypatch.setenv("ARCH", "x86-64")
    assert script.fingerprint(kernel, script.cpu_command(kernel)) != before


def compiler_of(folder, processor):
    """A compiler that knows no OpenMP, on a machine with a processor."""
    path = folder / "compiler"
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1;; *-march=native*-dM*) echo "#define {processor} 1";; esac\n'
    )
    path.chmod(0o755)
    return str(path)


def test_kernels_of_another_processor_are_not_up_to_date(script, monkeypatch, tmp_path):
    kernel, hashes = script.KERNELS[0], set()
    for processor in ("__znver3__", "__znver4__", "__znver3__"):
        monkeypatch.setenv("CXX", compiler_of(tmp_path, processor))
        hashes.add(script.fingerprint(kernel, script.cpu_command(kernel)))
    assert len(hashes) == 2


def test_a_compiler_without_openmp_is_told(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CXX", compiler_of(tmp_path, "__znver3__"))
    monkeypatch.setattr(script, "make", lambda *_: ("up to date", ""))
    assert script.main() == 0
    assert "without OpenMP: the kernels use one thread; set CXX" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_openmp_is_found_behind_a_command_that_starts_the_compiler(script, monkeypatch):
    monkeypatch.setenv("CXX", "env g++")
    assert "-fopenmp" in script.cpu_command(script.KERNELS[0])


def test_sanitized_kernels_are_not_optimized(script, monkeypatch):
    monkeypatch.setenv("SANITIZE", "undefined")
    monkeypatch.setattr(script, "accepts", lambda *_: True)
    flags = [flag for flag in script.cpu_command(script.MEMORYVIEWS) if flag.startswith("-O")]
    assert flags == ["-O3", "-O1", "-O0"]  # the last one holds


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
    monkeypatch.setattr(script.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, ""))
    assert script.cuda_flags("nvcc") == [
        "-gencode=arch=compute_80,code=[sm_80,compute_80]",
        "-gencode=arch=compute_90,code=[sm_90,compute_90]",
    ]


def test_cuda_architectures_are_those_of_the_gpus_that_nvcc_knows(script, monkeypatch):
    answers = {"nvcc": "compute_75 compute_90\n", "nvidia-smi": "9.0\n12.0\n9.0\n"}
    run = lambda command, **_: subprocess.CompletedProcess(command, 0, answers[command[0]])  # noqa: E731
    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script.shutil, "which", lambda name: name)
    monkeypatch.delenv("CUDA_ARCH", raising=False)
    assert script.cuda_flags("nvcc") == ["-gencode=arch=compute_90,code=[sm_90,compute_90]"]
    answers["nvidia-smi"] = "12.0\n"  # nvcc does not know it: the driver may translate the last one's PTX
    assert script.cuda_flags("nvcc") == [
        "-gencode=arch=compute_75,code=[sm_75,compute_75]",
        "-gencode=arch=compute_90,code=[sm_90,compute_90]",
    ]


def test_without_a_gpu_there_is_code_for_each_generation_that_nvcc_knows(script, monkeypatch):
    listed = "compute_75 compute_80 compute_86 compute_90 compute_90a compute_100 compute_103\n"
    monkeypatch.setattr(script.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, listed))
    monkeypatch.setattr(script, "gpu_architectures", lambda: [])
    monkeypatch.delenv("CUDA_ARCH", raising=False)
    codes = [flag.split(",code=")[1] for flag in script.cuda_flags("nvcc")]
    assert codes == ["[sm_75,compute_75]", "[sm_80,compute_80]", "[sm_90,compute_90]", "[sm_100,compute_100]"]


def tool(path, text):
    """A compiler that prints a text, whatever it is asked."""
    path.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    path.chmod(0o755)
    return str(path)


def test_another_nvcc_or_host_compiler_is_not_up_to_date(script, monkeypatch, tmp_path):
    command, hashes = [tool(tmp_path / "nvcc", "release 12.8"), "-O3"], []
    for nvcc, host in (("12.8", "12"), ("13.0", "12"), ("13.0", "14"), ("12.8", "12")):
        tool(tmp_path / "nvcc", f"release {nvcc}")
        monkeypatch.setenv("CXX", tool(tmp_path / "host", f"#define __GNUC__ {host}"))
        hashes.append(script.fingerprint(script.CUDA_KERNEL, command))
    assert len(set(hashes)) == 3 and hashes[0] == hashes[3]


@pytest.mark.parametrize("silent", ["nvcc", "host"])
def test_a_compiler_that_does_not_say_its_version_is_a_failure(script, monkeypatch, tmp_path, silent):
    nvcc, host = (tool(tmp_path / name, "" if name == silent else "release 12.8") for name in ("nvcc", "host"))
    monkeypatch.setenv("CXX", host)
    outcome, detail = script.make(script.CUDA_KERNEL, lambda kernel: [nvcc, "-O3"], None)
    assert outcome == "failed" and f"{silent} " in detail and "must print the compiler's version" in detail


@pytest.mark.skipif(not shutil.which("g++") or not Path("/proc/cpuinfo").exists(), reason="needs g++ and Linux")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks x86 processors")
@pytest.mark.parametrize("name", ["avx2", "fma", "avx512f", "avx512vbmi"])
def test_an_instruction_set_that_the_processor_lacks_is_named(script, tmp_path, name):
    source = tmp_path / "main.cpp"
    source.write_text(
        '#include <cstdio>\n#include "instructions.hpp"\n'
        'int main() { const char* name = kernels::missing_instructions(); puts(name ? name : "none"); }\n'
    )
    program = tmp_path / "program"
    script.run("g++", f"-I{script.SOURCE}", "-march=x86-64", f"-D__{name.upper()}__", source, "-o", program)
    has = re.search(rf"\b{name}\b", Path("/proc/cpuinfo").read_text())
    assert script.run(program) == ("none\n" if has else f"{name}\n")


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc")
def test_cuda_kernels_compile_where_nvcc_is_found(script):
    outcome, detail = script.make(script.CUDA_KERNEL, script.cuda_command, script.build_cuda)
    assert outcome in ("built", "up to date"), detail
