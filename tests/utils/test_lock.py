"""One run at a time in a folder."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lib.utils.lock import locked

ROOT = Path(__file__).resolve().parents[2]
HOLD = "import sys, time; from pathlib import Path; from lib.utils.lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_refused_by_name_and_a_dead_ones_lock_is_taken_over(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        message = (
            f"run must belong to one run at a time; it is in use by process {holder.pid} on {socket.gethostname()}"
        )
        with pytest.raises(ValueError, match=message), locked(folder):
            pass
        holder.kill()
    assert (folder / "lock").exists()  # it was killed
    with locked(folder):
        pass
    assert not (folder / "lock").exists()


def test_a_folder_that_stays_empty_does_not_stay(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "new"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "file").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
