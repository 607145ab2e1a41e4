"""Images of one white rectangle, and where it lies: what tests of geometry compare with boxes."""

import numpy as np

from lib.structures import Sample

SIZES = [(64, 96), (96, 64), (200, 131), (50, 310), (333, 500)]  # (height, width)
RECTANGLE = np.array([[0.25, 0.5, 0.5, 0.75]])  # x1, y1, x2, y2 in parts of an image


def sample_with_rectangle(height, width):
    """A black image with a white rectangle in whole pixels, and its box."""
    box = np.round(RECTANGLE * [width, height, width, height])
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box[0].astype(int)
    image[y1:y2, x1:x2] = 255
    return Sample(image, box.astype(np.float32), np.ones(1, np.int64), 0, (height, width))


def white_box(image):
    """Where the white rectangle of an image lies, to a fraction of a pixel: its middle lines' brightness, summed up."""
    light = image[..., 0] / 255.0
    rows, columns = light.max(axis=1), light.max(axis=0)
    sides = []
    for line in (columns, rows):
        middle = np.flatnonzero(line > 0.99)[[0, -1]]
        sides.append((middle[0] - line[: middle[0]].sum(), middle[1] + 1 + line[middle[1] + 1 :].sum()))
    return np.array([sides[0][0], sides[1][0], sides[0][1], sides[1][1]])
