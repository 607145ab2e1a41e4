"""train.py in a process of its own that waits before a step, so that a signal always comes in the middle of the run.

Run as a script it is that process: FLAGS STEP and the arguments of train.py.
"""

import itertools
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

from lib.engine.learner import Learner
from tests.engine.conftest import ROOT, leave_pictures_out


def run_environment() -> dict[str, str]:
    """The environment of a process that imports the project and its tests."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start_paused(folder, step, *arguments, launcher=(), processes=1) -> subprocess.Popen:
    """Starts train.py; returns when all its processes wait in a step, counted from 0. ``go`` lets them take it."""
    flags = folder / "flags"
    flags.mkdir()
    command = [sys.executable, *launcher, __file__, str(flags), str(step), *arguments]
    options = {"cwd": ROOT, "env": run_environment(), "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **options, start_new_session=True)
    deadline = time.monotonic() + 300
    while len(list(flags.glob("ready*"))) < processes and process.poll() is None:
        assert time.monotonic() < deadline, "the run did not come to its first steps"
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1]
    return process


def go(folder) -> None:
    """Lets the processes take the step that they wait in."""
    (folder / "flags" / "go").touch()


def run_paused(flags: Path, pause_at: int) -> None:
    """Runs train.py as a script, with a Learner that waits in a step."""
    count, step = itertools.count(), Learner.step

    def paused(self, *arguments):
        if next(count) == pause_at:
            (flags / f"ready{self.world.rank}").touch()
            while not (flags / "go").exists():
                time.sleep(0.01)
        return step(self, *arguments)

    Learner.step = paused
    leave_pictures_out()
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


if __name__ == "__main__":
    _, flags_folder, pause, *train_arguments = sys.argv
    sys.argv = ["train.py", *train_arguments]
    run_paused(Path(flags_folder), int(pause))
