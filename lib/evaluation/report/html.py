"""HTML pages from the templates beside this file. A page is one file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.utils.template import render


def page(template: str, title: str, **values: Any) -> str:
    """A whole document.

    Args:
        template: name of a file in ``templates``.
        title: of the document, as text.
        values: what else the template shows; figures are those of ``plots``.
    """
    return render(Path(__file__).parent / "templates" / template, title=title, **values)


def image_source(image: np.ndarray) -> str:
    """A (H, W, 3) uint8 BGR image as the ``src`` of an ``img``."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
