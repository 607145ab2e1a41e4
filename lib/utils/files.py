"""Files that are written whole: after a failure the old file is still there, unchanged."""

import contextlib
import errno
import functools
import itertools
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

FULL = {errno.ENOSPC, errno.EDQUOT}
TOO_LARGE = {errno.EFBIG}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
NEARLY_FULL = 4096  # bytes: with less room left, what a library says of a failed write means a full disk


class WriteError(OSError):
    """A file could not be written; the message says which and why."""


@contextlib.contextmanager
def replacing(path: Path, is_synced: bool = True) -> Iterator[Path]:
    """The path of a new file, which replaces ``path`` at the end; after an error ``path`` is as it was before.

    Makes the folder if it is not there. At the end the new file is safely on the disk, if ``is_synced``. A link at
    ``path`` stays a link, and the file that it points to is replaced; a device or a pipe, such as
    /dev/stdout, is written directly. The new file has the suffix of ``path``, by which many libraries choose the
    format. If the process is killed, the new file is removed when another process writes into the folder.

    Raises:
        WriteError: the file could not be written; the message says why, such as that the disk is full.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = path.resolve()
    temporary = path.with_name(f"{path.stem[:100]}.tmp{os.getpid()}.{_host()}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean_once(path.parent)
    try:
        yield temporary
        with writing(path):
            if is_synced:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
    except WriteError:
        raise
    except (OSError, RuntimeError) as error:  # libraries report a failed write as a RuntimeError
        if _is_of_writing(error, temporary):
            raise _unwritable(path, error) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Has an OSError of the block say that ``path`` could not be written, and why."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _is_of_writing(error: Exception, temporary: Path) -> bool:
    """Whether the error comes from writing the file, and not from what the block reads or computes."""
    numbers = FULL | FORBIDDEN | TOO_LARGE
    name = getattr(error, "filename", None) or temporary
    if getattr(error, "errno", None) in numbers and Path(os.fsdecode(name)).is_relative_to(temporary):
        return True
    return has_no_room(temporary.parent)


def has_no_room(folder: Path, needed: int = NEARLY_FULL) -> bool:
    """Whether the disk of a folder has less than so many bytes left."""
    return shutil.disk_usage(folder).free < needed


def _unwritable(path: Path, error: Exception) -> WriteError:
    """The error to show: what could not be written, why, and what is there now."""
    number = getattr(error, "errno", None)
    reason, advice = f"{getattr(error, 'strerror', None) or error}", "choose another place"
    if number in FULL or (not isinstance(error, OSError) and has_no_room(path.parent)):
        reason, advice = f"the disk is full ({reason})", "make room"
    elif number in TOO_LARGE:
        reason = f"it became too large for this disk or for this user's limit ({reason})"
    elif number in FORBIDDEN:
        reason = f"the folder or disk is read-only for this user ({reason})"
    text = f"{path} could not be written: {reason}; the file of that name, if any, is as before: {advice}"
    shown = WriteError(text)
    shown.errno = number
    return shown


def disk_full(path: Path, kept: str) -> WriteError:
    """The error of a stream of output that ends because the disk is full; ``kept`` says what of it remains."""
    error = WriteError(f"{path} could not be written any further: the disk is full; {kept}: make room")
    error.errno = errno.ENOSPC
    return error


def _host() -> str:
    """The name of this machine, as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"


def remove_leftovers(folder: Path) -> None:
    """Removes the unfinished files and folders that killed processes of this machine left in a folder."""
    name = re.compile(rf".*\.tmp(\d+)(\.{re.escape(_host())}(\.[^.]*)?)?")
    with contextlib.suppress(OSError):  # a folder that cannot be read has nothing to clean
        for entry in list(os.scandir(folder)):
            match = name.fullmatch(entry.name)
            if match is None or is_alive(int(match[1])):
                continue
            if entry.is_file(follow_symlinks=False):
                Path(entry.path).unlink(missing_ok=True)
            elif match[2] and entry.is_dir(follow_symlinks=False):  # of ``new_folder``
                shutil.rmtree(entry.path, ignore_errors=True)


