"""The tracks of videos: numbers for their detections, files of them, and what is drawn of them."""

import logging
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from lib.inference.count_lines import TO_LEFT, TO_RIGHT, CountLine, LineCounter, parse_line
from lib.inference.sources import Frame
from lib.inference.tracking import DEFAULTS, LOW, Tracker, TrackerOptions, assignment_solver
from lib.structures import Detections
from lib.utils.draw import Mark, class_color
from lib.utils.files import GrowingText, free_name, write_json
from lib.utils.table import align

log = logging.getLogger(__name__)
TRACKS, MOT = "tracks.json", ".mot.txt"
IMAGES = "images"  # stands for the name of a video that consists of image files
TAIL = 20  # frames of which a track's centers are drawn
LINE_COLOR = (255, 255, 255)


class Tracking(NamedTuple):
    """What is to be followed and counted."""

    options: TrackerOptions = DEFAULTS
    lines: tuple[CountLine, ...] = ()


def plan_tracking(is_tracked: bool, lines: Sequence[str], score: float) -> Tracking | None:
    """What ``--track`` and ``--count-line`` ask for; None: nothing. ``score`` is the least one of a sure detection.

    Raises:
        ValueError: a line is none, or SciPy is missing.
    """
    if not is_tracked and not lines:
        return None
    assignment_solver()
    return Tracking(TrackerOptions(high=score, low=min(LOW, score)), tuple(map(parse_line, lines)))


class Tracked(NamedTuple):
    """The detections of a frame that belong to tracks, and what to draw beside their boxes."""

    detections: Detections
    numbers: list[int] | None = None  # of the tracks; None: nothing is followed
    marks: Sequence[Mark] = ()


class _OneVideo:
    """The tracks of one video, and its file in the form of MOTChallenge."""

    def __init__(self, name: str, frame: Frame, path: Path, tracking: Tracking):
        size = frame.image.shape[:2]
        memory = tracking.options.memory if frame.fps is None else max(round(frame.fps), 1)
        self.name, self.fps, self.num_frames, self._first = name, frame.fps, 0, frame.number
        self._tracker = Tracker(tracking.options._replace(memory=memory))
        self.counters = [LineCounter(line.in_pixels(size)) for line in tracking.lines]
        self.tracks: dict[int, dict[str, int]] = {}
        self._centers: deque[dict[int, list[float]]] = deque(maxlen=TAIL)
        self._mot = GrowingText(path, "")

    def update(self, frame: Frame, detections: Detections) -> Tracked:
        """The next frame."""
        boxes, scores, labels = (value.numpy() for value in detections)
        numbers = self._tracker.update(boxes, scores, labels)
        is_tracked = numbers > 0
        kept = Detections(*(value[is_tracked] for value in detections))
        boxes, seen, classes = boxes[is_tracked], numbers[is_tracked].tolist(), labels[is_tracked].tolist()
        number = frame.number - self._first
        for counter in self.counters:
            counter.update(number, boxes, seen, classes)
        for track, label in zip(seen, classes, strict=True):
            row = self.tracks.setdefault(track, {"track": track, "label": label, "first": number, "length": 0})
            row["last"], row["length"] = number, row["length"] + 1
        self._mot.append(_mot_lines(number + 1, kept, seen))
        self.num_frames += 1
        return Tracked(kept, seen, self._marks(boxes, seen, classes))

    def _marks(self, boxes: np.ndarray, numbers: list[int], labels: list[int]) -> list[Mark]:
        """The tails of the tracks that are seen, and the lines to cross."""
        centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
        self._centers.append(dict(zip(numbers, centers, strict=True)))
        tails = [[past[number] for past in self._centers if number in past] for number in numbers]
        drawn = [Mark(tail, class_color(label)) for tail, label in zip(tails, labels, strict=True)]
        lines = [(counter.line, counter.text()) for counter in self.counters]
        return drawn + [Mark([line[:2], line[2:]], LINE_COLOR, text, is_arrow=True) for line, text in lines]

    def close(self) -> None:
        """Ends the file."""
        self._mot.close()

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        """The tracks, how many there are of each class, and the crossings of each line."""
        rows = [{"track": row["track"], "name": names[row["label"] - 1], **row} for row in self.tracks.values()]
        counts = Counter(row["name"] for row in rows)
        lines = []
        for counter in self.counters:
            by_class: dict[str, dict[str, int]] = {}
            for (label, direction), count in sorted(counter.counts().items()):
                by_class.setdefault(names[label - 1], {TO_RIGHT: 0, TO_LEFT: 0})[direction] = count
            fields = [(entry, names[entry.label - 1]) for entry in counter.crossings]
            crossings = [
                {"frame": entry.frame, "track": entry.number, "name": name, "direction": entry.direction}
                for entry, name in fields
            ]
            lines.append({"line": list(counter.line), "counts": by_class, "crossings": crossings})
        told = {"file": self.name, "fps": self.fps, "frames": self.num_frames}
        return {**told, "counts": dict(counts), "lines": lines, "tracks": rows}


