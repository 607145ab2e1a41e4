"""Where detections go: pictures or videos with boxes, tables, tracks, labels for other tools, and a window."""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path

import cv2
import numpy as np

from lib.inference.labels import Labels, write_labels
from lib.inference.sources import Files, Frame, Video, is_video
from lib.inference.tables import CSV, JSON, Tables
from lib.inference.track_files import TRACKS, Tracked, TrackFiles, Tracking
from lib.inference.video_file import VideoFile
from lib.structures import Detections
from lib.utils.draw import draw_detections
from lib.utils.files import free_name, refuse_sources, remove_leftovers
from lib.utils.lock import locked
from lib.utils.log import progress
from lib.utils.picture_file import write_picture
from lib.utils.signals import Stopped, StopSignals

log = logging.getLogger(__name__)
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
QUIT_KEYS = (ord("q"), 27)  # q and Escape close the window and end the demo


class Output:
    """Writes detections, frame by frame; whenever it ends, all earlier frames are completely on the disk.

    While it is open, no other process may write into the folder: that is a ValueError there.

    Args:
        folder: for the pictures and videos, ``detections.json`` and ``detections.csv``, and what else is asked for.
        names: of label 1, 2, ...
        min_score: detections below it are left out.
        show: whether a window shows each frame.
        targets: the file of each ``Frame.name``, by ``plan_outputs``; of others it is chosen as they come.
        tracking: by ``plan_tracking``; then only detections that belong to tracks are written, whatever their scores.
        labels: by ``plan_labels``; they are written at the end, of the frames so far.

    Attributes:
        unwritten: the pictures so far whose format cannot hold them; their detections are written.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        min_score: float = 0.3,
        show: bool = False,
        targets: Mapping[str, Path] | None = None,
        tracking: Tracking | None = None,
        labels: Labels | None = None,
    ):
        self.folder, self.names, self.min_score, self.show = folder, names, min_score, show
        self.num_frames, self.num_detections = 0, 0
        self.unwritten: list[Path] = []
        self._targets = dict(targets or {})
        self._tracking, self._labels = tracking, labels
        self._tracks: TrackFiles | None = None
        self._video: VideoFile | None = None
        self._video_name = ""  # Frame.name of its frames

    def __enter__(self) -> "Output":
        with contextlib.ExitStack() as held:
            held.enter_context(locked(self.folder, "another --out"))
            remove_leftovers(self.folder)
            self._tables = Tables(self.folder, self.names, self._tracking is not None)
            if self._tracking is not None:
                self._tracks = TrackFiles(self.folder, self.names, self._tracking)
            self._held = held.pop_all()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        with self._held:
            self._close()

    def _close(self) -> None:
        with contextlib.ExitStack() as closings:  # each one is done, whatever happens to the others; the last one first
            if self.show:
                closings.callback(cv2.destroyAllWindows)
            if self._tracks is not None:
                closings.callback(self._tracks.close)
            closings.callback(self._tables.close)
            closings.callback(self._close_video)
        if self._labels is not None:
            write_labels(self.folder, self.names, self._labels)
        rate = self.num_frames / max(time.perf_counter() - self._started, 1e-9)
        log.info("%s frames %d detections %d fps %.1f", self.folder, self.num_frames, self.num_detections, rate)

    def write_all(self, source: Files | Video, detect: Callable[[Iterator[np.ndarray]], Iterator[Detections]]) -> None:
        """Writes the frames of a source, until its end or until the user closes the window.

        ``detect`` gives the objects of images (H, W, 3), in their order. A signal is a Stopped, after a whole frame.
        """
        with StopSignals() as stop, contextlib.closing(iter(source)) as opened:
            frames, again = itertools.tee(opened)  # holds what ``detect`` reads ahead
            pairs = zip(frames, detect(frame.image for frame in again), strict=False)
            for frame, detections in progress(pairs, "detecting", total=len(source) or None):
                with stop.deferred():
                    is_open = self.write(frame, detections)
                if stop.requested:
                    raise Stopped(stop.requested, f"stopped by a signal; {self.folder} has the frames before it")
                if not is_open:
                    return

    def write(self, frame: Frame, detections: Detections) -> bool:
        """Writes one frame; False if the user closed the window."""
        tracked = self._select(frame, detections)
        drawn = draw_detections(frame.image, tracked.detections, self.names, tracked.numbers, tracked.marks)
        self._write_picture(frame, drawn)
        self._tables.append(frame, tracked.detections, tracked.numbers)
        self.num_frames, self.num_detections = self.num_frames + 1, self.num_detections + len(tracked.detections.boxes)
        if not self.show:
            return True
        cv2.imshow("detections", drawn)
        return cv2.waitKey(1) & 0xFF not in QUIT_KEYS

    def _select(self, frame: Frame, detections: Detections) -> Tracked:
        """Those to be written."""
        if self._tracks is not None:
            return self._tracks.update(frame, detections)
        keep = detections.scores >= self.min_score
        return Tracked(Detections(*(value[keep] for value in detections)))

    def _write_picture(self, frame: Frame, drawn: np.ndarray) -> None:
        """Adds a frame to the file of its name, which for an image is a picture."""
        if frame.name != self._video_name:
            self._close_video()
        if frame.name not in self._targets:
            taken = set(map(_folded, self._targets.values()))
            self._targets[frame.name] = _choose(self.folder, frame.name, frame.fps is not None, taken)
        target = self._targets[frame.name]
        if frame.fps is None:
            try:
                write_picture(target, drawn)
            except ValueError as error:
                self.unwritten.append(target)
                log.warning("not written: %s", error)
            return
        if self._video is None:
            self._video, self._video_name = VideoFile(target, frame.fps, drawn.shape[1::-1]), frame.name
        self._video.write(drawn)

    def _close_video(self) -> None:
        video, self._video, self._video_name = self._video, None, ""
        if video is not None:
            video.close()


def plan_outputs(folder: Path, source: Files | Video) -> dict[str, Path]:
    """The file for each ``Frame.name`` of a source: each another one, and none that the source reads.

    Raises:
        ValueError: a file would replace one of the source, whatever names or links lead to both.
    """
    targets: dict[str, Path] = {}
    taken: set[str] = set()
    for name in sorted(source.names, key=lambda name: not _keeps_name(name)):  # those that keep their name come first
        targets[name] = _choose(folder, name, isinstance(source, Video) or is_video(name), taken)
        taken.add(_folded(targets[name]))
    refuse_sources([*targets.values(), *(folder / name for name in (JSON, CSV, TRACKS))], source.files)
    return targets


def _keeps_name(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURES | {".mp4"}


def _folded(path: Path) -> str:
    """What paths have in common that are one file where a disk ignores the case of letters."""
    return str(path).casefold()


def _choose(folder: Path, name: str, for_video: bool, taken: Set[str]) -> Path:
    """A file of the folder for a source's name that is not ``taken``: ``a.gif`` becomes a.png, a.gif.png, ..."""
    suffix = ".mp4" if for_video else ".png"
    keeps = Path(name).suffix.lower() in ({suffix} if for_video else PICTURES)
    choices = [name] if keeps else [str(Path(name).with_suffix(suffix)), f"{name}{suffix}"]
    return Path(free_name([str(folder / choice) for choice in choices], str(folder / name), suffix, taken))


def check_folder(folder: Path, sources: Sequence[str]) -> None:
    """Refuses an output folder where pictures would replace those of the sources."""
    paths = [Path(source).resolve() for source in sources]
    if folder.resolve() in (*paths, *(path.parent for path in paths)):
        raise ValueError(f"--out must be another folder than the source's; got {folder}: choose another")
