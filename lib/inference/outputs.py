"""Where detections go: pictures or a video with boxes, JSON, CSV, and a window."""

import csv
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from lib.data.image import IMAGE_SUFFIXES, write_picture
from lib.inference.sources import Frame
from lib.structures import Detections
from lib.utils.draw import draw_detections

log = logging.getLogger(__name__)
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
        self,
        folder: Path,
        names: Sequence[str],
        fps: float | None,
        min_score: float = 0.3,
        show: bool = False,
    ):
        self.folder, self.names, self.fps, self.min_score, self.show = folder, names, fps, min_score, show
        self.num_frames, self.num_detections = 0, 0
        self._video: cv2.VideoWriter | None = None

    def __enter__(self) -> Self:
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
        counts = (self.num_frames, self.num_detections, rate)
        log.info("%s frames %d detections %d fps %.1f", self.folder, *counts)

    def write(self, frame: Frame, detections: Detections) -> bool:
        """Writes one frame; False if the user closed the window."""
        keep = detections.scores >= self.min_score
        detections = Detections(*(value[keep] for value in detections))
        rows = self._rows(detections)
        size = dict(zip(("height", "width"), frame.image.shape[:2], strict=True))
        entry = {"file": frame.name, "frame": frame.number, **size, "detections": rows}
        self._json.write((",\n" if self.num_frames else "\n") + json.dumps(entry, ensure_ascii=False))
        for row in rows:
            self._csv.writerow([frame.name, frame.number, row["name"], row["score"], *row["box"]])
        self.num_frames, self.num_detections = self.num_frames + 1, self.num_detections + len(rows)
        drawn = draw_detections(frame.image, detections, self.names, self.min_score)
        self._write_picture(frame, drawn)
        return self._show(drawn)

    def _rows(self, detections: Detections) -> list[dict[str, Any]]:
        boxes = [[round(x, 2) for x in box] for box in detections.boxes.tolist()]
        scores, labels = detections.scores.tolist(), detections.labels.tolist()
        return [
            {"label": label, "name": self.names[label - 1], "score": round(score, 4), "box": box}
            for box, score, label in zip(boxes, scores, labels, strict=True)
        ]

    def _write_picture(self, frame: Frame, drawn: np.ndarray) -> None:
        target = self.folder / frame.name
        if self.fps is not None:
            self._write_frame(target.with_suffix(".mp4"), drawn, self.fps)
            return
        target = target if target.suffix.lower() in IMAGE_SUFFIXES else target.with_suffix(".png")
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

    def _show(self, drawn: np.ndarray) -> bool:
        if not self.show:
            return True
        cv2.imshow("detections", drawn)
        return cv2.waitKey(1) & 0xFF not in QUIT_KEYS


def has_display() -> bool:
    """Whether a window can be shown."""
    is_set = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return is_set or sys.platform in ("darwin", "win32")


def check_folder(folder: Path, source: str) -> None:
    """Refuses an output folder where pictures would replace those of the source."""
    if folder.resolve() in (Path(source).resolve(), Path(source).resolve().parent):
        raise ValueError(f"--out must be another folder than the source's; got {folder}: choose another")
