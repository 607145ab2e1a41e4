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

import cv2
import numpy as np
import torch

from lib.inference.tile_rows import nothing
from lib.inference.tiles import WindowDetections
from lib.structures import Detections
from lib.utils.files import write_bytes, writing

PICTURE_SIDE = 2000  # pixels of the longer side of the picture of the whole map

log = logging.getLogger(__name__)
ROW = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("label", "<i8")])
STATE = ("progress", "found", "picture")  # suffixes of its files
CHUNK = 10_000  # detections that are in memory at once


def write_zeros(file: Path, length: int) -> None:
    """Makes a file of zeros that has all its room on the disk, as a mapped page without would end the process."""
    with file.open("wb") as target:
        for first in range(0, length, 2**20):
            target.write(bytes(min(2**20, length - first)))


class Progress:
    """The settled detections of a map, the boxes that wait for later windows, and how many rows of windows are done.

    They lie in files of the folder: NAME.progress is written whole after each row, and says how much of NAME.found
    counts. NAME.picture holds the pixels of a small picture of the map, which grows with the rows.

    Args:
        size: (height, width) of the map.
        key: plain values that say what is searched, and how: with others the search begins anew.
    """

    def __init__(self, folder: Path, name: str, size: tuple[int, int], key: Any):
        self.file, self.found, self._pixels = (folder / f"{name}.{kind}" for kind in STATE)
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
        self._scale = min(1.0, PICTURE_SIDE / max(size))
        height, width = (max(1, round(side * self._scale)) for side in size)
        with writing(self._pixels):
            if not self.rows:
                write_zeros(self._pixels, height * width * 3)
            self.picture = np.memmap(self._pixels, np.uint8, "r+", shape=(height, width, 3))

    def paint(self, window: np.ndarray, image: np.ndarray) -> None:
        """Puts the pixels of a window xyxy of the map into the picture; where nothing is put it is black."""
        x1, y1, x2, y2 = np.rint(window * self._scale).astype(int).tolist()
        place = self.picture[y1:y2, x1:x2]
        if place.size:
            place[:] = cv2.resize(image, place.shape[1::-1], interpolation=cv2.INTER_AREA)

    def _load(self) -> None:
        with np.load(io.BytesIO(self.file.read_bytes()), allow_pickle=False) as saved:
            state = json.loads(str(saved["state"]))
            if state["key"] != self._key:
                raise ValueError("it is of another map, checkpoint or option")
            if not self._pixels.exists() or self.found.stat().st_size < state["count"] * ROW.itemsize:
                raise ValueError(f"{self.found} is shorter than it was, or the picture is missing")
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
        with writing(self._pixels):
            self.picture.flush()
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
        for file in (self.file, self.found, self._pixels):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves the files for another run."""
        self._file.close()
