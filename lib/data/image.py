"""Reading one image file, with a message that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

# A JPEG ends with its end marker, after its last start of scan (a thumbnail inside has both as well).
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG", b"IEND"


def read_image(path: str | Path) -> np.ndarray:
    """The stored pixels of an image file.

    Grey images get three equal channels, 16-bit ones are scaled to 8, an alpha channel is left out. A
    rotation noted in EXIF data is not applied: annotations count the stored pixels.

    Args:
        path: a file of any format that OpenCV reads.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is no whole image.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(
            f"image {path} must be a file; there is none: check the folder of the images"
        ) from None
    # from memory, because cv2.imread fills up a truncated JPEG with grey and says nothing
    image = None
    if content.size:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f"image {path} must be readable; {_fault(content.tobytes())}: replace the file")
    return image


def _fault(content: bytes) -> str:
    """Why an image could not be decoded."""
    if not content:
        return "it is empty"
    is_cut_jpeg = content.startswith(JPEG_START) and content.rfind(JPEG_END) <= content.rfind(JPEG_SCAN)
    if is_cut_jpeg or (content.startswith(PNG_START) and PNG_END not in content):
        return f"it is truncated ({len(content)} bytes, the end is missing)"
    return f"its {len(content)} bytes are no image that OpenCV can decode"
