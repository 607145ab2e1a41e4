"""Synthetic scenes: a varied background, overlapping objects and clutter, then blur and noise."""

from typing import NamedTuple

import cv2
import numpy as np

from lib.data.synthetic.shapes import CLUTTER, SHAPES, TEXTURES, Patch, pose, render

SMALL = 32  # pixels: the size that most objects stay under
SMALL_SHARE = 0.8  # how many of them
MAX_HIDDEN = (
    0.4  # share of an object that others, or the image's border, may hide, so that it can be detected
)
MIN_CONTRAST = 40  # between a thing and what is under it, in gray levels of 255
NUM_TRIES = 8  # for a place, or a color
CLUTTERED = -1  # owner of the pixels under clutter


class SceneOptions(NamedTuple):
    """What scenes are drawn.

    Attributes:
        num_classes: how many of SHAPES occur, from the first.
        image_sizes: least and greatest height, and width, pixels.
        object_sizes: least and greatest longer side of an object, pixels, but at most 0.6 of the image's shorter
            side; four of five stay under 32.
        objects, clutter: least and greatest number in an image. Clutter belongs to no class.
    """

    num_classes: int = 8
    image_sizes: tuple[int, int] = (240, 480)
    object_sizes: tuple[float, float] = (6, 150)
    objects: tuple[int, int] = (0, 14)
    clutter: tuple[int, int] = (4, 16)


class Scene(NamedTuple):
    """A drawn image with its objects.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        boxes: (G, 4) float64 xyxy, tight around the visible part of each object, pixels of ``image``.
        labels: (G,) int64, 1 .. num_classes, in the order of SHAPES.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def _clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) float32 around zero: coarse color and finer gray variation."""
    total = np.zeros((height, width, 3), np.float32)
    for cells, amplitude in ((3, 22), (9, 10), (32, 6)):
        channels = 3 if cells < 32 else 1
        grid = rng.standard_normal((cells, cells, channels), np.float32) * (amplitude * rng.uniform(0.2, 1.0))
        fine = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        total += fine.reshape(height, width, channels)
    return total


