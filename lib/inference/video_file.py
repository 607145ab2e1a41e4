"""A video that is written whole."""

from pathlib import Path

import cv2
import numpy as np

from lib.utils.files import disk_full, has_no_room, replacing

ROOM = 1 << 16  # bytes of the disk that stay free for the end of the file, and for each frame INDEX more
INDEX = 64


class VideoFile:
    """An mp4 file, under another name until ``close``. It is closed after an error as well: its frames are whole.

    Args:
        size: (width, height) of the video; other frames are resized to it, as the size of a stream may change.
    """

    def __init__(self, file: Path, fps: float, size: tuple[int, int]):
        self.file, self.size, self.num_frames = file, size, 0
        self._replacing = replacing(file, is_synced=False)
        self._temporary = self._replacing.__enter__()
        self._writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            self._give_up()
            if has_no_room(file.parent):
                raise disk_full(file, "there is no video")
            raise OSError(f"{file} could not be written: OpenCV has no encoder for mp4 of {size[0]}x{size[1]} pixels")

    def write(self, drawn: np.ndarray) -> None:
        """Adds a frame (H, W, 3) uint8 BGR; an OSError if the disk is nearly full: OpenCV would not say so."""
        if has_no_room(self._temporary.parent, ROOM + INDEX * self.num_frames + drawn.nbytes // 2):
            kept = f"its first {self.num_frames} frames are kept" if self.num_frames else "there is no video"
            raise disk_full(self.file, kept)
        if drawn.shape[1::-1] != self.size:
            drawn = cv2.resize(drawn, self.size)
        self._writer.write(drawn)
        self.num_frames += 1

    def close(self) -> None:
        """Ends the file and gives it its name; an OSError if it cannot be read to its end."""
        self._writer.release()
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
            raise OSError(f"{self.file} could not be written: its encoder left {count} of {self.num_frames} frames")
        self._replacing.__exit__(None, None, None)

    def _give_up(self) -> None:
        """Removes what was written."""
        error = GeneratorExit()
        self._replacing.__exit__(type(error), error, None)
