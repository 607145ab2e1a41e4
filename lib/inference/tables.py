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
        rows: list[dict[str, Any]] = []
        for box, score, label in zip(*(value.tolist() for value in detections), strict=True):
            row = {"label": label, "name": self._names[label - 1], "score": round(score, 4)}
            rows.append({**row, "box": [round(x, 2) for x in box]})
        for row, number in zip(rows, numbers or (), strict=numbers is not None):
            row["track"] = number
        height, width = frame.image.shape[:2]
        entry = {"file": frame.name, "frame": frame.number, "height": height, "width": width, "detections": rows}
        self._json.append(("\n" if self._is_first else ",\n") + json.dumps(entry, ensure_ascii=False))
        lines = [[row["name"], row["score"], *row["box"], *([row["track"]] if "track" in row else [])] for row in rows]
        self._csv.append(csv_text([frame.name, frame.number, *line] for line in lines))
        self._is_first = False

    def close(self) -> None:
        """Ends the files."""
        self._json.close()
        self._csv.close()
