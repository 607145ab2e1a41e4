"""ByteTrack (Zhang et al., ECCV 2022): which detections of a video's frames are the same object.

In each frame the tracks' boxes are predicted by a Kalman filter and matched to detections twice: all tracks to the sure
detections, then those still seen a frame ago to the unsure ones. So an object whose score drops, as when it is half
hidden, keeps its number, and an unsure detection alone begins no track.

Different from the paper, for small objects: boxes are grown before they are compared (as in C-BIoU, Yang et al., WACV
2023), since a box of 10 pixels that moves by 8 hardly meets itself; unsure detections and second ones may overlap less;
and scores do not weaken the overlaps. And a track must be seen twice to have a number, in the first frame too.
"""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from lib.ops import bbox_overlaps
from lib.utils.optional import optional_package

LOW = 0.1  # least score of a detection that can continue a track
# Least overlap of grown boxes: of tracks and sure detections, of tracks and unsure ones, of a track's first two boxes
SURE, UNSURE, NEW = 0.2, 0.3, 0.2
# Standard deviations by the box's side: of a measured place, and of the speed's change from frame to frame
PLACE, SPEED = 1 / 20, 1 / 160


class TrackerOptions(NamedTuple):
    """How detections become tracks."""

    high: float = 0.3  # least score of a sure detection, which can begin a track
    low: float = LOW
    grown: float = 0.3  # share of a box's sides by which it is grown at each of its borders, to be compared
    memory: int = 30  # frames for which a track that is not seen waits for its object


DEFAULTS = TrackerOptions()


class _Boxes:
    """The Kalman filters of T boxes: center, width and height, each with its speed, independent of one another.

    Attributes:
        place, speed: (T, 4) center x, y, width, height in pixels, and their change in a frame.
        variance: (T, 4, 3) of place, of place and speed together, and of speed.
    """

    def __init__(self, place: np.ndarray):
        self.place, self.speed = place, np.zeros_like(place)
        side = _sides(place)
        self.variance = np.stack([(2 * PLACE * side) ** 2, np.zeros_like(side), (10 * SPEED * side) ** 2], axis=-1)

    def predict(self, is_lost: np.ndarray) -> None:
        """One frame later. The size of what is not seen (T,) stays as it was."""
        self.speed[is_lost, 2:] = 0
        side = _sides(self.place)
        place, both, speed = np.moveaxis(self.variance, -1, 0)
        place, both = place + 2 * both + speed + (PLACE * side) ** 2, both + speed
        self.variance = np.stack([place, both, speed + (SPEED * side) ** 2], axis=-1)
        self.place = self.place + self.speed

    def update(self, rows: np.ndarray, place: np.ndarray) -> None:
        """The boxes at ``rows`` have been measured at (len(rows), 4)."""
        own, both, speed = np.moveaxis(self.variance[rows], -1, 0)
        total = own + (PLACE * _sides(self.place[rows])) ** 2
        error = place - self.place[rows]
        self.place[rows] += own / total * error
        self.speed[rows] += both / total * error
        left = 1 - own / total
        self.variance[rows] = np.stack([left * own, left * both, speed - both**2 / total], axis=-1)

    def take(self, keep: np.ndarray) -> None:
        """Only those at ``keep``, a mask (T,)."""
        self.place, self.speed, self.variance = self.place[keep], self.speed[keep], self.variance[keep]

    def append(self, other: "_Boxes") -> None:
        """More boxes, behind these."""
        self.place = np.concatenate([self.place, other.place])
        self.speed = np.concatenate([self.speed, other.speed])
        self.variance = np.concatenate([self.variance, other.variance])


def _sides(place: np.ndarray) -> np.ndarray:
    """(T, 4) centers and sizes -> the side along which each of the four is measured; 1 pixel for smaller ones."""
    return np.maximum(np.tile(place[:, 2:], 2), 1)


