"""Detections as JSON and as CSV, whole after every frame."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.inference.sources import Frame
from lib.structures import Detections
from lib.utils.files import GrowingText
from lib.utils.table import csv_text

JSON, CSV = "detections.json", "detections.csv"
COLUMNS = ("file", "frame", "name", "score", "x1", "y1", "x2", "y2")


def detection_row(names: Sequence[str], box: Sequence[float], score: float, label: int) -> dict[str, Any]:
    """A detection as it stands in JSON."""
    return {"label": label, "name": names[label - 1], "score": round(score, 4), "box": [round(x, 2) for x in box]}


def frame_entry(name: str, number: int, size: Sequence[int], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A frame of ``size`` (height, width) and its detections as they stand in JSON."""
    return {"file": name, "frame": number, "height": size[0], "width": size[1], "detections": rows}


def csv_line(name: str, number: int, row: dict[str, Any]) -> str:
    """A detection of a frame as it stands in CSV."""
    track = [row["track"]] if "track" in row else []
    return csv_text([[name, number, row["name"], row["score"], *row["box"], *track]])


class Tables:
    """``detections.json`` and ``detections.csv`` of a folder.

    Args:
        names: of label 1, 2, ...
        has_tracks: whether there is a number of the track with each detection: the last column, the field ``track``.
    """

    def __init__(self, folder: Path, names: Sequence[str], has_tracks: bool = False):
        self._names, self._is_first = names, True
        self._json = GrowingText(folder / JSON, "[", "\n]\n")
        self._csv = GrowingText(folder / CSV, csv_text([COLUMNS + (("track",) if has_tracks else ())]))

    def append(self, frame: Frame, detections: Detections, numbers: Sequence[int] | None = None) -> None:
        """Adds the detections of a frame, with the numbers of their tracks if there are some."""
        values = zip(*(value.tolist() for value in detections), strict=True)
        rows = [detection_row(self._names, *value) for value in values]
        for row, number in zip(rows, numbers or (), strict=numbers is not None):
            row["track"] = number
        entry = frame_entry(frame.name, frame.number, frame.image.shape[:2], rows)
        self._json.append(("\n" if self._is_first else ",\n") + json.dumps(entry, ensure_ascii=False))
        self._csv.append("".join(csv_line(frame.name, frame.number, row) for row in rows))
        self._is_first = False

    def close(self) -> None:
        """Ends the files."""
        self._json.close()
        self._csv.close()
