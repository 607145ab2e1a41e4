"""What the synthetic scenes are made of: outlines, textures, and how one of them is drawn.

An outline is a list of closed contours, each (N, 2) float64 xy around the origin with y down; contours inside of
others make holes (even-odd rule). Its scale does not matter: ``pose`` brings it to the wanted size.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

Outline = list[np.ndarray]

MAX_TILT = np.deg2rad(20)  # more would make an arrow or a cross another thing
MAX_STRETCH = 1.3  # of width against height
SUBPIXEL_BITS = 4  # of the coordinates that cv2.fillPoly takes


class Patch(NamedTuple):
    """A drawn thing: its pixels, not yet on an image.

    Attributes:
        color: (h, w, 3) float32 BGR, 0 .. 255.
        alpha: (h, w) float32 in 0 .. 1, the share of each pixel that the thing covers.
        left, top: where pixel (0, 0) of the patch lies in the image; maybe outside of it.
    """

    color: np.ndarray
    alpha: np.ndarray
    left: int
    top: int


def _circle(radius: float = 1.0, start: float = 0.0, stop: float = 2 * np.pi, points: int = 48) -> np.ndarray:
    angle = np.linspace(start, stop, points, endpoint=stop - start < 2 * np.pi)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _points(*xy: tuple[float, float]) -> np.ndarray:
    return np.array(xy, dtype=np.float64)


def _star(num_tips: int = 5, inner: float = 0.42) -> np.ndarray:
    angle = np.arange(2 * num_tips) * np.pi / num_tips - np.pi / 2
    radius = np.where(np.arange(2 * num_tips) % 2 == 0, 1.0, inner)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _cross(arm: float = 0.33) -> np.ndarray:
    corner = _points((-arm, -1), (arm, -1), (arm, -arm))
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])  # row vectors turn by 90 degrees
    return np.concatenate([corner @ np.linalg.matrix_power(quarter, k) for k in range(4)])


def _crescent() -> np.ndarray:
    back = _circle(1.0, 0.25 * np.pi, 1.75 * np.pi)
    hollow = _circle(0.85, 0.31 * np.pi, 1.69 * np.pi)[::-1] + (0.3, 0.0)
    return np.concatenate([back, hollow])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1)


class Shape(NamedTuple):
    """What makes a class: an outline, and the texture inside it."""

    outline: Outline
    texture: str


# Textures: whether a point takes the accent color, by its place (x, y) in the plane of the outline, -1 .. 1.
TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda x, y: np.zeros_like(x, dtype=bool),
    "stripes": lambda x, y: np.sin(3 * np.pi * y) > 0.2,
    "bars": lambda x, y: np.sin(3 * np.pi * x) > 0.2,
    "checks": lambda x, y: (np.floor(2 * x) + np.floor(2 * y)) % 2 == 0,
    "dots": lambda x, y: (1.5 * x % 1 - 0.5) ** 2 + (1.5 * y % 1 - 0.5) ** 2 < 0.07,
    "core": lambda x, y: x**2 + y**2 < 0.16,
    "halves": lambda x, y: x > 0,
}

_ARROW = _points((-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3))
_HOURGLASS = _points((-0.8, -1), (0.8, -1), (0.15, 0), (0.8, 1), (-0.8, 1), (-0.15, 0))
SHAPES: dict[str, Shape] = {
    "disc": Shape([_circle()], "dots"),
    "ring": Shape([_circle(), _circle(0.55)], "plain"),
    "triangle": Shape([_circle(1.0, -np.pi / 2, 1.5 * np.pi, 3)], "stripes"),
    "cross": Shape([_cross()], "plain"),
    "star": Shape([_star()], "core"),
    "square": Shape([_points((-1, -1), (1, -1), (1, 1), (-1, 1))], "checks"),
    "crescent": Shape([_crescent()], "plain"),
    "arrow": Shape([_ARROW], "bars"),
    "hourglass": Shape([_HOURGLASS], "stripes"),
    "heart": Shape([_heart()], "halves"),
}


def _blob(rng: np.random.Generator) -> Outline:
    count = int(rng.integers(7, 11))
    angle = np.arange(count) * 2 * np.pi / count
    radius = rng.uniform(0.35, 1.0, count)
    return [radius[:, None] * np.stack([np.cos(angle), 0.7 * np.sin(angle)], axis=1)]


def _rod(rng: np.random.Generator) -> Outline:
    thickness, turn = rng.uniform(0.08, 0.2), rng.uniform(0, np.pi)
    along = np.array([np.cos(turn), np.sin(turn)])
    across = thickness * np.array([-along[1], along[0]])
    return [np.stack([along + across, -along + across, -along - across, along - across])]


def _arc(rng: np.random.Generator) -> Outline:
    start, sweep, thickness = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.8) * np.pi, rng.uniform(0.1, 0.25)
    outer = _circle(1.0, start, start + sweep)
    return [np.concatenate([outer, outer[::-1] * (1 - thickness)])]


def _zigzag(rng: np.random.Generator) -> Outline:
    x = np.linspace(-1, 1, int(rng.integers(4, 7)))
    upper = np.stack([x, np.where(np.arange(len(x)) % 2, 0.3, -0.3)], axis=1)
    return [np.concatenate([upper, upper[::-1] + (0.0, rng.uniform(0.15, 0.3))])]


# Distractors, which belong to no class: drawn with the same colors, textures and sizes as objects.
CLUTTER: dict[str, Callable[[np.random.Generator], Outline]] = {
    "blob": _blob,
    "rod": _rod,
    "arc": _arc,
    "zigzag": _zigzag,
}


class Posed(NamedTuple):
    """An outline in pixels, and the (2, 3) map from there to the plane of the outline that it was made of."""

    outline: Outline
    to_plane: np.ndarray


def pose(outline: Outline, size: float, rng: np.random.Generator) -> Posed:
    """The outline tilted, stretched and scaled at random.

    Args:
        outline: any contours.
        size: longer side of the box around the result, pixels; its center is the origin.
        rng: source of tilt and stretch.
    """
    tilt, stretch = rng.uniform(-MAX_TILT, MAX_TILT), MAX_STRETCH ** rng.uniform(-0.5, 0.5)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    forward = turn @ np.diag([stretch, 1 / stretch])
    everything = np.concatenate(outline) @ forward.T
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = size / (high - low).max()
    placed = [(contour @ forward.T - (low + high) / 2) * scale for contour in outline]
    inverse = np.linalg.inv(forward)
    return Posed(placed, np.column_stack([inverse / scale, inverse @ (low + high) / 2]))


def render(
    outline: Outline,
    to_plane: np.ndarray,
    texture: str,
    fill: np.ndarray,
    accent: np.ndarray,
    center: np.ndarray,
) -> Patch:
    """Draws a posed outline, anti-aliased; cv2 makes it up to a quarter of a pixel wider.

    Args:
        outline: contours around the origin, in pixels, as ``pose`` gives them.
        to_plane: (2, 3) map from there to the texture's plane.
        texture: a key of TEXTURES.
        fill, accent: (3,) BGR, 0 .. 255.
        center: (2,) xy in the image, where the outline's origin goes.
    """
    everything = np.concatenate(outline) + center
    low, high = np.floor(everything.min(axis=0)).astype(int), np.ceil(everything.max(axis=0)).astype(int)
    width, height = np.maximum(high - low, 1)
    fine = 4 if max(width, height) <= 48 else 2  # samples per pixel and axis: small things need them most
    mask = np.zeros((height * fine, width * fine), np.uint8)
    # cv2 has the center of a pixel at whole numbers, we its corner: hence the half.
    contours = [((contour + center - low) * fine - 0.5) * (1 << SUBPIXEL_BITS) for contour in outline]
    contours = [np.round(contour).astype(np.int32) for contour in contours]
    cv2.fillPoly(mask, contours, 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    alpha = cv2.resize(mask, (int(width), int(height)), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    step = (np.arange(width * fine) + 0.5) / fine + low[0] - center[0]
    down = (np.arange(height * fine) + 0.5) / fine + low[1] - center[1]
    x = to_plane[0, 0] * step + to_plane[0, 1] * down[:, None] + to_plane[0, 2]
    y = to_plane[1, 0] * step + to_plane[1, 1] * down[:, None] + to_plane[1, 2]
    pattern = TEXTURES[texture](x, y).astype(np.float32)
    share = cv2.resize(pattern, (int(width), int(height)), interpolation=cv2.INTER_AREA)[..., None]
    return Patch((fill + share * (accent - fill)).astype(np.float32), alpha, int(low[0]), int(low[1]))
