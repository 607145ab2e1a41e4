"""The command line that all scripts share."""

import errno
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.utils.runtime import (
    RESEND_S,
    Stopped,
    StopSignals,
    choose_device,
    parse_with_overrides,
    readable_errors,
    script_parser,
    seed_everything,
)

ROOT = Path(__file__).resolve().parents[2]

DOC = """Does one thing.

    python tools/one.py --out=x
    python tools/one.py --out=y

It writes
the file OUT.
"""


def test_help_has_a_usage_line_the_description_and_the_examples(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser = script_parser(DOC)
    parser.prog = "one.py"
    parser.add_argument("--out", help="where to write")
    assert parser.format_help().splitlines() == [
        "usage: one.py [-h] [options]",
        "",
        "Does one thing.",
        "",
        "It writes the file OUT.",
        "",
        "options:",
        "  -h, --help  show this help message and exit",
        "  --out OUT   where to write",
        "",
        "examples:",
        "    python tools/one.py --out=x",
        "    python tools/one.py --out=y",
    ]


def test_examples_may_end_the_docstring():
    shown = script_parser("Does one thing.\n\n    python tools/one.py --out=x\n").format_help()
    assert shown.endswith("\n\nexamples:\n    python tools/one.py --out=x\n")


def test_a_script_without_docstring_has_no_examples():
    assert "examples" not in script_parser(None).format_help()


def test_settings_may_stand_anywhere_among_the_options():
    parser = script_parser(DOC)
    parser.add_argument("source")
    parser.add_argument("--out")
    args = parse_with_overrides(parser, ["a", "b.c=1", "--out=x", "d=2"], "b.c=1")
    assert (args.source, args.out, args.overrides) == ("a", "x", ["d=2", "b.c=1"])


def test_options_of_several_values_take_no_settings():
    parser = script_parser("Does things.")
    parser.add_argument("--int8", nargs="?", const="")
    parser.add_argument("--ranges", nargs="+")
    argv = ["--int8", "data.val.images=x", "--ranges", "tiny=0:256", "a.yml", "model.head.type=ssd", "matcher={a: 1}"]
    args = parse_with_overrides(parser, argv, "b.c=1")
    assert (args.int8, args.ranges) == ("", ["tiny=0:256", "a.yml", "matcher={a: 1}"])
    assert args.overrides == ["data.val.images=x", "model.head.type=ssd"]
    assert "config settings, such as b.c=1; lib/config.py lists" in parser.format_help()


def test_settings_need_not_be_given(capsys):
    parser = script_parser(DOC)
    parser.add_argument("source", metavar="SOURCE")
    with pytest.raises(SystemExit):
        parse_with_overrides(parser, [], "b.c=1")
    assert capsys.readouterr().err.endswith("the following arguments are required: SOURCE\n")


SIGNAL = """
import os, signal, sys, time
from lib.utils.runtime import StopSignals, readable_errors
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


def test_an_error_of_the_system_in_a_thread_is_one_line(capsys):
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    before = threading.excepthook
    with readable_errors():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert capsys.readouterr().err == "error in the background: [Errno 28] No space left on device\n"
    assert threading.excepthook is before


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


def test_an_error_is_one_line(capsys):
    with pytest.raises(SystemExit), readable_errors():
        raise OSError("one\n  two")
    assert capsys.readouterr().err == "error: one two\n"


@pytest.mark.parametrize("name", ["mps", "meta", "gpu"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match=f"run.device must be auto, cpu, cuda or cuda:N; got '{name}'"):
        choose_device(name)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_not_every_generator_takes_is_refused(seed):
    with pytest.raises(ValueError, match=rf"a seed, such as run.seed, must be 0 to 2\*\*32 - 1; got {seed}"):
        seed_everything(seed)
