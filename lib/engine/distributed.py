"""The processes of a run: one, or those that torchrun starts."""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import distributed

from lib.utils.runtime import choose_device


class World(NamedTuple):
    """Which of how many processes this is; with one process every method does nothing."""

    rank: int = 0  # 0 .. size - 1; rank 0 writes the files
    size: int = 1  # processes, of all machines

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def sum_(self, values: torch.Tensor) -> torch.Tensor:
        """The values, in place, summed over the processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def first(self, value: Any) -> Any:
        """The plain value of rank 0."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def share_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Gives the tensors, in place, the values that they have in rank 0."""
        for tensor in tensors if self.size > 1 else ():
            distributed.broadcast(tensor, 0)

    def gather(self, value: Any) -> list[Any]:
        """The plain values of all processes, by rank."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    @contextlib.contextmanager
    def writer_first(self) -> Iterator[None]:
        """Runs the block in rank 0 before the others, which then use what rank 0 has downloaded."""
        if self.size > 1 and not self.is_writer:
            distributed.barrier()
        yield
        if self.size > 1 and self.is_writer:
            distributed.barrier()


class Place(NamedTuple):
    """Which process of the run this is, and its device."""

    world: World
    device: torch.device


@contextlib.contextmanager
def processes(device_name: str) -> Iterator[Place]:
    """Joins the processes that torchrun started, if it did: gloo on CPUs; NCCL on GPUs, one for each process.

    Of the device names ``auto`` and ``cuda`` become the GPU of this process's local rank.
    """
    device = choose_device(device_name)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Place(World(), device)
        return
    if device.type == "cuda":
        device = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Place(World(distributed.get_rank(), distributed.get_world_size()), device)
        # A gloo thread that still releases a tensor of ours when Python ends would abort the process.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def launcher() -> str | None:
    """Which torchrun started this process, the same for all its restarts; None: no torchrun did."""
    return f"{socket.gethostname()} {os.getppid()}" if "TORCHELASTIC_RUN_ID" in os.environ else None


def is_restart() -> bool:
    """Whether torchrun started this process again, after one of the run's had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
