"""Compiles the kernels that this machine can compile, beside lib/ops: ``python csrc/build.py``.

Variables: ARCH (CPU, default native; e.g. x86-64-v3 for a build that is to run elsewhere), CUDA_ARCH (e.g. 90 or
"80;90", default the GPUs of this machine, or where it has none, all that nvcc knows), CXX, NVCC, and SANITIZE (such as
address,undefined: CPU kernels that stop at a fault of memory; see tests/ops/test_sanitizers.py for how they are run).
A kernel whose sources, commands, compiler and processor have not changed since it was built, by their hash, is left
alone.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).resolve().parent
ROOT = SOURCE.parent
BUILD = ROOT / "build"
OUTPUT = ROOT / "lib" / "ops"
sys.path.insert(0, str(ROOT))

from lib.utils.digest import digest_of  # noqa: E402

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")  # asked here: threads that ask first at the same time may get None
# No contraction into fused multiply-adds: the kernels give the bits of lib/ops/reference.py.
CPU_FLAGS = ["-O3", "-std=c++17", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
OPENMP = "-fopenmp"
LINK_FLAGS = ["-shared"] + (["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else [])


class Kernel(NamedTuple):
    """One extension module: a Cython face over C++ headers or CUDA sources; no face: MEMORYVIEWS."""

    name: str
    face: str
    cores: tuple[str, ...]
    flags: tuple[str, ...] = ()  # after CPU_FLAGS

    @property
    def sources(self) -> tuple[str, ...]:
        """Their names in csrc/."""
        return (self.face, *self.cores) if self.face else ()


SHARED = ("guards.pxi", "instructions.hpp", "pair.hpp", "ranks.hpp", "simd.hpp")
# Cython's code for memoryviews, which takes longer to compile than a kernel: once, instead of inside of each of them.
MEMORYVIEWS = Kernel("_memoryviews", "", (), ("-O1",))
KERNELS = (
    MEMORYVIEWS,
    Kernel("_overlaps", "overlaps.pyx", ("overlaps.hpp", *SHARED)),
    Kernel("_nms", "nms.pyx", ("nms.hpp", "multiclass.hpp", "postprocess.hpp", "grid.hpp", "kept.hpp", *SHARED)),
    Kernel("_fusion", "fusion.pyx", ("fusion.hpp", "tree.hpp", "overlaps.hpp", *SHARED)),
    Kernel("_training", "training.pyx", ("mining.hpp", "matching.hpp", "overlaps.hpp", *SHARED)),
    # Their sums are long, and no reference fixes their last bits.
    Kernel("_depthwise", "depthwise.pyx", ("depthwise.hpp", "lanes.hpp", *SHARED), ("-ffp-contract=fast",)),
    Kernel("_pointwise", "pointwise.pyx", ("pointwise.hpp", "lanes.hpp", *SHARED), ("-ffp-contract=fast",)),
    Kernel("_batch_norm", "batch_norm.pyx", ("batch_norm.hpp", *SHARED), ("-ffp-contract=fast",)),
)
CUDA_KERNEL = Kernel(
    "_cuda", "cuda/faces.pyx", ("cuda/overlaps.cu", "cuda/nms.cu", "cuda/kernels.hpp", "cuda/launch.cuh", *SHARED)
)


class Skip(Exception):
    """Something that the machine lacks; the text says what and how to get it."""


class Failure(Exception):
    """A command that went wrong; the text is what it printed."""


def run(*command: str | Path) -> str:
    """Runs a command and gives what it prints; raises Failure with that if it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"{shlex.join(words)}\n{result.stdout}{result.stderr}")
    return result.stdout


