"""Batches of a data set, in an order that depends on nothing but (seed, epoch).

What a sample looks like depends only on (seed, epoch, index), whatever the number of workers, of processes,
or the step that an epoch is taken up at. So one process with batch B and N processes with batch B / N see the
same images at each step, and a resumed run sees those that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from lib.data.transforms import Transform
from lib.structures import BACKGROUND, Batch, Sample, Target

CHANNELS = {"bgr": slice(None), "rgb": slice(None, None, -1)}


class Dataset(Protocol):
    """What the loader asks of a data set."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Sample: ...


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
        drop_last: leave out the images at the end that fill no batch in every process.
        seed: of order and augmentation.
        num_workers: processes that load; 0: load in this one.
        rank, world_size: which of how many processes this is.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Transform,
        batch_size: int,
        channels: Literal["bgr", "rgb"] = "bgr",
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size < 1 or num_workers < 0 or not 0 <= rank < world_size:
            raise ValueError(
                "a loader must have batch_size 1 or more, num_workers 0 or more and rank below world_size; "
                f"got {batch_size}, {num_workers}, and {rank} of {world_size}"
            )
        if channels not in CHANNELS:
            raise ValueError(f"channels must be bgr or rgb; got {channels!r}")
        if drop_last and len(dataset) < batch_size * world_size:
            raise ValueError(
                f"batch_size must be at most {len(dataset) // world_size}, the images for each of "
                f"{world_size} processes; got {batch_size} with drop_last: choose a smaller one"
            )
        self._steps = _Steps(len(dataset), batch_size, shuffle, drop_last, seed, rank, world_size)
        self._loader = DataLoader(
            _Prepared(dataset, transform, seed, CHANNELS[channels]),
            batch_sampler=self._steps,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            worker_init_fn=_start_worker,
        )

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Chooses the epoch that the next iteration gives, and the step in it to begin at."""
        self._steps.epoch, self._steps.start_step = epoch, start_step

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._steps.num_steps

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, _Failure):
                raise batch.kind(batch.message)
            yield batch


class _Steps:
    """The batch sampler: (epoch, index) of each image of each batch of this process.

    It knows nothing of the loader: a circle of references would keep torch from telling its workers to stop,
    and it would wait for each of them for five seconds.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int,
        world_size: int,
    ):
        self.count, self.batch_size, self.shuffle, self.seed = count, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start_step = 0, 0
        if drop_last:
            self.total = count // (world_size * batch_size) * world_size * batch_size
        elif shuffle:
            self.total = -(-count // world_size) * world_size
        else:
            self.total = count
        share = len(range(rank, self.total, world_size))  # images of this process
        self.num_steps = -(-share // batch_size)

    def __len__(self) -> int:
        return max(self.num_steps - self.start_step, 0)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        # every world_size-th, so that step k of all processes together is step k of one with a batch as large
        order = np.resize(order, self.total)[self.rank :: self.world_size].tolist()
        for start in range(self.start_step * self.batch_size, len(order), self.batch_size):
            yield [(self.epoch, index) for index in order[start : start + self.batch_size]]


class _Failure(NamedTuple):
    """A user's error in a worker, on its way to the main process without the worker's traceback."""

    kind: type[ValueError] | type[OSError]
    message: str


class _Prepared(torch.utils.data.Dataset):
    """Samples as the network takes them, by (epoch, index)."""

    def __init__(self, dataset: Dataset, transform: Transform, seed: int, channels: slice):
        self.dataset, self.transform, self.seed, self.channels = dataset, transform, seed, channels

    def __getitem__(self, key: tuple[int, int]) -> Sample | _Failure:
        epoch, index = key
        try:
            sample = self.dataset.load(index)
        except (ValueError, OSError) as error:  # what is wrong with a file is the user's to mend
            return _Failure(ValueError if isinstance(error, ValueError) else OSError, str(error))
        try:
            sample = self.transform(sample, np.random.default_rng([self.seed, epoch, index]))
        except Exception as error:
            error.add_note(f"while augmenting image {sample.image_id} in epoch {epoch}, seed {self.seed}")
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
    """OpenCV's own threads would only fight with the other workers."""
    cv2.setNumThreads(0)
