"""Signals that end a program."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.utils.command_line import readable_errors
from lib.utils.signals import RESEND_S, Stopped, StopSignals

ROOT = Path(__file__).resolve().parents[2]

SIGNAL = """
import os, signal, sys, time
from lib.utils.command_line import readable_errors
from lib.utils.signals import StopSignals
class Dying:
    def __del__(self): os.kill(os.getpid(), signal.SIGTERM)
def fork():
    os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
with readable_errors():
    fork() if sys.argv[1] == "fork" else Dying()
    time.sleep(10)
    print("lost")
"""


@pytest.mark.parametrize("place", ["fork", "del"])
def test_a_signal_is_not_lost_where_python_throws_exceptions_away(place):
    run = subprocess.run([sys.executable, "-c", SIGNAL, place], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (143, "", "stopped by a signal\n")


def test_a_signal_that_is_lost_just_before_the_end_stops_the_program_too():
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped), StopSignals():
        Dying()
    time.sleep(2 * RESEND_S)  # nothing comes after the end


def test_a_signal_that_a_library_in_c_trips_over_ends_the_script_as_any_other(capsys):
    with pytest.raises(SystemExit) as end, readable_errors(), StopSignals():
        try:
            raise Stopped(signal.SIGINT)
        except Stopped as stop:
            raise SystemError("<function PurePath.__str__> returned a result with an exception set") from stop
    assert (end.value.code, capsys.readouterr().err) == (130, "stopped by a signal\n")