def _lines(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draws floorboards, tiles or a fence onto ``image``: periodic edges that are not objects."""
    height, width = image.shape[:2]
    period, color = int(rng.integers(14, 60)), rng.integers(40, 216, 3).tolist()
    thickness = int(rng.integers(1, 3))
    slope = float(rng.uniform(-0.3, 0.3))
    if rng.random() < 0.6:
        for x in range(-height, width + height, period):
            cv2.line(image, (x, 0), (int(x + slope * height), height), color, thickness, cv2.LINE_AA)
    if rng.random() < 0.6:
        for y in range(-width, height + width, period):
            cv2.line(image, (0, y), (width, int(y - slope * width)), color, thickness, cv2.LINE_AA)


def _fields(rng: np.random.Generator, image: np.ndarray) -> None:
    """Paints a few large flat areas with straight borders onto ``image``."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(2, 6))):
        corners = rng.uniform(-0.3, 1.3, (4, 2)) * (width, height)
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(image, hull, rng.integers(30, 226, 3).tolist(), cv2.LINE_AA)


def background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: clouds over a plain, a lined or a patched ground."""
    image = np.full((height, width, 3), rng.integers(50, 206, 3), np.uint8)
    kind = rng.choice(["plain", "fields", "lines"])
    if kind == "fields":
        _fields(rng, image)
    elif kind == "lines":
        _lines(rng, image)
    return np.clip(image + _clouds(rng, height, width), 0, 255).astype(np.uint8)


class Canvas:
    """An image that things are put on, with a record of what is still visible of each object."""

    def __init__(self, image: np.ndarray):
        self.image = image
        # 1 + index of the object on top of a pixel; 0: none, CLUTTERED: clutter
        self.owner: np.ndarray = np.zeros(image.shape[:2], np.int32)
        self.patches: list[Patch] = []
        self.windows: list[tuple[slice, slice]] = []

    def _cut(self, patch: Patch) -> tuple[Patch, tuple[slice, slice]]:
        """The part of a patch inside the image, and the window of the image that it covers."""
        height, width = self.owner.shape
        y0, x0 = max(patch.top, 0), max(patch.left, 0)
        y1 = max(min(patch.top + patch.alpha.shape[0], height), y0)
        x1 = max(min(patch.left + patch.alpha.shape[1], width), x0)
        inner = slice(y0 - patch.top, y1 - patch.top), slice(x0 - patch.left, x1 - patch.left)
        return Patch(patch.color[inner], patch.alpha[inner], x0, y0), (slice(y0, y1), slice(x0, x1))

    def try_put(self, patch: Patch, is_object: bool) -> bool:
        """Puts a thing on top of all others, unless it or one below it would be hidden too much."""
        part, window = self._cut(patch)
        if is_object and part.alpha.sum() < (1 - MAX_HIDDEN) * patch.alpha.sum():
            return False
        solid = part.alpha > 0.5
        for index in np.unique(self.owner[window][solid]):
            if index > 0 and self._visible(index - 1, window, solid) < (1 - MAX_HIDDEN):
                return False
        under, alpha = self.image[window], part.alpha[..., None]
        self.image[window] = np.round(under + alpha * (part.color - under)).astype(np.uint8)
        if is_object:
            self.patches.append(patch)
            self.windows.append(window)
        self.owner[window][solid] = len(self.patches) if is_object else CLUTTERED
        return True

    def _visible(self, index: int, window: tuple[slice, slice], solid: np.ndarray) -> float:
        """Share of an object that would be visible if the solid pixels of ``window`` were covered as well."""
        shown = np.count_nonzero(self.owner[self.windows[index]] == index + 1)
        lost = np.count_nonzero(self.owner[window][solid] == index + 1)
        whole = np.count_nonzero(self.patches[index].alpha > 0.5)
        return float((shown - lost) / whole) if whole else 0.0

    def box(self, index: int) -> np.ndarray:
        """(4,) xyxy around the visible part of an object, to a fraction of a pixel by the coverage of its edges."""
        part, window = self._cut(self.patches[index])
        owner = self.owner[window]
        # A rim pixel of low coverage belongs to the object unless another object or clutter has it.
        shown = np.where((owner == index + 1) | ((owner == 0) & (part.alpha <= 0.5)), part.alpha, 0)
        left, right = _extent(shown.max(axis=0))
        top, bottom = _extent(shown.max(axis=1))
        return np.array([part.left + left, part.top + top, part.left + right, part.top + bottom])


def _extent(coverage: np.ndarray) -> tuple[float, float]:
    """First and last coordinate of a row of pixels that are covered, edge pixels by their share."""
    covered = np.flatnonzero(coverage > 0.1)
    first, last = covered[0], covered[-1]
    return first + 1 - float(coverage[first]), last + float(coverage[last])


def _size(rng: np.random.Generator, low: float, high: float) -> float:
    """A random size: for most things log-uniform below SMALL, for the rest log-uniform above it."""
    middle = float(np.clip(SMALL, low, high))
    low, high = (low, middle) if rng.random() < SMALL_SHARE else (middle, high)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _colors(rng: np.random.Generator, under: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A fill that stands out from the mean color under it, and an accent that stands out from the fill."""
    fill = accent = under
    for _ in range(NUM_TRIES):
        fill = rng.integers(0, 256, 3).astype(np.float32)
        if abs(fill.mean() - under.mean()) >= MIN_CONTRAST:
            break
    for _ in range(NUM_TRIES):
        accent = rng.integers(0, 256, 3).astype(np.float32)
        if abs(accent.mean() - fill.mean()) >= MIN_CONTRAST:
            break
    return fill, accent


def _put_one(canvas: Canvas, rng: np.random.Generator, name: str | None, size: float) -> bool:
    """Draws one object, or a piece of clutter where ``name`` is None; whether there was a place for it."""
    height, width = canvas.owner.shape
    if name is None:
        outline, texture = CLUTTER[rng.choice(list(CLUTTER))](rng), str(rng.choice(list(TEXTURES)))
    else:
        outline, texture = SHAPES[name]
    outline, to_plane = pose(outline, size, rng)
    for _ in range(NUM_TRIES):
        center = rng.uniform(0, (width, height))
        x, y, reach = *center.astype(int), max(int(size / 2), 1)
        under = canvas.image[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach].mean(axis=(0, 1))
        fill, accent = _colors(rng, under)
        if canvas.try_put(render(outline, to_plane, texture, fill, accent, center), name is not None):
            return True
    return False


def draw_scene(rng: np.random.Generator, options: SceneOptions) -> Scene:
    """Draws one image; ``rng`` decides all that is random."""
    height, width = rng.integers(options.image_sizes[0], options.image_sizes[1] + 1, 2).tolist()
    canvas = Canvas(background(rng, height, width))
    names = list(SHAPES)[: options.num_classes]
    num_objects = int(rng.integers(options.objects[0], options.objects[1] + 1))
    kinds = [int(rng.integers(options.num_classes)) for _ in range(num_objects)]
    num_clutter = int(rng.integers(options.clutter[0], options.clutter[1] + 1))
    things: list[int | None] = [*kinds, *[None] * num_clutter]
    labels = []
    for index in rng.permutation(len(things)):
        kind = things[index]
        size = min(_size(rng, *options.object_sizes), 0.6 * min(height, width))
        if _put_one(canvas, rng, None if kind is None else names[kind], size) and kind is not None:
            labels.append(kind + 1)
    image = canvas.image
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.9)))
    noise = rng.standard_normal((height, width, 1), np.float32) * float(rng.uniform(0, 10))
    boxes = np.array([canvas.box(index) for index in range(len(labels))]).reshape(-1, 4)
    return Scene(np.clip(np.round(image + noise), 0, 255).astype(np.uint8), boxes, np.array(labels, np.int64))
