"""The command line that all scripts share."""

import errno
import threading
from pathlib import Path

import pytest

from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser

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


def test_the_home_folder_is_known_in_an_option(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    parser = script_parser("Does one thing.")
    parser.add_argument("--out")
    parser.add_argument("image")
    args = parse_with_overrides(parser, ["a~/b.png", "--out=~/runs/x", "data.augment=none"], "a.b=1")
    assert (args.image, args.out, args.overrides) == ("a~/b.png", "/home/ann/runs/x", ["data.augment=none"])


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


def test_an_error_is_one_line(capsys):
    with pytest.raises(SystemExit), readable_errors():
        raise OSError("one\n  two")
    assert capsys.readouterr().err == "error: one two\n"
