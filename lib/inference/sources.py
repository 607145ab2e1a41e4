"""Where images come from: a file, a folder, a glob pattern, a video, a stream or a camera."""

import contextlib
import glob
import logging
import os
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.data.image import Reading, read_image
from lib.inference.edit_lists import shown_frames
from lib.utils.ahead import newest
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
# What may be missing of the frames announced where a format says only how long the video is, sound included: that of
# so many seconds, or such a share, whichever is more.
TOLERANCE_S, TOLERANCE = 2.0, 0.05
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

    def __iter__(self) -> Generator[Frame, None, None]:
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
        is_live: whether frames come in real time: those that come while another one is in use are dropped.
        skipped: what could not be read so far: here the video, if its end could not.
    """

    def __init__(self, source: str | int, name: str | None = None):
        text(str(source), "the name of a video")  # OpenCV would end the process
        self.skipped: list[Path] = []
        is_stream = "://" in str(source)
        is_camera = isinstance(source, int) or not (is_stream or Path(source).is_file())
        self.files = [] if is_camera or is_stream else [Path(str(source))]
        self.name = name or _name_of(source)
        self.names, self._is_exact = [self.name], Path(self.name).suffix.lower() in EXACT_SUFFIXES
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            kind, shown = "camera" if is_camera else "video", self.name if is_stream else source
            raise ValueError(f"a {kind} must be one that OpenCV can open; got {shown}: check it or its codec")
        has_end = is_stream and self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0  # a file at an address
        self.is_live = not (self.files or has_end or Path(str(source)).is_fifo())
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        has_rate = 0 < self.fps < CLOCK_FPS
        self._is_counted = has_rate or self._is_exact  # else the count is that of the clock's ticks
        if not has_rate:
            self.fps = self._measured_fps(str(source)) if self.files else FALLBACK_FPS

    def _measured_fps(self, file: str) -> float:
        """Frames per second by the times of the first frames; the file is at its start again."""
        times = [self._capture.get(cv2.CAP_PROP_POS_MSEC) for _ in range(FIRST_FRAMES) if self._capture.grab()]
        self._capture.open(file)
        fps = 1000 * (len(times) - 1) / (times[-1] - times[0]) if times and times[-1] > times[0] else FALLBACK_FPS
        return fps if fps <= CLOCK_FPS else FALLBACK_FPS

    def __len__(self) -> int:
        """Frames that the file or stream announces; 0 if that is unknown."""
        return max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))) if self._is_counted else 0

    def _read(self) -> np.ndarray | None:
        """The next frame; None at the end."""
        try:
            return self._capture.read()[1]
        except cv2.error as error:  # of a frame that OpenCV cannot hold
            log.warning("%s: %s", self.name, error.err)
            return None

    def __iter__(self) -> Generator[Frame, None, None]:
        number, announced = 0, len(self)
        try:
            with newest(self._read) if self.is_live else contextlib.nullcontext(self._read) as read:
                while (image := read()) is not None:
                    yield Frame(image, self.name, number, self.fps)
                    number += 1
        finally:
            self._capture.release()
        # Only here has the source itself come to its end: nobody has stopped to read it.
        if not self.files and not announced:
            self._skip(f"{self.name}: the stream ended or was interrupted after {number} frames; its length is unknown")
        elif number == 0 or number < announced and number < self._least(announced):
            self._skip(f"{self.name} announces {announced} frames, {number} could be read")
        elif number < announced and not self._is_exact:
            log.info("%s has %d frames; by the length that it states they would be %d", self.name, number, announced)

    def _least(self, announced: int) -> float:
        """Frames that can be read if the file is whole."""
        if not self._is_exact:
            return announced - max(TOLERANCE_S * self.fps, TOLERANCE * announced)
        return shown_frames(self.files[0], announced) if self.files else announced

    def _skip(self, why: str) -> None:
        self.skipped.append(Path(self.name))
        log.warning("skipped: %s", why)


def _name_of(source: str | int) -> str:
    """What a video is called in results and file names: of an address, its host and the last part of its path, but
    nothing that may be a password.
    """
    if isinstance(source, int):
        return f"camera{source}"
    _, is_address, address = source.partition("://")
    if not is_address:
        return Path(source).name.strip(".") or "stream"
    server, *path = re.split("[?#]", address)[0].split("/")
    host = re.sub(r":\d*$", "", server.rpartition("@")[2])
    host = re.sub(r"\W+", "-", host).strip("-")  # with dots, its end would be taken for a suffix
    last = path[-1] if path and re.fullmatch(r"[\w.-]+", path[-1]) else ""
    return "_".join(filter(None, [host, last.strip(".")])) or "stream"


def is_video(file: str | Path) -> bool:
    """Whether a file is one by its suffix."""
    return Path(file).suffix.lower() in VIDEO_SUFFIXES


def natural_order(path: Path) -> list[tuple[list[str | int], str]]:
    """The key by which paths are sorted, folder by folder: numbers in names count by their value, 2 before 10."""
    words = ([int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", part)] for part in path.parts)
    return [(parts, name) for parts, name in zip(words, path.parts, strict=True)]


def open_source(*sources: str) -> Files | Video:
    """What is named: an image, a folder, a glob pattern, a video, a URL, or a camera by its index or device; or several
    of them that are files.

    Raises:
        FileNotFoundError, ValueError: there is no such source, or it is empty, or one of several is no file.
    """
    lives = [source for source in sources if _is_no_file(source)]
    if lives and len(sources) > 1:
        raise ValueError(
            f"several SOURCEs must be files, folders or patterns; got {_name_of(lives[0])}: give a camera or an "
            "address alone"
        )
    source, path = sources[0], Path(sources[0])
    if lives:
        return Video(int(source) if source.isdigit() and not path.exists() else source)
    if len(sources) == 1 and path.is_file() and is_video(path):
        return Video(source)
    return Files(sorted({file for source in sources for file in _files_of(source)}, key=natural_order))


def _is_no_file(source: str) -> bool:
    """Whether a source is a camera's number, a device, a pipe or an address."""
    path = Path(source)
    if path.exists():
        return not (path.is_file() or path.is_dir())
    return source.isdigit() or "://" in source


def _files_of(source: str) -> list[Path]:
    """The files that a file, folder or pattern stands for."""
    path = Path(source)
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    elif path.is_file():
        files = [path]
    else:
        files = [Path(name) for name in glob.glob(source, recursive=True) if Path(name).is_file()]
    if not files:
        raise FileNotFoundError(
            f"SOURCE must be an image, a folder with images, a pattern such as 'photos/*.jpg', a video, a URL or "
            f"a camera, by its index or as /dev/video0; got {source!r}, where there is no file"
        )
    return files
