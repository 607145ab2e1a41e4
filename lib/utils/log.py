"""Logging, one line for each event, to the terminal and to a file of the run; and progress bars."""

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm


class _Terminal(logging.Handler):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def setup_logging(file: Path | None = None, is_quiet: bool = False) -> None:
    """Sends the log to the terminal and, if given, appends it to ``file``; if quiet, only its warnings."""
    logging.raiseExceptions = False  # a full disk must not print a traceback for each line of the log
    handlers: list[logging.Handler] = [_Terminal()]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
    level, line = logging.WARNING if is_quiet else logging.INFO, "%(asctime)s %(message)s"
    logging.basicConfig(level=level, format=line, datefmt="%H:%M:%S", handlers=handlers, force=True)


def progress(iterable: Iterable[Any] | None, description: str, total: int | None = None, initial: int = 0) -> tqdm:
    """A progress bar with speed and time left; in a file or pipe, one line every half minute."""
    is_terminal = sys.stderr.isatty()
    return tqdm(
        iterable,
        desc=description,
        total=total,
        initial=initial,
        mininterval=0.2 if is_terminal else 30,
        leave=False,
        dynamic_ncols=is_terminal,
        disable=os.environ.get("RANK", "0") != "0",  # only the first of several processes shows it
    )
