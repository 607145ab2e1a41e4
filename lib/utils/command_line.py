"""What every script needs: its command line, and errors of one line that say what to change."""

import argparse
import contextlib
import inspect
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lib.utils.signals import StopSignals

SETTING = re.compile(r"[a-z]\w*(\.\w+)+=")  # a key of the config below a section, and its value
HOME = re.compile(r"^(--[\w-]+=)~/")


def script_parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a script, whose ``--help`` says what the script's docstring says.

    Blocks of the docstring that are indented or begin with ``python`` become the examples, below the options; its
    other paragraphs become the description, above them.
    """
    width = min(shutil.get_terminal_size().columns, 100) - 2
    blocks = inspect.cleandoc(doc or "").split("\n\n")
    examples = [block for block in blocks if block.startswith((" ", "python "))]
    prose = [textwrap.fill(" ".join(block.split()), width) for block in blocks if block not in examples]
    examples = [textwrap.indent(textwrap.dedent(block), "    ") for block in examples]
    return _Parser(
        description="\n\n".join(prose),
        epilog="examples:\n" + "\n\n".join(examples) if examples else None,
        formatter_class=_Help,
    )


class _Parser(argparse.ArgumentParser):
    """A parser that knows the home folder in ``--option=~/file``, which shells expand at the start of a word only."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args([HOME.sub(_expanded, text) for text in given], namespace)


def _expanded(home: re.Match[str]) -> str:
    return home[1] + os.path.expanduser("~/")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose usage is one short line: what must be given. The other options stand below it anyway."""

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any) -> str:
        if usage is not None:  # parse_intermixed_args asks for the usage and then gives it back
            return super()._format_usage(usage, actions, groups, prefix)
        actions, groups = list(actions), [group for group in groups if group.required]
        choices = {id(action) for group in groups for action in group._group_actions}
        needed = [a for a in actions if a.required or not a.option_strings or id(a) in choices]
        text: str = super()._format_usage(None, needed, groups, prefix)
        has_more = len(actions) > len(needed) + 1  # besides --help
        return text.replace(self._prog, f"{self._prog} [-h]{' [options]' * has_more}", 1)


def parse_with_overrides(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, example: str
) -> argparse.Namespace:
    """The arguments of a script that also takes settings of the config, ``key=value``, anywhere among them.

    The settings become ``overrides``, a list of texts; the help names ``example``. ``parser`` is changed in place.
    """
    text = f"config settings, such as {example}; lib/config.py lists all keys"
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=text)
    given = sys.argv[1:] if argv is None else argv
    # Taken out first: options of several values would take those that stand behind them.
    settings = [text for text in given if SETTING.match(text)]
    args = parser.parse_intermixed_args([text for text in given if not SETTING.match(text)])
    args.overrides = [*args.overrides, *settings]
    return args


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Ends a script with one clear line, and status 2, where the user can correct what is wrong.

    Such an error was raised by a check of this project, or by the operating system. One that comes from inside a
    library is a defect of this project, and keeps its traceback. SIGTERM ends a script as Ctrl-C does, so that what it
    is writing is left whole. An error of the operating system in a thread, such as a full disk, is one line too.
    """
    hook_before, threading.excepthook = threading.excepthook, _say_of_thread
    try:
        with StopSignals():
            yield
    except (ValueError, TypeError, FloatingPointError, OSError) as error:
        innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
        is_ours = innermost.is_relative_to(Path(__file__).resolve().parents[1])
        if not isinstance(error, OSError) and not is_ours:
            raise
        rank = os.environ.get("RANK")
        print(f"error{f' of process {rank}' if rank else ''}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped by the user", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))
    finally:
        threading.excepthook = hook_before


def _say_of_thread(args: threading.ExceptHookArgs) -> None:
    """What ``threading.excepthook`` does inside of ``readable_errors``."""
    if isinstance(args.exc_value, OSError):
        print(f"error in the background: {' '.join(str(args.exc_value).split())}", file=sys.stderr)
    else:
        threading.__excepthook__(args)