def _corners(place: np.ndarray, share: float) -> np.ndarray:
    """(T, 4) centers and sizes -> xyxy boxes; a ``share`` of the sides lies on each side of the center."""
    half = place[:, 2:].clip(0) * share
    return np.concatenate([place[:, :2] - half, place[:, :2] + half], axis=1)


class Tracker:
    """The tracks of one video, frame by frame; each keeps to one class. It needs SciPy."""

    def __init__(self, options: TrackerOptions = DEFAULTS):
        self.options = options
        self._scipy = assignment_solver()
        self._boxes = _Boxes(np.zeros((0, 4)))
        self._labels, self._numbers, self._unseen = (np.zeros(0, np.int64) for _ in range(3))
        self._last = 0

    def update(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(D,) int64 the number of each detection's track, from 1; 0: none, or one that is seen for the first time.

        Args:
            boxes, scores, labels: (D, 4) xyxy, (D,), (D,) of the next frame, with scores from ``options.low`` on.
        """
        boxes, result = boxes.astype(np.float64).reshape(-1, 4), np.zeros(len(boxes), np.int64)
        places = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
        high = scores >= self.options.high
        low = (scores >= self.options.low) & ~high
        self._boxes.predict(self._unseen > 0)
        tracks = np.full(len(boxes), -1)  # the row of each detection's track
        is_new, free = self._numbers == 0, np.ones(len(self._numbers), bool)
        turns = ((~is_new, high, SURE), (~is_new & (self._unseen == 0), low, UNSURE), (is_new, high, NEW))
        for may_match, wanted, least in turns:
            rows, columns = np.flatnonzero(may_match & free), np.flatnonzero(wanted & (tracks < 0))
            row, column = self._match(self._overlaps(rows, places[columns], labels[columns]), least)
            tracks[columns[column]], free[rows[row]] = rows[row], False
        found = np.flatnonzero(tracks >= 0)
        self._continue(tracks[found], places[found])
        result[found] = self._numbers[tracks[found]]
        self._end()
        self._begin(places[high & (tracks < 0)], labels[high & (tracks < 0)])
        return result

    def _overlaps(self, rows: np.ndarray, places: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(len(rows), len(places)) of the grown boxes of tracks and detections; 0 between classes."""
        share = 0.5 + self.options.grown
        overlaps = bbox_overlaps(_corners(self._boxes.place[rows], share), _corners(places, share))
        return np.where(self._labels[rows][:, None] == labels, overlaps, 0.0)

    def _match(self, overlaps: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pairs with the greatest sum of overlaps, of those that are ``least`` or more."""
        gains = np.where(overlaps >= least, overlaps, 0.0)
        rows, columns = self._scipy.linear_sum_assignment(gains, maximize=True)
        is_pair = gains[rows, columns] > 0
        return rows[is_pair], columns[is_pair]

    def _continue(self, rows: np.ndarray, places: np.ndarray) -> None:
        """Tracks were seen again; those that had none get a number, by the order of their rows."""
        self._unseen += 1
        self._unseen[rows] = 0
        self._boxes.update(rows, places)
        new = np.sort(rows[self._numbers[rows] == 0])
        self._numbers[new] = np.arange(len(new)) + self._last + 1
        self._last += len(new)

    def _end(self) -> None:
        """Forgets what was not seen for too long, or only once."""
        keep = np.where(self._numbers > 0, self._unseen <= self.options.memory, self._unseen == 0)
        self._boxes.take(keep)
        self._labels, self._numbers, self._unseen = self._labels[keep], self._numbers[keep], self._unseen[keep]

    def _begin(self, places: np.ndarray, labels: np.ndarray) -> None:
        """Sure detections without a track are candidates for one."""
        zeros = np.zeros(len(places), np.int64)
        self._boxes.append(_Boxes(places))
        self._labels = np.concatenate([self._labels, labels])
        self._numbers = np.concatenate([self._numbers, zeros])
        self._unseen = np.concatenate([self._unseen, zeros])


def assignment_solver() -> ModuleType:
    """scipy.optimize, which solves the assignment of detections to tracks."""
    return optional_package("scipy.optimize", "--track")
