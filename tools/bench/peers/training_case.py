"""How fast detectors train: steps and losses on random batches, and training with its input."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from lib.build import build_detector, build_loss, num_classes
from lib.build_data import build_dataset, build_loader, input_size
from lib.data.loader import Loader
from lib.data.synthetic.dataset import generate
from lib.engine.distributed import World
from lib.engine.learner import PRECISIONS, Learner
from lib.structures import Batch, Predictions, Target
from lib.timing.turns import Call, Case, wait
from lib.utils.runtime import memory_mb, set_tf32

Config = Mapping[str, Any]


class Pair(NamedTuple):
    """What is timed beside a peer: our experiment, the peer's name of the same network, images of a batch."""

    experiment: str
    peer: str
    images: int


SSDLITE = Pair("mobilenet_v3/torchvision320_reduced_c91", "ssdlite320", 8)
PAIRS = {"loss": SSDLITE, "ssdlite320": SSDLITE, "ssd300": Pair("vgg16/torchvision300_c91", "ssd300", 2)}


def pair_case(name: str, cfg: Config, device: torch.device, peer: Callable[..., Any] | None) -> Case:
    """A whole training step; of the pair ``loss``, matching, loss and their gradient alone.

    ``cfg`` is that of the pair's experiment in PAIRS; ``peer`` (name, batch, device, dtype) -> an object with
    ``step()`` and ``loss_step() -> step``, or None to time ours alone.
    """
    pair, is_loss = PAIRS[name], name == "loss"
    batch = random_batch(cfg, pair.images)
    ours = loss_step(cfg, batch, device) if is_loss else partial(new_learner(cfg, device).step, [batch])
    sides: dict[str, Call | None] = {"ours": ours}
    if peer is not None:
        other = peer(pair.peer, batch, device, PRECISIONS[cfg["train"]["precision"]])
        sides["torchvision"] = other.loss_step() if is_loss else other.step
    return Case(name, sides)


def random_batch(cfg: Config, images: int, objects: int = 8) -> Batch:
    """Images of noise with ``objects`` boxes each, of a thirtieth to a half of a side (torch's generator)."""
    height, width = input_size(cfg)
    frame = torch.tensor([width, height])
    sides = frame * (0.03 + 0.47 * torch.rand(images, objects, 2))
    corner = (frame - sides) * torch.rand(images, objects, 2)
    pixels = torch.randint(0, 256, (images, 3, height, width), dtype=torch.uint8)
    boxes = torch.cat([corner, corner + sides], dim=-1)
    target = Target(boxes, torch.randint(1, num_classes(cfg), (images, objects)))
    return Batch(pixels, target, torch.arange(images))


def new_learner(cfg: Config, device: torch.device) -> Learner:
    """A learner of one process with random weights (torch's generator), ready to train; ``run.tf32`` holds for the
    whole process."""
    set_tf32(cfg["run"]["tf32"])
    learner = Learner(cfg, build_detector(cfg).to(device), device, World())
    learner.start_training()
    return learner


def loss_step(cfg: Config, batch: Batch, device: torch.device) -> Callable[[], None]:
    """A call for matching, loss, and its gradient to random logits and deltas: a step without the network."""
    with torch.no_grad():
        given = build_detector(cfg).to(device)(torch.zeros(batch.images.shape, device=device))
    logits, deltas = (torch.randn_like(x).requires_grad_() for x in (given.logits, given.deltas))
    predictions = Predictions(logits, deltas, given.priors, given.image_size)
    target, criterion = batch.target.to(device), build_loss(cfg)

    def step() -> None:
        losses = criterion(predictions, target)
        torch.autograd.grad(torch.stack(list(losses.values())).sum(), (logits, deltas))

    return step


def speed_with_loader(cfg: Config, device: torch.device, steps: int, warm_up: int = 3) -> dict[str, float]:
    """Speed of training on the images of ``data.train``; on drawn scenes of 480 x 640 pixels where that is null.

    As in training, a step's losses are read while the next one runs, so that the device sets the pace. The first
    ``warm_up`` steps do not count.

    Returns:
        ``images_per_s``; ``peak_mb``, the most memory in use; ``waiting_share``, of the time, for the next batch.
    """
    if not cfg["data"]["train"]["annotations"]:
        with tempfile.TemporaryDirectory() as folder:
            images, classes = 4 * cfg["train"]["batch_size"], min(8, num_classes(cfg) - 1)
            generate(folder, images, 1, num_classes=classes, image_sizes=(480, 640), progress=False)
            train = {"images": f"{folder}/train", "annotations": f"{folder}/train.json"}
            return speed_with_loader({**cfg, "data": {**cfg["data"], "train": train}}, device, steps, warm_up)
    loader = build_loader(cfg, build_dataset(cfg, "train"))
    if len(loader) == 0:
        raise ValueError(
            "data.train must have the images of a batch; got fewer than "
            f"train.batch_size={cfg['train']['batch_size']}: choose a smaller one"
        )
    learner, batches, pending = new_learner(cfg, device), _endless(loader), None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for step in range(warm_up + steps):
        if step in (0, warm_up):
            wait(device)
            waited, images, started = 0.0, 0, time.perf_counter()
        asked = time.perf_counter()
        parts = list(itertools.islice(batches, cfg["train"]["accumulate"]))
        waited += time.perf_counter() - asked
        report = learner.step(parts)
        if pending is not None:
            pending.values.tolist()
        pending, images = report, images + sum(len(part.images) for part in parts)
    wait(device)
    elapsed = time.perf_counter() - started
    return {"images_per_s": images / elapsed, "peak_mb": memory_mb(device), "waiting_share": waited / elapsed}


def _endless(loader: Loader) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    for epoch in itertools.count():
        loader.set_epoch(epoch, 0)
        yield from loader
