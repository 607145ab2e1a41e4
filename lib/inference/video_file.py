"""A video that is written whole: H.264, which browsers play, where PyAV is installed."""

import functools
import logging
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from lib.utils.files import disk_full, has_no_room, replacing
from lib.utils.optional import MissingPackage, optional_package

log = logging.getLogger(__name__)
ROOM = 1 << 16  # bytes of the disk that stay free for the end of the file, and for each frame INDEX more
INDEX = 64
NTSC = Fraction(1000, 1001)  # of 30, 60 or 24 frames per second is the rate of 29.97, 59.94 or 23.976
# Each frame leaves the encoder at once: those that are written are all there after an error, and none wait in memory.
# On a drawn video it is as fast as OpenCV's MPEG-4 and takes a fifth of its bytes.
X264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}
BT709, LIMITED = 1, 1  # FFmpeg's numbers of the colors and of their range, which the file names


class VideoFile:
    """An mp4 file, under another name until ``close``. It is closed after an error as well: its frames are whole.

    It is H.264 with 4:2:0 colors, for which an odd width or height gets one more column or row, a copy of the last.
    Where PyAV is missing, it is MPEG-4 part 2, which no browser plays, and a warning says so once.

    Args:
        fps: frames per second, such as 29.97, for which the file says 30000/1001.
        size: (width, height) of the video; other frames are resized to it, as the size of a stream may change.
    """

    def __init__(self, file: Path, fps: float, size: tuple[int, int]):
        self.file, self.size, self.num_frames = file, size, 0
        self._replacing = replacing(file, is_synced=False)
        self._temporary = self._replacing.__enter__()
        av = _pyav()
        try:
            self._encoder = _H264(av, self._temporary, fps, size) if av else _MPEG4(self._temporary, fps, size)
        except (OSError, ValueError) as error:
            self._give_up()
            if has_no_room(file.parent):
                raise disk_full(file, "there is no video") from None
            raise OSError(
                f"{file} could not be written: there is no encoder for mp4 of {size[0]}x{size[1]} pixels ({error})"
            ) from None

    def write(self, drawn: np.ndarray) -> None:
        """Adds a frame (H, W, 3) uint8 BGR; an OSError if the disk is nearly full: OpenCV would not say so."""
        if has_no_room(self._temporary.parent, ROOM + INDEX * self.num_frames + drawn.nbytes // 2):
            kept = f"its first {self.num_frames} frames are kept" if self.num_frames else "there is no video"
            raise disk_full(self.file, kept)
        if drawn.shape[1::-1] != self.size:
            drawn = cv2.resize(drawn, self.size)
        try:
            self._encoder.write(drawn)
        except OSError as error:
            reason, count = error.strerror or error, self.num_frames
            raise OSError(f"{self.file} could not be written any further: {reason}; it has {count} frames") from None
        self.num_frames += 1

    def close(self) -> None:
        """Ends the file and gives it its name; an OSError if it cannot be read to its end."""
        try:
            self._encoder.close()
            reason = "its encoder left"
        except OSError as error:
            reason = f"{error}; there are"
        if not self.num_frames:
            self._give_up()
            return
        written = cv2.VideoCapture(str(self._temporary))
        count = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if count < self.num_frames:
            is_full = has_no_room(self._temporary.parent, ROOM)
            self._give_up()
            if is_full:
                raise disk_full(self.file, "there is no video")
            raise OSError(f"{self.file} could not be written: {reason} {count} of {self.num_frames} frames")
        self._replacing.__exit__(None, None, None)

    def _give_up(self) -> None:
        """Removes what was written."""
        error = GeneratorExit()
        self._replacing.__exit__(type(error), error, None)


def frame_rate(fps: float) -> Fraction:
    """The rate that a number of frames per second stands for: 29.97 is 30000/1001, 12.5 is 25/2."""
    whole = round(fps / NTSC)
    is_ntsc = whole % 6 == 0 and abs(fps - whole * NTSC) < 1e-3 < abs(fps - round(fps))
    return whole * NTSC if is_ntsc else Fraction(fps).limit_denominator(1000)


@functools.cache  # one warning
def _pyav() -> ModuleType | None:
    """PyAV with its encoder of H.264; None, and a warning, where it is missing."""
    try:
        av = optional_package("av", "a video that browsers play")
    except MissingPackage as error:
        log.warning("videos are written as MPEG-4 part 2, which no browser plays: %s", error)
        return None
    if "libx264" not in av.codecs_available:
        log.warning("videos are written as MPEG-4 part 2, which no browser plays: PyAV has no libx264 here")
        return None
    return av


class _H264:
    """Writes H.264 by PyAV, with the index at the start of the file, so that a browser plays it while it loads."""

    def __init__(self, av: ModuleType, file: Path, fps: float, size: tuple[int, int]):
        self._av = av
        self._container = av.open(str(file), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=frame_rate(fps), options=X264)
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        try:
            context.open()
        except OSError:
            self._container.close()
            raise

    def write(self, drawn: np.ndarray) -> None:
        height, width = drawn.shape[:2]
        if height % 2 or width % 2:
            drawn = cv2.copyMakeBorder(drawn, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = self._av.VideoFrame.from_ndarray(drawn, format="bgr24")
        converted = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED)
        self._container.mux(self._stream.encode(converted))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()


class _MPEG4:
    """Writes MPEG-4 part 2 by OpenCV."""

    def __init__(self, file: Path, fps: float, size: tuple[int, int]):
        self._writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            raise OSError("OpenCV cannot open it")

    def write(self, drawn: np.ndarray) -> None:
        self._writer.write(drawn)

    def close(self) -> None:
        self._writer.release()