def _mot_lines(frame: int, detections: Detections, numbers: list[int]) -> str:
    """Lines of MOTChallenge: frame from 1, track, left, top, width, height, score, class from 1, visibility."""
    rows = zip(*(value.tolist() for value in detections), numbers, strict=True)
    return "".join(
        f"{frame},{number},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},{label},1\n"
        for (x1, y1, x2, y2), score, label, number in rows
    )


class TrackFiles:
    """Follows the objects of each video of a source and writes them to a folder.

    The image files of a folder are the frames of one video, in the order in which they come. ``NAME.mot.txt`` is whole
    after every frame, ``tracks.json`` after every video.
    """

    def __init__(self, folder: Path, names: Sequence[str], tracking: Tracking):
        self._folder, self._names, self._tracking = folder, names, tracking
        self._video: _OneVideo | None = None
        self._summaries: list[dict[str, Any]] = []
        self._taken: set[str] = set()
        self._write()

    def update(self, frame: Frame, detections: Detections) -> Tracked:
        """The detections of the next frame that belong to tracks; at the first frame of another video, all are new."""
        name = frame.name if frame.fps is not None else (PurePath(frame.name).parent / IMAGES).as_posix()
        if self._video is None or self._video.name != name:
            self._end()
            self._video = _OneVideo(name, frame, self._path(name), self._tracking)
        return self._video.update(frame, detections)

    def _path(self, name: str) -> Path:
        """A file of the video's own: a.mot.txt for a.mp4, a.avi.mot.txt for an a.avi beside it."""
        choice = free_name([str(PurePath(name).with_suffix("")), name], name, "", self._taken)
        self._taken.add(choice.casefold())
        path = self._folder / f"{choice}{MOT}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _end(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close()
            self._summaries.append(video.summary(self._names))
            self._write()

    def _write(self) -> None:
        write_json(self._folder / TRACKS, {"counts": dict(self._counts()), "videos": self._summaries})

    def _counts(self) -> Counter[str]:
        return sum((Counter(summary["counts"]) for summary in self._summaries), Counter())

    def close(self) -> None:
        """Ends the files, and logs how many tracks there are of each class and how many crossed each line."""
        self._end()
        counts = self._counts()
        rows = [("class", "tracks"), *((name, counts[name]) for name in self._names if counts[name])]
        log.info("tracks\n%s", align([*rows, ("all", counts.total())]))
        crossed = [
            (summary["file"], place, name, count[TO_RIGHT], count[TO_LEFT])
            for summary in self._summaries
            for place, line in enumerate(summary["lines"], 1)
            for name, count in line["counts"].items()
        ]
        if crossed:
            log.info("crossings\n%s", align([("video", "line", "class", TO_RIGHT, TO_LEFT), *crossed], "<<<>"))
