"""Decoded images in memory that all loader processes share."""

from collections.abc import Callable

import numpy as np
import torch

_MB = 2**20


class ImageCache:
    """Keeps the first images of a data set, as many as the budget holds; the process that reads one keeps it for all.

    The memory is shared and allocated at once, so processes that are forked, or that get a pickled copy, see the
    same. They need no lock: two that read the same image write the same bytes, and mark it as kept afterwards.

    Args:
        sizes: (N, 2) int64 (height, width) by index.
        megabytes: the budget, in units of 2^20 bytes; 0: nothing is kept.

    Attributes:
        num_images: how many the budget holds.
    """

    def __init__(self, sizes: np.ndarray, megabytes: int):
        if megabytes < 0:
            raise ValueError(f"data.cache_mb must be 0 (no cache) or more; got {megabytes}")
        self._sizes, self._ends = sizes, np.cumsum(sizes.prod(axis=1) * 3)
        self.num_images = int(np.searchsorted(self._ends, megabytes * _MB, side="right"))
        num_bytes = int(self._ends[self.num_images - 1]) if self.num_images else 0
        try:
            self._pixels = torch.empty(num_bytes, dtype=torch.uint8).share_memory_()
        except RuntimeError:
            raise ValueError(
                f"data.cache_mb must fit into shared memory (/dev/shm); got {megabytes}, of which "
                f"{num_bytes // _MB} MB would be used: choose less, or start the container with a larger --shm-size"
            ) from None
        self._is_kept = torch.zeros(self.num_images, dtype=torch.bool).share_memory_()

    def get(self, index: int, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """The image (H, W, 3) uint8 at ``index``: a read-only one if it is kept, else ``read(index)``."""
        if index >= self.num_images:
            return read(index)
        height, width = self._sizes[index]
        start = self._ends[index] - height * width * 3
        pixels = self._pixels[start : self._ends[index]].view(height, width, 3).numpy()
        if not self._is_kept[index]:
            pixels[...] = read(index)
            self._is_kept[index] = True
        pixels.flags.writeable = False
        return pixels
