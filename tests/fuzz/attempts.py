"""Gives mutated inputs to a reader: each is read, or refused in one short line that names the file or the field.

FUZZ_CASES=2000 FUZZ_SEED=1 python -m pytest -rP tests/fuzz tests/inference/test_onnx_model.py
tries that many of each reader, and prints what came of them.
"""

import os
import random
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CASES, SEED = int(os.environ.get("FUZZ_CASES", 30)), int(os.environ.get("FUZZ_SEED", 0))
MAX_SECONDS = 10  # of processor time
MAX_MEMORY = 1000  # MB, of all cases of a reader
LONGEST = 600  # characters of a message


class Target(NamedTuple):
    """``make(folder, rng)`` writes an input and gives its path; ``read(path, rng)`` gives it to the entry points.

    A message names the file, or one of ``names``.
    """

    make: Callable[[Path, random.Random], Path]
    read: Callable[[Path, random.Random], object]
    names: tuple[str, ...] = ()


class TooSlow(BaseException):
    """A case did not come to an end."""


def errors_of(target: Target, path: Path, rng: random.Random) -> list[Exception]:
    """What the entry points say against an input; other exceptions pass."""
    try:
        target.read(path, rng)
    except ExceptionGroup as group:
        return list(group.exceptions)
    except (ValueError, TypeError, OSError) as error:
        return [error]
    return []


def fault_of(target: Target, path: Path, errors: list[Exception]) -> str | None:
    """What is wrong with the messages of a refusal."""
    for error in errors:
        text = str(error)
        is_named = any(name in text for name in (path.name, str(path.parent), *target.names))
        if "\n" in text or len(text) >= LONGEST or not is_named:
            return f"message {text!r}: " + "".join(traceback.format_exception(error)[-3:])
    return None


def memory(key: str) -> int:
    """VmRSS or VmHWM (the most since the last reset) of this process, MB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1000 for line in lines if line.startswith(key))
    except (OSError, StopIteration):
        return 0


def run_target(name: str, target: Target, folder: Path) -> None:
    """Tries CASES inputs; fails with the first that is not read or refused as it should be."""

    def stop(*_: object) -> None:
        raise TooSlow

    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
    start, before, faults, refused, longest = memory("VmRSS"), signal.signal(signal.SIGALRM, stop), {}, 0, 0.0
    try:
        for case in range(CASES):
            rng, case_folder = random.Random(f"{name} {SEED} {case}"), folder / "case"
            case_folder.mkdir(exist_ok=True)
            path, began = target.make(case_folder, rng), time.process_time()
            signal.alarm(12 * MAX_SECONDS)
            try:
                with warnings.catch_warnings(action="error", category=RuntimeWarning):
                    errors = errors_of(target, path, rng)
                fault = fault_of(target, path, errors)
            except (Exception, TooSlow) as error:
                errors, fault = [], "".join(traceback.format_exception(error))
            took = time.process_time() - began
            refused, longest = refused + bool(errors), max(longest, took)
            if fault or took > MAX_SECONDS:
                faults[case] = fault or f"{took:.1f} s"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    grown = memory("VmHWM") - start
    counts = f"{CASES} inputs, {CASES - refused - len(faults)} read, {refused} refused, {len(faults)} faults"
    print(f"{name}, seed {SEED}: {counts}; longest {longest:.2f} s; at most {grown} MB")
    assert not faults, f"{len(faults)} of {CASES} cases of {name} with seed {SEED}: {next(iter(faults.items()))}"
    assert grown < MAX_MEMORY, f"{name} took {grown} MB"
