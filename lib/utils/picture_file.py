"""Pictures as files."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lib.utils.files import write_bytes


def write_picture(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Writes an image (H, W, 3) uint8 BGR, whole, in the format that the name of the file says.

    Raises:
        ValueError: OpenCV does not know the format, or it cannot hold the image.
        OSError: the file could not be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, image, options)
    except cv2.error as error:
        raise ValueError(f"{path} must have the suffix of an image format, such as .png; {error.err}") from None
    if not done:
        raise ValueError(f"{path} must have a format that can hold an image of {image.shape}: choose .png")
    write_bytes(path, content.tobytes(), is_synced=False)
