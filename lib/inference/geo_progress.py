"""What a search of a map has found so far, on the disk, so that a search that was ended goes on."""

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.inference.tile_rows import nothing
from lib.inference.tiles import WindowDetections
from lib.structures import Detections
from lib.utils.files import write_bytes, writing

log = logging.getLogger(__name__)
ROW = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("label", "<i8")])
CHUNK = 10_000  # detections that are in memory at once


class Progress:
    """The settled detections of a map, the boxes that wait for later windows, and how many rows of windows are done.

    They lie in two files of the folder, NAME.progress and NAME.found. The first is written whole after each row, and
    says how much of the second counts.

    Args:
        key: plain values that say what is searched, and how: with others the search begins anew.
    """

    def __init__(self, folder: Path, name: str, key: Any):
        self.file, self.found = folder / f"{name}.progress", folder / f"{name}.found"
        self._key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.rows, self.count, self.held = 0, 0, nothing()
        if self.file.exists():
            try:
                self._load()
            except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
                log.warning("%s is not used, the search begins anew: %s", self.file, error)
        with writing(self.found):
            self._file = self.found.open("r+b" if self.count else "wb")
            self._file.truncate(self.count * ROW.itemsize)
            self._file.seek(0, os.SEEK_END)

    def _load(self) -> None:
        with np.load(io.BytesIO(self.file.read_bytes()), allow_pickle=False) as saved:
            state = json.loads(str(saved["state"]))
            if state["key"] != self._key:
                raise ValueError("it is of another map, checkpoint or option")
            if self.found.stat().st_size < state["count"] * ROW.itemsize:
                raise ValueError(f"{self.found} is shorter than it was")
            held = WindowDetections(*(torch.from_numpy(saved[field]) for field in WindowDetections._fields))
        self.rows, self.count, self.held = state["rows"], state["count"], held

    def save(self, settled: Detections, held: WindowDetections, rows: int) -> None:
        """Adds detections, and says that so many rows of windows are done."""
        new = np.empty(len(settled.boxes), ROW)
        for field, values in zip(ROW.names or (), settled, strict=True):
            new[field] = values.numpy()
        with writing(self.found):
            self._file.write(new.tobytes())
            self._file.flush()
            os.fsync(self._file.fileno())
        self.rows, self.count, self.held = rows, self.count + len(new), held
        state = json.dumps({"key": self._key, "rows": rows, "count": self.count})
        content = io.BytesIO()
        np.savez(content, state=np.array(state), **{name: value.numpy() for name, value in held._asdict().items()})
        write_bytes(self.file, content.getvalue())

    def chunks(self) -> Iterator[np.ndarray]:
        """The settled detections, (n,) of the type ROW, from the top of the map to its bottom."""
        with self.found.open("rb") as file:
            while content := file.read(CHUNK * ROW.itemsize):
                yield np.frombuffer(content, ROW)

    def remove(self) -> None:
        """Removes the files: the search is done."""
        self._file.close()
        self.file.unlink(missing_ok=True)
        self.found.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves the files for another run."""
        self._file.close()
