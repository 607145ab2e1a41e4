"""Batches of a data set for training, in an order that depends only on (seed, epoch).

What a sample looks like depends only on (seed, epoch, index, how often the epoch had that image before), not on the
number of workers or processes, nor on the step at which an epoch is resumed.
"""

import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from lib.data.augment.mixing import OtherSamples
from lib.data.augment.presets import Compose
from lib.data.dataset import CocoDataset
from lib.data.image import ImageError
from lib.data.sampler import Key, Steps
from lib.structures import BACKGROUND, Batch, Sample, Target
from lib.utils.lookup import lookup

GRACE_S = 1.0  # seconds that a process whose connection broke may take to end
CHANNELS = {"bgr": slice(None), "rgb": slice(None, None, -1)}


class Loader:
    """Iterable of ``Batch``.

    Args:
        dataset, transform: the images, and what makes each the network's size, by ``build_transform``.
        channels: order of the channels in ``Batch.images``.
        num_workers: processes that load; 0: load in this one.
        pinned: whether batches lie in memory from which a GPU copies while the CPU goes on; it needs a GPU.
        batch_size, **order: see ``Steps``: which images come, in which order, to which process.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        transform: Compose,
        batch_size: int,
        channels: Literal["bgr", "rgb"] = "bgr",
        num_workers: int = 0,
        pinned: bool = False,
        **order: Any,
    ):
        planes = lookup(CHANNELS, channels, "channels")
        if num_workers < 0:
            raise ValueError(f"num_workers must be 0 or more; got {num_workers}")
        self._steps = Steps(len(dataset), batch_size, **order)
        self._loader: DataLoader[Any] = DataLoader(
            _Prepared(dataset, transform, self._steps.seed, planes),
            batch_sampler=self._steps,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pinned,
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
        # torch's handler would raise for a dead worker in the middle of whatever this process is doing; without it,
        # the loader notices when it waits for a batch.
        handler = signal.getsignal(signal.SIGCHLD)
        try:
            batches = iter(self._loader)
        except (RuntimeError, OSError, EOFError):  # of workers that stay between epochs
            _check_alive(getattr(self._loader._iterator, "_workers", ()))
            raise
        if signal.getsignal(signal.SIGCHLD) is not handler:  # torch set it, from the main thread
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
            code = worker.exitcode or 0
            end = f"was killed by {signal.Signals(-code).name}" if code < 0 else "ended"
            raise ChildProcessError(
                f"loader processes must live as long as the run; number {number} of {len(workers)} (pid {worker.pid}) "
                f"{end}, as happens where memory, or /dev/shm, runs out: choose fewer data.workers, a smaller "
                "data.cache_mb or smaller batches"
            ) from None


class _Failure(NamedTuple):
    """A user's error in a worker, on its way to the main process without the worker's traceback."""

    kind: type[ValueError] | type[OSError]
    message: str


class _Prepared(torch.utils.data.Dataset[Any]):
    """Samples as the network takes them, by key."""

    def __init__(self, dataset: CocoDataset, transform: Compose, seed: int, channels: slice):
        self.dataset, self.transform, self.seed, self.channels = dataset, transform, seed, channels
        self._others = OtherSamples(dataset)

    def __getitem__(self, key: Key) -> Sample | _Failure:
        try:
            sample = self.dataset.load(key.image)
            sample = self.transform(sample, np.random.default_rng([self.seed, *key]), self._others)
        except (ImageError, OSError) as error:  # a file that the user can replace
            return _Failure(ValueError if isinstance(error, ValueError) else OSError, str(error))
        except Exception as error:
            error.add_note(f"while preparing image {key.image} of the data set in epoch {key.epoch}, seed {self.seed}")
            raise
        planes = sample.image[..., self.channels].transpose(2, 0, 1)  # (3, H, W)
        return sample._replace(image=np.ascontiguousarray(planes))


def _collate(samples: list[Any]) -> Batch | _Failure:
    """Stacks samples into a batch, the ground truth padded to the image with the most boxes."""
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
    )


def _start_worker(_: int) -> None:
    """Turns off OpenCV's threads, which would compete, and leaves signals to the whole group to the main process."""
    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
