"""One process at a time in a folder."""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from lib.utils.files import writing

log = logging.getLogger(__name__)
NAME = "lock"


@contextlib.contextmanager
def locked(folder: Path, choice: str = "run.name=...") -> Iterator[None]:
    """Holds a folder for this process; makes it if it is not there, and removes it if it stays empty.

    The lock ends with the process, however that ends, so that nothing is left to clean up. Processes that it starts do
    not have it. ``choice`` is what a second process is told to choose.

    Raises:
        ValueError: another process holds the folder; the message says which.
    """
    is_new = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _take(folder, choice)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / NAME).unlink(missing_ok=True)
        os.close(descriptor)
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _take(folder: Path, choice: str) -> int:
    """The open lock file, which holds our number and host."""
    file = folder / NAME
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                time.sleep(0.05)  # it has just taken the lock, and may not have written its name yet
                holder = os.read(descriptor, 1000).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise ValueError(
                    f"{folder} must belong to one run at a time; it is in use by {holder}: wait for it, end it, or "
                    f"choose {choice}"
                ) from None
            log.warning("%s cannot be locked (%s): start no second run in it", folder, error)
        if _is_same(descriptor, file):  # and not one that its holder has removed meanwhile
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def _is_same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False