@functools.cache
def accepts(compiler: tuple[str, ...], flag: str) -> bool:
    """Whether the compiler can build an empty program with ``flag``."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.cpp"
        source.write_text("int main() {}\n")
        command = [*compiler, flag, str(source), "-o", str(Path(folder) / "empty")]
        return subprocess.run(command, capture_output=True).returncode == 0


def find_compiler() -> list[str]:
    """The C++ compiler, as a command."""
    for name in filter(None, [os.environ.get("CXX"), "c++", "g++", "clang++"]):
        command = shlex.split(name)
        if shutil.which(command[0]):
            return command
    raise Skip("no C++ compiler found: install g++ or clang++, or set CXX")


def find_nvcc() -> str:
    """The CUDA compiler."""
    for name in filter(None, [os.environ.get("NVCC"), "nvcc", "/usr/local/cuda/bin/nvcc"]):
        if path := shutil.which(name):
            return path
    raise Skip("no CUDA compiler found: install the CUDA toolkit or set NVCC, if this machine has an NVIDIA GPU")


def python_include() -> list[str]:
    """The compiler flag for Python's headers."""
    include = sysconfig.get_paths()["include"]
    if not (Path(include) / "Python.h").exists():
        raise Skip(f"Python.h is not in {include}: install python3-dev for {sys.executable}")
    return [f"-I{include}", f"-I{SOURCE}"]


