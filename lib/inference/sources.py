"""Where images come from: a file, a folder, a glob pattern, a video, a stream or a camera."""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.image import read_image

log = logging.getLogger(__name__)
VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts", ".ogv"}
FALLBACK_FPS = 25.0  # of a video or camera that does not say its own


class Frame(NamedTuple):
    """One image of a source."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    name: str  # of its file, relative to the source's folder; of the video
    number: int  # from 0: of a video's frame, or of an image file in the order of the names


class ImageFiles:
    """The images among some files, in their order; attributes as of ``Video``. ``skipped`` are files that are none."""

    fps, is_live = None, False

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self.skipped: list[Path] = []
        self.folder = Path(os.path.commonpath([file.parent.absolute() for file in files]))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        for number, file in enumerate(self.files):
            try:
                image = read_image(file)
            except (ValueError, OSError) as error:
                self.skipped.append(file)
                log.warning("skipped: %s", error)
            else:
                yield Frame(image, str(file.absolute().relative_to(self.folder)), number)


class Video:
    """The frames of a video file, a stream (its URL) or a camera (its index).

    Attributes:
        fps: frames per second, as the source says; None: these are no frames of a video.
        is_live: whether frames come in real time, so that none should wait for others.
        skipped: the files that could not be read so far: here the video, if its end could not.
    """

    def __init__(self, source: str | int):
        self.skipped: list[Path] = []
        is_camera = isinstance(source, int)
        self.is_live = is_camera or "://" in str(source)
        self.name = f"camera{source}" if is_camera else Path(str(source).split("?")[0]).name or "stream"
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            kind = "camera" if is_camera else "video"
            raise ValueError(f"a {kind} must be one that OpenCV can open; got {source}: check it or its codec")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or FALLBACK_FPS

    def __len__(self) -> int:
        """Frames that the file announces; 0 if that is unknown."""
        return 0 if self.is_live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Frame]:
        number, announced = 0, len(self)
        try:
            while (image := self._capture.read()[1]) is not None:
                yield Frame(image, self.name, number)
                number += 1
        finally:
            self._capture.release()
        if number < announced:
            self.skipped.append(Path(self.name))
            log.warning("skipped: %s announces %d frames, %d could be read", self.name, announced, number)


def open_source(source: str) -> ImageFiles | Video:
    """What ``source`` names: an image, a folder, a glob pattern, a video, a URL or the index of a camera.

    Raises:
        FileNotFoundError, ValueError: there is no such source, or it is empty.
    """
    path = Path(source)
    if source.isdigit():
        return Video(int(source))
    if "://" in source or (path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES):
        return Video(source)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    elif path.is_file():
        files = [path]
    else:
        files = sorted(Path(name) for name in glob.glob(source, recursive=True) if Path(name).is_file())
    if not files:
        raise FileNotFoundError(
            f"SOURCE must be an image, a folder with images, a pattern such as 'photos/*.jpg', a video, a URL or "
            f"the index of a camera; got {source!r}, where there is no file"
        )
    return ImageFiles(files)
