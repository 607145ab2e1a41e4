"""Files that are written whole: after a failure the old file is still there, unchanged."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a new file, which replaces ``path`` at the end; after an error ``path`` is as it was before.

    Makes the folder if it is not there. At the end the new file is safely on the disk. A link at ``path`` stays a
    link, and the file that it points to is replaced; a device or a pipe, such as /dev/stdout, is written directly.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file of bytes, such as a model."""
    with replacing(Path(path)) as file:
        file.write_bytes(content)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``path`` at the end; after an error ``path`` is as it was before.

    ``path`` must be new or an empty folder, else it is a FileExistsError.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(f"OUT must be new or an empty folder; got {path}, which exists: choose another")
    path = path.resolve()
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, when all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes plain values to a JSON file."""
    with replacing(Path(path)) as file:
        file.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