_clean_once = functools.cache(remove_leftovers)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has the number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def try_to_write(targets: Mapping[str, Path | str | None]) -> None:
    """Raises WriteError, before work that takes long, where a file cannot be written at its end.

    ``targets``: what a user gives for another place, such as ``--json=FILE`` -> the file; None is passed over.
    """
    for choice, path in ((choice, Path(target)) for choice, target in targets.items() if target):
        if path.exists() and not path.is_file() and not path.is_dir():  # a device or a pipe
            continue
        path = path.resolve()
        try:
            with writing(path):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                path.parent.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=path.parent).close()
        except WriteError as error:
            raise WriteError(f"{error}, with {choice}") from None


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, with the ends of lines as they are in ``text``."""
    with replacing(Path(path)) as file:
        file.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: str | Path, content: bytes, is_synced: bool = True) -> None:
    """Writes a binary file; of many that are quickly made again, such as pictures, none need be ``is_synced``."""
    with replacing(Path(path), is_synced) as file:
        file.write_bytes(content)


def check_new_folder(path: Path) -> None:
    """Refuses a folder to write to that exists and is not empty."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(f"OUT must be new or an empty folder; got {path}, which exists: choose another")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``path`` at the end; after an error ``path`` is as it was before.

    ``path`` must be new or an empty folder, else it is a FileExistsError. What killed processes left is removed.
    """
    check_new_folder(path)
    path = path.resolve()
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}.{_host()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean_once(path.parent)
        temporary.mkdir()
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno and (isinstance(error, WriteError) or _is_of_writing(error, temporary)):
            raise _unwritable(path, OSError(error.errno, os.strerror(error.errno))) from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, when all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes plain values to a JSON file."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


class GrowingText:
    """A text file that grows and is whole after each ``append``, also if the process is killed in between.

    ``head`` begins it and ``tail`` ends it, such as the brackets of a JSON list. What stood there before is replaced.
    """

    def __init__(self, path: Path, head: str, tail: str = ""):
        self.path, self._tail = path, tail.encode()
        with writing(path):
            self._file = path.open("wb", buffering=0)
            self._end = 0  # where the tail begins
            self.append(head)

    def append(self, text: str) -> None:
        """Writes a piece of text; a failure, a full disk or a signal, leaves the file as it was before."""
        content = text.encode()
        try:
            with writing(self.path):
                self._write(content + self._tail)
        except BaseException:
            with contextlib.suppress(OSError):
                self._write(self._tail)  # over what it had taken already, so that there is room for it
            raise
        self._end += len(content)

    def _write(self, content: bytes) -> None:
        """Has the file end with ``content``, from the end of what is whole."""
        rest = memoryview(content)
        self._file.seek(self._end)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._file.truncate()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


def free_name(choices: Iterable[str], stem: str, suffix: str, taken: Set[str]) -> str:
    """The first of ``choices``, then of STEM.2SUFFIX, STEM.3SUFFIX, ..., that is not ``taken``: names in lower case
    (``casefold``), as there are disks that ignore it.
    """
    more = (f"{stem}.{number}{suffix}" for number in itertools.count(2))
    return next(name for name in itertools.chain(choices, more) if name.casefold() not in taken)


def refuse_sources(targets: Iterable[Path | str | None], sources: Iterable[Path | str | None]) -> None:
    """Raises ValueError if a file to be written is one of those to be read, by its own name, another, or a link."""
    read = {}
    for source in (path for path in sources if path):
        with contextlib.suppress(OSError):
            status = os.stat(source)
            read[status.st_dev, status.st_ino] = source
    for target in (path for path in targets if path):
        with contextlib.suppress(OSError):
            status = os.stat(target)
            if Path(target).is_file() and (status.st_dev, status.st_ino) in read:
                raise ValueError(
                    f"a file to write must not be one that is read; got {target}, which is "
                    f"{read[status.st_dev, status.st_ino]}: choose another name or folder"
                )
