"""How fast detectors train: steps on random batches, sides that take turns, and the time without input."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.build import build_dataset, build_detector, build_loader, build_loss, input_size, num_classes
from lib.data.synthetic.dataset import generate
from lib.engine.distributed import World
from lib.engine.learner import PRECISIONS, Learner
from lib.engine.train import memory_mb
from lib.structures import Batch, Predictions, Target

LEAST_ROUNDS = 3


class Pair(NamedTuple):
    """What is timed beside a peer.

    Attributes:
        experiment: ours, under experiments/.
        peer: its name of the same network.
        images: of a batch.
        is_loss: whether it is matching, loss and their gradient alone, or a whole step.
    """

    experiment: str
    peer: str
    images: int
    is_loss: bool = False


PAIRS = {
    "loss": Pair("mobilenet_v3/torchvision320_reduced_c91", "ssdlite320", 8, is_loss=True),
    "ssdlite320": Pair("mobilenet_v3/torchvision320_reduced_c91", "ssdlite320", 8),
    "ssd300": Pair("vgg16/torchvision300_c91", "ssd300", 2),
}


def time_pair(
    pair: Pair, cfg: Mapping[str, Any], device: torch.device, seconds: float, peer: Callable[..., Any] | None
) -> dict[str, np.ndarray]:
    """``{"ours_ms", "peer_ms", "ratio"}``: a value a round; of ours alone where ``peer`` is None.

    Args:
        peer: (name, batch, device, dtype) -> an object with ``step()`` and ``loss_step() -> step``.
    """
    batch = random_batch(cfg, pair.images)
    ours = loss_step(cfg, batch, device) if pair.is_loss else partial(new_learner(cfg, device).step, [batch])
    sides = {"ours_ms": ours}
    if peer is not None:
        other = peer(pair.peer, batch, device, PRECISIONS[cfg["train"]["precision"]])
        sides["peer_ms"] = other.loss_step() if pair.is_loss else other.step
    times = take_turns(sides, seconds, device)
    return times if peer is None else {**times, "ratio": times["peer_ms"] / times["ours_ms"]}


def random_batch(cfg: Mapping[str, Any], images: int, objects: int = 8) -> Batch:
    """Images of noise with ``objects`` boxes each, of a thirtieth to a half of a side (torch's generator)."""
    height, width = input_size(cfg)
    frame = torch.tensor([width, height])
    sides = frame * (0.03 + 0.47 * torch.rand(images, objects, 2))
    corner = (frame - sides) * torch.rand(images, objects, 2)
    return Batch(
        images=torch.randint(0, 256, (images, 3, height, width), dtype=torch.uint8),
        target=Target(
            torch.cat([corner, corner + sides], dim=-1),
            torch.randint(1, num_classes(cfg), (images, objects)),
        ),
        image_ids=torch.arange(images),
        sizes=torch.tensor([[height, width]]).expand(images, 2),
    )


def new_learner(cfg: Mapping[str, Any], device: torch.device) -> Learner:
    """A learner of one process, its weights at random (torch's generator), ready to train."""
    learner = Learner(cfg, build_detector(cfg).to(device), device, World())
    learner.start_training()
    return learner


def loss_step(cfg: Mapping[str, Any], batch: Batch, device: torch.device) -> Callable[[], None]:
    """Matching, loss, and its gradient to the logits and deltas, which are random: all that is not the network."""
    with torch.no_grad():
        given = build_detector(cfg).to(device)(torch.zeros(batch.images.shape, device=device))
    outputs = [torch.randn_like(x).requires_grad_() for x in (given.logits, given.deltas)]
    predictions, target = Predictions(*outputs, given.priors, given.image_size), batch.target.to(device)
    criterion = build_loss(cfg)

    def step() -> None:
        losses = criterion(predictions, target)
        torch.autograd.grad(torch.stack(list(losses.values())).sum(), outputs)

    return step


def take_turns(
    sides: Mapping[str, Callable[[], Any]], seconds: float, device: torch.device, warm_up: int = 2
) -> dict[str, np.ndarray]:
    """Times calls in rounds, so that what disturbs the machine disturbs all sides.

    Args:
        seconds: after which no further round begins; there are three at least.
        warm_up: rounds before, which do not count.

    Returns:
        name -> (rounds,) milliseconds; the device is waited for at both ends of each.
    """
    samples: dict[str, list[float]] = {name: [] for name in sides}
    end, rounds = time.perf_counter() + seconds, 0
    while time.perf_counter() < end or rounds < warm_up + LEAST_ROUNDS:
        for name, side in sides.items():
            _wait(device)
            start = time.perf_counter()
            side()
            _wait(device)
            samples[name].append(1000 * (time.perf_counter() - start))
        rounds += 1
    return {name: np.array(times[warm_up:]) for name, times in samples.items()}


def speed_with_loader(
    cfg: Mapping[str, Any], device: torch.device, steps: int, warm_up: int = 3
) -> dict[str, float]:
    """Images a second of training, peak memory in MB, and the share of time without a batch.

    The images are those of ``data.train``, or drawn scenes of 480 x 640 pixels if that is null. As in training, a
    step's losses are read while the next one runs, so that it is the device that sets the pace.

    Args:
        warm_up: steps before, which do not count.
    """
    if not cfg["data"]["train"]["annotations"]:
        with tempfile.TemporaryDirectory() as folder:
            shapes = {"num_classes": min(8, num_classes(cfg) - 1), "image_sizes": (480, 640)}
            generate(folder, 4 * cfg["train"]["batch_size"], 1, **shapes, progress=False)
            train = {"images": f"{folder}/train", "annotations": f"{folder}/train.json"}
            return speed_with_loader({**cfg, "data": {**cfg["data"], "train": train}}, device, steps, warm_up)
    loader = build_loader(cfg, build_dataset(cfg, "train"), training=True)
    if len(loader) == 0:
        raise ValueError(
            f"data.train must have a batch of images; got less than train.batch_size={cfg['train']['batch_size']}: "
            "choose a smaller one"
        )
    learner, batches, pending = new_learner(cfg, device), _endless(loader), None
    accumulate = cfg["train"]["accumulate"]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for step in range(warm_up + steps):
        if step in (0, warm_up):
            _wait(device)
            waited, images, started = 0.0, 0, time.perf_counter()
        asked = time.perf_counter()
        parts = list(itertools.islice(batches, accumulate))
        waited += time.perf_counter() - asked
        report = learner.step(parts)
        if pending is not None:
            pending.values.tolist()
        pending, images = report, images + sum(len(part.images) for part in parts)
    _wait(device)
    elapsed = time.perf_counter() - started
    return {"images_per_s": images / elapsed, "peak_mb": memory_mb(device), "waiting_share": waited / elapsed}


def _endless(loader: Any) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    for epoch in itertools.count():
        loader.set_epoch(epoch, 0)
        yield from loader


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
