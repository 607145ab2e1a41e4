"""Where images come from: a file, a folder, a glob pattern, a video, a stream or a camera."""

import glob
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.image import Reading, read_image
from lib.inference.edit_lists import shown_frames
from lib.utils.fields import text

log = logging.getLogger(__name__)
# fmt: off
VIDEO_SUFFIXES = {
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts", ".m2ts", ".ts", ".ogv", ".3gp",
    ".3g2", ".flv", ".f4v", ".vob", ".asf", ".mxf", ".dav", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg",
    ".mjpg", ".insv", ".divx", ".mod", ".rm", ".rmvb", ".m1v", ".m2v", ".y4m",
}
# fmt: on
FALLBACK_FPS = 25.0  # of a video or camera that does not say its own
CLOCK_FPS = 1000.0  # from it on, what is said is the rate of the clock: browsers record WebM in milliseconds
FIRST_FRAMES = 100  # whose times tell the rate of a video file that does not say it
# Frames that may be missing of those announced, where a format says only how long the video is
TOLERANCE = 2
EXACT_SUFFIXES = {".avi", ".mp4", ".mov", ".m4v", ".3gp", ".3g2"}  # whose files say how many frames they have


class Frame(NamedTuple):
    """One image of a source."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    name: str  # of its file, relative to the source's folder; of the video
    number: int  # from 0: of a video's frame, or of an image file in the order of the names
    fps: float | None = None  # frames per second of the video that it belongs to; None: of an image file


class Files:
    """The images and videos among some files, in their order; attributes as of ``Video``.

    Images are shown upright, as their EXIF data say. ``reading`` is how else they are read.
    """

    is_live = False

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self.reading = Reading()
        self.skipped: list[Path] = []
        self.folder = Path(os.path.commonpath([file.parent.absolute() for file in files]))
        self.names = [str(file.absolute().relative_to(self.folder)) for file in files]

    def __len__(self) -> int:
        """Images; 0, which is unknown, where there is a video among the files."""
        return 0 if any(map(is_video, self.files)) else len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        for number, (file, name) in enumerate(zip(self.files, self.names, strict=True)):
            try:
                text(name, "the name of a file")
                if is_video(file):
                    video = Video(str(file), name)
                    yield from video
                    self.skipped += [file] if video.skipped else []
                else:
                    yield Frame(read_image(file, reading=self.reading), name, number)
            except (ValueError, OSError) as error:
                self.skipped.append(file)
                log.warning("skipped: %s", error)


class Video:
    """The frames of a video file, a stream (its URL) or a camera (its index or device, such as /dev/video0).

    Attributes:
        names: what ``Frame.name`` may be: here the video's.
        files: those that are read, as far as they are known.
        is_live: whether frames come in real time, so that none should wait for others.
        skipped: what could not be read so far: here the video, if its end could not.
    """

    def __init__(self, source: str | int, name: str | None = None):
        text(str(source), "the name of a video")  # OpenCV would end the process
        self.skipped: list[Path] = []
        is_stream, path = "://" in str(source), Path(str(source).split("?")[0])
        is_camera = isinstance(source, int) or not (is_stream or Path(source).is_file())
        self.is_live, self.files = is_camera or is_stream, [] if is_camera or is_stream else [Path(str(source))]
        self.name = name or (f"camera{source}" if isinstance(source, int) else path.name.strip(".") or "stream")
        self.names, self._is_exact = [self.name], path.suffix.lower() in EXACT_SUFFIXES
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            kind = "camera" if is_camera else "video"
            raise ValueError(f"a {kind} must be one that OpenCV can open; got {source}: check it or its codec")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        has_rate = 0 < self.fps < CLOCK_FPS
        self._is_counted = has_rate or self._is_exact  # else the count is that of the clock's ticks
        if not has_rate:
            self.fps = FALLBACK_FPS if self.is_live else self._measured_fps(str(source))

    def _measured_fps(self, file: str) -> float:
        """Frames per second by the times of the first frames; the file is at its start again."""
        times = [self._capture.get(cv2.CAP_PROP_POS_MSEC) for _ in range(FIRST_FRAMES) if self._capture.grab()]
        self._capture.open(file)
        fps = 1000 * (len(times) - 1) / (times[-1] - times[0]) if times and times[-1] > times[0] else FALLBACK_FPS
        return fps if fps <= CLOCK_FPS else FALLBACK_FPS

    def __len__(self) -> int:
        """Frames that the file or stream announces; 0 if that is unknown."""
        return max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))) if self._is_counted else 0

    def __iter__(self) -> Iterator[Frame]:
        number, announced = 0, len(self)
        try:
            while (image := self._capture.read()[1]) is not None:
                yield Frame(image, self.name, number, self.fps)
                number += 1
        except cv2.error as error:  # of a frame that OpenCV cannot hold
            log.warning("%s: %s", self.name, error.err)
        finally:
            self._capture.release()
        # Only here has the source itself come to its end: nobody has stopped to read it.
        if self.is_live and not announced:
            self._skip(f"{self.name}: the stream ended or was interrupted after {number} frames; its length is unknown")
        elif number == 0 or number < announced and number < self._least(announced):
            self._skip(f"{self.name} announces {announced} frames, {number} could be read")

    def _least(self, announced: int) -> int:
        """Frames that can be read if the file is whole."""
        if not self._is_exact:
            return announced - TOLERANCE
        return shown_frames(self.files[0], announced) if self.files else announced

    def _skip(self, why: str) -> None:
        self.skipped.append(Path(self.name))
        log.warning("skipped: %s", why)


def is_video(file: str | Path) -> bool:
    """Whether a file is one by its suffix."""
    return Path(file).suffix.lower() in VIDEO_SUFFIXES


def natural_order(path: Path) -> list[tuple[list[str | int], str]]:
    """The key by which paths are sorted, folder by folder: numbers in names count by their value, 2 before 10."""
    words = ([int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", part)] for part in path.parts)
    return [(parts, name) for parts, name in zip(words, path.parts, strict=True)]


def open_source(source: str) -> Files | Video:
    """What ``source`` names: an image, a folder, a glob pattern, a video, a URL, or a camera by its index or device.

    Raises:
        FileNotFoundError, ValueError: there is no such source, or it is empty.
    """
    path = Path(source)
    if source.isdigit() and not path.exists():
        return Video(int(source))
    if "://" in source or (path.is_file() and is_video(path)):
        return Video(source)
    if path.is_dir():
        files = sorted((f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")), key=natural_order)
    elif path.is_file():
        files = [path]
    elif path.exists():  # a device or a pipe
        return Video(source)
    else:
        names = glob.glob(source, recursive=True)
        files = sorted((Path(name) for name in names if Path(name).is_file()), key=natural_order)
    if not files:
        raise FileNotFoundError(
            f"SOURCE must be an image, a folder with images, a pattern such as 'photos/*.jpg', a video, a URL or "
            f"a camera, by its index or as /dev/video0; got {source!r}, where there is no file"
        )
    return Files(files)
