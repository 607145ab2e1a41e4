"""Whatever stands in a file of somebody else: it is read, or refused in one short line that names the file.

FUZZ_CASES=20000 FUZZ_SEED=1 python -m pytest tests/fuzz
"""

import os
import random
import signal
import time
import traceback

import pytest
from fuzz.targets import TARGETS

CASES = int(os.environ.get("FUZZ_CASES", 0)) // len(TARGETS) or 30  # of each target
SEED = int(os.environ.get("FUZZ_SEED", 0))
MAX_SECONDS = 10  # of processor time
LONGEST = 600  # characters of a message


class TooSlow(BaseException):
    """A case did not come to an end."""


def fault_of(target, folder, rng) -> str | None:
    """What is wrong with how an input is read."""
    path, start = target.make(folder, rng), time.process_time()
    try:
        target.read(path, rng)
    except ExceptionGroup as group:
        errors = list(group.exceptions)
    except (ValueError, TypeError, OSError) as error:
        errors = [error]
    except (Exception, TooSlow) as error:
        return "".join(traceback.format_exception(error))
    else:
        errors = []
    for error in errors:
        text = str(error)
        if "\n" in text or len(text) >= LONGEST or not (path.name in text or str(folder) in text):
            return f"message {text!r}: " + "".join(traceback.format_exception(error)[-3:])
    took = time.process_time() - start
    return f"{took:.1f} s" if took > MAX_SECONDS else None


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_broken_file_is_read_or_refused_in_one_line_that_names_it(name, tmp_path):
    def stop(*_):
        raise TooSlow

    before, faults = signal.signal(signal.SIGALRM, stop), {}
    try:
        for case in range(CASES):
            signal.alarm(12 * MAX_SECONDS)
            folder = tmp_path / "case"
            folder.mkdir(exist_ok=True)
            if fault := fault_of(TARGETS[name], folder, random.Random(f"{name} {SEED} {case}")):
                faults[case] = fault
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not faults, (
        f"{len(faults)} of {CASES} cases of {name}, the first with seed {SEED}: {next(iter(faults.items()))}"
    )
