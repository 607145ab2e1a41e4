"""Files that are there whole, or as they were before."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a new file, which takes the place of ``path`` at the end; after an error that one is as before.

    Makes the folder if need be. What is at the path is on the disk when this ends. A link stays one, to the new
    file; a device or a pipe, such as /dev/stdout, is written itself.
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


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes plain values to a JSON file."""
    with replacing(Path(path)) as file:
        file.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
