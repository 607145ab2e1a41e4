"""Batches of a data set, in an order that depends on nothing but (seed, epoch).

What a sample looks like depends only on (seed, epoch, index, how often the epoch had that image before), whatever
the number of workers, of processes, or the step that an epoch is taken up at. So one process with batch B and N
processes with batch B / N see the same images at each step, and a resumed run sees those that it would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from lib.data.augment.mixing import Dataset, Others
from lib.data.augment.presets import Compose
from lib.data.image import ImageError
from lib.data.sampler import Key, Steps
from lib.structures import BACKGROUND, Batch, Sample, Target

GRACE_S = 1.0  # seconds that a process whose connection broke may take to end
CHANNELS = {"bgr": slice(None), "rgb": slice(None, None, -1)}


class Loader:
    """Iterable of ``Batch``.

    Args:
        dataset: the images.
        transform: makes each sample the network's size, by ``build_transform``.
        batch_size: images of a batch of this process; the last of an epoch may be smaller.
        channels: order of the channels in ``Batch.images``.
        shuffle: whether each epoch has an order of its own, for training; then every process gets the same
            number of batches, for which the first images of the order may be repeated. Without it, the order
            is that of the data set and each image comes exactly once, so that one process may get fewer
            batches.
        drop_last: leave out the images that fill no step of all processes.
        seed: of order and augmentation.
        num_workers: processes that load; 0: load in this one.
        rank, world_size: which of how many processes this is.
        accumulate: batches of a step of the optimizer. All lengths and positions of the loader count batches.
        times: (N,) 1 or more: times an epoch that each image comes, on average over the epochs; None: once.
        groups: (N,) int64 from 0: a step of all processes takes images of one group; None: any together.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Compose,
        batch_size: int,
        channels: Literal["bgr", "rgb"] = "bgr",
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        times: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ):
        if batch_size < 1 or num_workers < 0 or not 0 <= rank < world_size:
            raise ValueError(
                "a loader must have batch_size 1 or more, num_workers 0 or more and rank below world_size; "
                f"got {batch_size}, {num_workers}, and {rank} of {world_size}"
            )
        if channels not in CHANNELS:
            raise ValueError(f"channels must be bgr or rgb; got {channels!r}")
        if not shuffle and (times is not None or groups is not None):
            raise ValueError(
                "a loader must shuffle to take times or groups; got shuffle=False: leave them out"
            )
        self._steps = Steps(
            len(dataset), batch_size, shuffle, drop_last, seed, rank, world_size, accumulate, times, groups
        )
        if drop_last and not self._steps.num_batches:
            raise ValueError(
                f"batch_size must be at most {self._steps.largest // (world_size * accumulate)}, so that the "
                f"{self._steps.largest} images{'' if groups is None else ' of the largest group'} fill a step of "
                f"{world_size} x {accumulate} batches; got {batch_size} with drop_last: choose a smaller one"
            )
        self._loader = DataLoader(
            _Prepared(dataset, transform, seed, CHANNELS[channels]),
            batch_sampler=self._steps,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            worker_init_fn=_start_worker,
        )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Chooses the epoch that the next iteration gives, and the batch in it to begin at."""
        self._steps.epoch, self._steps.start = epoch, start

    def __len__(self) -> int:
        """Batches of a whole epoch; with ``drop_last`` a multiple of ``accumulate``."""
        return self._steps.num_batches

    def __iter__(self) -> Iterator[Batch]:
        # torch's handler would raise for a dead worker in the midst of whatever this process does just then;
        # without it, the loader finds out itself when it waits for a batch
        handler = signal.getsignal(signal.SIGCHLD)
        batches = iter(self._loader)
        if signal.getsignal(signal.SIGCHLD) is not handler:  # only a main thread may set it, and torch did
            signal.signal(signal.SIGCHLD, handler)
        while True:
            try:
                batch = next(batches, None)
            except (RuntimeError, OSError, EOFError):
                _check_alive(getattr(batches, "_workers", ()))
                raise
            if batch is None:
                return
            if isinstance(batch, _Failure):
                raise batch.kind(batch.message)
            yield batch


def _check_alive(workers: Sequence[BaseProcess]) -> None:
    """Raises if a process of the loader has ended before its work."""
    ended = wait([worker.sentinel for worker in workers], GRACE_S)
    for number, worker in enumerate(workers):
        if worker.sentinel in ended:
            worker.join(GRACE_S)
            killed = (worker.exitcode or 0) < 0
            end = f"was killed by {signal.Signals(-worker.exitcode).name}" if killed else "ended"
            raise ChildProcessError(
                f"loader processes must live as long as the run; number {number} of {len(workers)} (pid "
                f"{worker.pid}) {end}, as happens where memory, or shared memory in /dev/shm, runs out: choose "
                "fewer data.workers, a smaller data.cache_mb or smaller batches"
            ) from None


class _Failure(NamedTuple):
    """A user's error in a worker, on its way to the main process without the worker's traceback."""

    kind: type[ValueError] | type[OSError]
    message: str


class _Prepared(torch.utils.data.Dataset):
    """Samples as the network takes them, by key."""

    def __init__(self, dataset: Dataset, transform: Compose, seed: int, channels: slice):
        self.dataset, self.transform, self.seed, self.channels = dataset, transform, seed, channels
        self._others = Others(dataset)

    def __getitem__(self, key: Key) -> Sample | _Failure:
        epoch, index, _ = key
        try:
            sample = self.dataset.load(index)
            sample = self.transform(sample, np.random.default_rng([self.seed, *key]), self._others)
        except (ImageError, OSError) as error:  # a file that the user can mend
            return _Failure(ValueError if isinstance(error, ValueError) else OSError, str(error))
        except Exception as error:
            error.add_note(
                f"while preparing image {index} of the data set in epoch {epoch}, seed {self.seed}"
            )
            raise
        planes = sample.image[..., self.channels].transpose(2, 0, 1)  # (3, H, W)
        return sample._replace(image=np.ascontiguousarray(planes))


def _collate(samples: list[Any]) -> Batch | _Failure:
    """Stacks samples to a batch, the ground truth padded to the image with the most boxes."""
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    most = max(len(sample.boxes) for sample in samples)
    boxes = torch.zeros(len(samples), most, 4)  # (B, G, 4)
    labels = torch.full((len(samples), most), BACKGROUND)  # (B, G)
    for row, sample in enumerate(samples):
        boxes[row, : len(sample.boxes)] = torch.from_numpy(sample.boxes)
        labels[row, : len(sample.labels)] = torch.from_numpy(sample.labels)
    return Batch(
        images=torch.from_numpy(np.stack([sample.image for sample in samples])),  # (B, 3, H, W)
        target=Target(boxes, labels),
        image_ids=torch.tensor([sample.image_id for sample in samples]),
        sizes=torch.tensor([sample.size for sample in samples]),
    )


def _start_worker(_: int) -> None:
    """OpenCV's own threads would only fight. A signal to the whole group is the main process's to obey."""
    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
