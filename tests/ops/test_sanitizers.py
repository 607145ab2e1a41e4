"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: FUZZ_CASES=20000 for a long run.

They are compiled once, into build/sanitized, and again when their sources change.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.modules import ROOT, load_build

sys.path.insert(0, str(Path(__file__).parent))
import sanitized_kernels

CASES = int(os.environ.get("FUZZ_CASES", 100))
SANITIZERS = "address,undefined,float-cast-overflow"


def made(script, kernel):
    """The kernel's face as C++, as ``make`` wrote it; None where the face has changed since."""
    generated = ROOT / "build" / f"{kernel.name}.cpp"
    faces = [script.SOURCE / name for name in kernel.sources if name.endswith((".pyx", ".pxi"))]
    is_fresh = generated.exists() and all(face.stat().st_mtime < generated.stat().st_mtime for face in faces)
    return generated if is_fresh else None


@pytest.fixture(scope="module")
def sanitized():
    """(the folder of the kernels, the library to preload)"""
    script = load_build()
    script.BUILD = script.OUTPUT = ROOT / "build" / "sanitized"
    translate = script.translate
    script.translate = lambda kernel: made(script, kernel) or translate(kernel)  # Cython takes seconds
    script.BUILD.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("SANITIZE", SANITIZERS)
        make = lambda kernel: script.make(kernel, script.cpu_command, script.build_cpu)  # noqa: E731
        results = list(pool.map(make, script.KERNELS))
        for outcome, detail in results:
            if outcome == "skipped":
                pytest.skip(detail)
            assert outcome in ("built", "up to date"), detail
        asked = subprocess.run([*script.find_compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True)
    library = asked.stdout.strip()
    if not Path(library).is_file():
        pytest.skip("the compiler has no shared libasan.so to preload: use GCC")
    return script.BUILD, library


def run_sanitized(folder, library, *command):
    """A process whose memory is watched."""
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaves memory behind
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_no_input_makes_a_kernel_touch_foreign_memory(sanitized):
    result = run_sanitized(*sanitized, Path(sanitized_kernels.__file__), sanitized[0], CASES)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert result.stdout.startswith(f"{CASES} cases of 15 kernels, ")


def test_the_run_would_notice_a_read_beyond_an_array(sanitized):
    reads_too_far = "import ctypes, numpy as np; a = np.zeros(300); ctypes.string_at(a.ctypes.data, 2401)"
    result = run_sanitized(*sanitized, "-c", reads_too_far)
    assert result.returncode != 0 and "heap-buffer-overflow" in result.stderr


def test_each_kind_of_misshapen_input_occurs():
    seen = set()
    for make in (make for makers in sanitized_kernels.MODULES.values() for make in makers):
        for seed in range(60):
            given = sanitized_kernels.Inputs(seed)
            arguments = make(given)
            what = sanitized_kernels.spoil_(arguments, given.rng)
            seen |= {f"{make.__name__} {name}" for name in arguments if what.startswith(name)}
    assert {"postprocess deltas", "postprocess priors", "match labels", "mined_losses ratio", "nms keep"} <= seen
    assert np.isnan([value for values in sanitized_kernels.OUT_OF_RANGE.values() for value in values]).any()
