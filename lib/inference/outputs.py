"""Where detections go: pictures or a video with boxes, JSON, CSV, and a window."""

import csv
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.image import write_picture
from lib.inference.sources import Frame
from lib.structures import Detections
from lib.utils.draw import draw_detections

log = logging.getLogger(__name__)
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
COLUMNS = ("file", "frame", "name", "score", "x1", "y1", "x2", "y2")
QUIT_KEYS = (ord("q"), 27)  # q and Escape close the window and end the demo


class Output:
    """Writes detections, frame by frame; whenever it ends, all earlier frames are completely on the disk.

    Args:
        folder: for the pictures or the video, ``detections.json`` and ``detections.csv``.
        names: of label 1, 2, ...
        fps: of the video to write; None: pictures.
        min_score: detections below it are left out.
        show: whether a window shows each frame.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], fps: float | None, min_score: float = 0.3, show: bool = False
    ):
        self.folder, self.names, self.fps, self.min_score, self.show = folder, names, fps, min_score, show
        self.num_frames, self.num_detections = 0, 0
        self._video: cv2.VideoWriter | None = None

    def __enter__(self) -> "Output":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._json = (self.folder / "detections.json").open("w", encoding="utf-8")
        self._csv_file = (self.folder / "detections.csv").open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._csv_file)
        self._csv.writerow(COLUMNS)
        self._json.write("[")
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._json.write("\n]\n")
        self._json.close()
        self._csv_file.close()
        if self._video is not None:
            self._video.release()
        if self.show:
            cv2.destroyAllWindows()
        rate = self.num_frames / max(time.perf_counter() - self._started, 1e-9)
        log.info("%s frames %d detections %d fps %.1f", self.folder, self.num_frames, self.num_detections, rate)

    def write(self, frame: Frame, detections: Detections) -> bool:
        """Writes one frame; False if the user closed the window."""
        keep = detections.scores >= self.min_score
        detections = Detections(*(value[keep] for value in detections))
        rows = self._rows(detections)
        height, width = frame.image.shape[:2]
        entry = {"file": frame.name, "frame": frame.number, "height": height, "width": width, "detections": rows}
        self._json.write((",\n" if self.num_frames else "\n") + json.dumps(entry, ensure_ascii=False))
        for row in rows:
            self._csv.writerow([frame.name, frame.number, row["name"], row["score"], *row["box"]])
        self.num_frames, self.num_detections = self.num_frames + 1, self.num_detections + len(rows)
        drawn = draw_detections(frame.image, detections, self.names)
        self._write_picture(frame, drawn)
        if not self.show:
            return True
        cv2.imshow("detections", drawn)
        return cv2.waitKey(1) & 0xFF not in QUIT_KEYS

    def _rows(self, detections: Detections) -> list[dict[str, Any]]:
        rows = []
        for box, score, label in zip(*(value.tolist() for value in detections), strict=True):
            row = {"label": label, "name": self.names[label - 1], "score": round(score, 4)}
            rows.append({**row, "box": [round(x, 2) for x in box]})
        return rows

    def _write_picture(self, frame: Frame, drawn: np.ndarray) -> None:
        target = self.folder / frame.name
        if self.fps is not None:
            self._write_frame(target.with_suffix(".mp4"), drawn, self.fps)
        else:
            target = target if target.suffix.lower() in PICTURES else target.with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_picture(target, drawn)

    def _write_frame(self, file: Path, drawn: np.ndarray, fps: float) -> None:
        size = drawn.shape[1::-1]
        if self._video is None:
            self._video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
            self._video_size = size
            if not self._video.isOpened():
                raise OSError(f"{file} could not be written: OpenCV has no mp4 encoder, or the disk is full")
        if size != self._video_size:  # the size of a stream may change
            drawn = cv2.resize(drawn, self._video_size)
        self._video.write(drawn)


def has_display() -> bool:
    """Whether a window can be shown."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("darwin", "win32")


def check_folder(folder: Path, source: str) -> None:
    """Refuses an output folder where pictures would replace those of the source."""
    if folder.resolve() in (Path(source).resolve(), Path(source).resolve().parent):
        raise ValueError(f"--out must be another folder than the source's; got {folder}: choose another")