def cuda_flags(nvcc: str) -> list[str]:
    """The architectures to compile for: CUDA_ARCH, else those of this machine's GPUs that nvcc knows, else the first of
    each generation that nvcc knows, whose code all GPUs of the generation run. PTX alone would need a driver that is no
    older than nvcc."""
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True).stdout
    known = [number for number in listed.replace("compute_", "").split() if number.isdigit()] or ["75"]
    if chosen := os.environ.get("CUDA_ARCH"):
        numbers = chosen.replace(";", " ").replace(",", " ").replace("sm_", "").split()
    else:
        first = {int(number) // 10: number for number in sorted(known, key=int, reverse=True)}
        numbers = [number for number in gpu_architectures() if number in known] or sorted(first.values(), key=int)
    return [f"-gencode=arch=compute_{number},code=[sm_{number},compute_{number}]" for number in numbers]


def gpu_architectures() -> list[str]:
    """Those of this machine's GPUs, such as 90."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    asked = subprocess.run(query, capture_output=True, text=True)
    return sorted(set(asked.stdout.replace(".", "").split())) if asked.returncode == 0 else []


def translate(kernel: Kernel) -> Path:
    """Cython: the face as C++, under build/."""
    generated = BUILD / f"{kernel.name}.cpp"
    options = ["--cplus", "-3", "--fast-fail", "-X", "boundscheck=False", "-X", "wraparound=False", "-I", SOURCE]
    names = [f"--shared=lib.ops.{MEMORYVIEWS.name}", "--module-name", f"lib.ops.{kernel.name}", "-o", generated]
    sources = [*options, *names, SOURCE / kernel.face] if kernel.face else [f"--generate-shared={generated}"]
    try:
        run(sys.executable, "-m", "cython", *sources)
    except Failure as failure:
        if "No module named" in str(failure):
            raise Skip("Cython is not installed: pip install -r requirements.txt") from failure
        raise
    if not generated.exists():  # as some older releases do
        found = metadata.version("cython")
        raise Failure(f"Cython must write {generated}; {found} did not: pip install -r requirements.txt")
    return generated


def cpu_command(kernel: Kernel) -> list[str]:
    """The C++ command without its inputs and output; with OpenMP where the compiler has it."""
    arch, compiler, checked = os.environ.get("ARCH", "native"), find_compiler(), []
    if sanitizers := os.environ.get("SANITIZE"):
        checked = ["-O0", "-g1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
        if not accepts(tuple(compiler), checked[2]):
            raise Skip(f"{compiler[0]} cannot build with {checked[2]}: install its sanitizers, or set CXX")
    openmp = [OPENMP] if accepts(tuple(compiler), OPENMP) else []
    flags = [*CPU_FLAGS, *kernel.flags, *openmp, *checked, f"-march={arch}"]
    return [*compiler, *flags, *python_include(), *source_flags(kernel)]


def source_flags(kernel: Kernel) -> list[str]:
    """What the module is to tell of its sources, so that lib/ops/kernels.py knows when they have changed."""
    digest = digest_of(SOURCE / name for name in kernel.sources)
    return [f'-DSOURCES="{" ".join(kernel.sources)}"', f'-DSOURCES_DIGEST="{digest}"']


def build_cpu(kernel: Kernel, target: Path, command: list[str]) -> None:
    """One CPU kernel."""
    run(*command, translate(kernel), *LINK_FLAGS, "-o", target)


def build_cuda(kernel: Kernel, target: Path, command: list[str]) -> None:
    """The CUDA sources by nvcc, the face by the C++ compiler, one module of both with the static CUDA
    runtime."""
    nvcc = command[0]
    objects = []
    for source in (core for core in kernel.cores if core.endswith(".cu")):
        objects.append(BUILD / (Path(source).stem + ".cuda.o"))
        run(*command, "-c", SOURCE / source, "-o", objects[-1])
    face = BUILD / f"{kernel.name}.o"
    flags = [*CPU_FLAGS, *python_include(), *source_flags(kernel)]
    run(*find_compiler(), *flags, "-c", translate(kernel), "-o", face)
    run(nvcc, "-shared", *objects, face, "-o", target)


def cuda_command(kernel: Kernel) -> list[str]:
    """The nvcc command without its inputs and output."""
    nvcc = find_nvcc()
    return [
        nvcc,
        "-O3",
        "-std=c++17",
        "--fmad=false",
        "--expt-relaxed-constexpr",
        "-Xcompiler=-fPIC",
        *cuda_flags(nvcc),
    ]


def versions(kernel: Kernel, command: list[str]) -> list[str]:
    """What tells the compilers: the macros of the C++ compiler, which name its version and the processor that
    ``native`` stands for, as instructions of another one would end the process; for CUDA nvcc's version, too."""
    is_cuda = kernel is CUDA_KERNEL
    questions = [[*(find_compiler() if is_cuda else command), "-dM", "-E", "-x", "c++", os.devnull]]
    if is_cuda:
        questions.append([command[0], "--version"])
    answers = [run(*question) for question in questions]
    for question, answer in zip(questions, answers, strict=True):
        if not answer.strip():
            raise Failure(f"{shlex.join(question)} must print the compiler's version; it printed nothing")
    return answers


def fingerprint(kernel: Kernel, command: list[str]) -> str:
    """A hash of everything that the module is made of; Cython too, whose modules share code (MEMORYVIEWS)."""
    try:
        cython = metadata.version("cython")
    except metadata.PackageNotFoundError:
        cython = ""
    sources = digest_of(SOURCE / name for name in (*kernel.sources, "build.py"))
    parts = (command, versions(kernel, command), cython, sys.version, platform.machine(), sources)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def make(kernel: Kernel, find_command, build) -> tuple[str, str]:
    """Builds one kernel if it must be -> (what happened, detail)."""
    target = OUTPUT / (kernel.name + SUFFIX)
    stamp = BUILD / f"{target.name}.hash"
    try:
        command = find_command(kernel)
        wanted = fingerprint(kernel, command)
        if target.exists() and stamp.exists() and stamp.read_text() == wanted:
            return "up to date", target.name
        start = time.perf_counter()
        BUILD.mkdir(exist_ok=True)
        fresh = BUILD / target.name
        build(kernel, fresh, command)
        os.replace(fresh, target)  # never overwritten in place: a running process may have it mapped
        stamp.write_text(wanted)
        return "built", f"{target.name}, {time.perf_counter() - start:.1f} s"
    except Skip as reason:
        return "skipped", str(reason)
    except Failure as failure:
        return "failed", str(failure)


def main() -> int:
    """Builds all, prints the table; 1 if a CPU kernel failed to compile."""
    jobs = [(kernel, cpu_command, build_cpu) for kernel in KERNELS] + [(CUDA_KERNEL, cuda_command, build_cuda)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # a compiler may take 0.5 GB
        outcomes = pool.map(lambda job: make(*job), jobs)
        results = [(kernel, *outcome) for (kernel, *_), outcome in zip(jobs, outcomes, strict=True)]
    for kernel, outcome, detail in results:
        print(f"{outcome:<12}{kernel.face or 'memoryviews':<18}{detail}")
    if any(outcome in ("skipped", "failed") for kernel, outcome, _ in results if kernel in KERNELS):
        print("what is not built runs as slow torch code (lib/ops/reference.py)")
    elif OPENMP not in cpu_command(MEMORYVIEWS):
        print("without OpenMP: the kernels use one thread; set CXX to a compiler that takes -fopenmp, such as g++")
    if results[-1][1] in ("skipped", "failed"):
        print("without the CUDA kernels, NMS of boxes on a GPU runs on the CPU")
    return int(any(outcome == "failed" for kernel, outcome, _ in results if kernel in KERNELS))


if __name__ == "__main__":
    sys.exit(main())
