"""Videos with known tracks, and what a detector might see of them: seeded, so always the same."""

from typing import NamedTuple

import numpy as np

SIZE = (240, 320)  # height, width
NUM_FRAMES = 300


class Truth(NamedTuple):
    """The objects that can be seen in a frame: boxes (G, 4) xyxy, labels (G,) from 1, numbers (G,)."""

    boxes: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray


class Course(NamedTuple):
    """An object that moves on a straight line while it sways, from its first to its last frame."""

    number: int
    label: int
    sides: tuple[float, float]  # width, height
    start: tuple[float, float]  # center in the first frame
    speed: tuple[float, float]
    first: int
    last: int
    hidden: tuple[int, int]  # frames in which it is behind something
    sway: float

    def box(self, frame: int) -> np.ndarray:
        """(4,) xyxy."""
        t = frame - self.first
        shift = self.sway * np.sin(t / 9)
        center = np.array(self.start) + np.array(self.speed) * t + shift
        return np.concatenate([center - np.array(self.sides) / 2, center + np.array(self.sides) / 2])


def courses(count=40, seed=0):
    """Objects of 8 to 40 pixels in two classes that cross each other's ways; every third one is hidden for a while."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(1, count + 1):
        side = 8 * 5 ** rng.random()
        length = int(rng.integers(60, 160))
        first = int(rng.integers(0, NUM_FRAMES - 60))
        start = rng.uniform([20, 20], [SIZE[1] - 20, SIZE[0] - 20])
        target = rng.uniform([20, 20], [SIZE[1] - 20, SIZE[0] - 20])
        speed = (target - start) / length
        hidden = int(rng.integers(20, 50)) + first if number % 3 == 0 else NUM_FRAMES
        sides = (side, min(40.0, side * rng.uniform(0.7, 1.4)))
        ends = min(first + length, NUM_FRAMES) - 1
        gap = (hidden, hidden + int(rng.integers(4, 11)))
        values = tuple(start), tuple(speed), first, ends, gap, float(rng.uniform(0, 3))
        made.append(Course(number, int(rng.integers(1, 3)), sides, *values))
    return made


def truth(objects, frame):
    """What can be seen in a frame."""
    seen = [course for course in objects if course.first <= frame <= course.last]
    seen = [course for course in seen if not course.hidden[0] <= frame < course.hidden[1]]
    boxes = np.array([course.box(frame) for course in seen]).reshape(-1, 4)
    return Truth(
        boxes, np.array([course.label for course in seen], int), np.array([course.number for course in seen], int)
    )


def detections(seen, rng, missed=0.05, unsure=0.15, false=0.3):
    """(boxes, scores, labels) of a detector that misses some, is unsure of others, and sees what is not there."""
    keep = rng.random(len(seen.boxes)) >= missed
    boxes, labels = seen.boxes[keep], seen.labels[keep]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + rng.normal(0, 0.03, boxes.shape) * sides + rng.normal(0, 0.3, boxes.shape)
    scores = np.where(
        rng.random(len(boxes)) < unsure, rng.uniform(0.12, 0.3, len(boxes)), rng.uniform(0.4, 1, len(boxes))
    )
    alarms = rng.poisson(false)
    centers = rng.uniform([10, 10], [SIZE[1] - 10, SIZE[0] - 10], (alarms, 2))
    half = rng.uniform(4, 15, (alarms, 1))
    boxes = np.concatenate([boxes, np.concatenate([centers - half, centers + half], axis=1)])
    scores = np.concatenate([scores, rng.uniform(0.1, 0.7, alarms)])
    return boxes, scores, np.concatenate([labels, rng.integers(1, 3, alarms)])


def class_counts(objects, names):
    """Name -> objects."""
    return {name: sum(course.label == label for course in objects) for label, name in enumerate(names, 1)}


def crossings(objects, names, x=SIZE[1] / 2):
    """Name -> how often the centers of objects cross the line from the top to the bottom at ``x``, by direction; but
    for objects that appear on the line.

    Looking down, what moves westwards moves to the right.
    """
    counts = {}
    for course in objects:
        centers = [course.box(frame)[::2].mean() for frame in range(course.first, course.last + 1)]
        sides = [center < x for center in centers if abs(centers[0] - x) > 0.2 * min(course.sides) + 1]
        for old, new in zip(sides, sides[1:], strict=False):
            if old != new:
                by_direction = counts.setdefault(names[course.label - 1], {"to_right": 0, "to_left": 0})
                by_direction["to_right" if new else "to_left"] += 1
    return counts
