"""What tools/bench/kernels.py measures: inputs, our call, and the same job done by each peer that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pycocotools.mask
import torch

from lib.data.synthetic.scenes import SceneOptions, draw_scene
from lib.inference import Predictor
from lib.multibox.coder import BoxCoder
from lib.multibox.postprocess import PostProcess
from lib.ops import batched_nms, bbox_overlaps, nms, reference, soft_nms
from lib.ops.boxes import xyxy_to_xywh
from lib.structures import Predictions

try:
    import torchvision
except ImportError:
    torchvision = None

DEMO = Path(__file__).resolve().parents[2] / "experiments" / "demo" / "plain.pth"
Job = Callable[[], Any]


class Case(NamedTuple):
    """One row: our job and the peers', and how the result of a peer is compared with ours."""

    name: str
    ours: Job
    peers: dict[str, Job]
    is_same: Callable[[Any, Any], bool]


def random_boxes(count: int, side: float, smallest: float, largest: float, seed: int = 0) -> torch.Tensor:
    """Boxes (count, 4) in a square of ``side`` pixels, whose sides are uniform between two lengths."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * side
    half = (smallest + torch.rand(count, 2, generator=generator) * (largest - smallest)) / 2
    return torch.cat([centre - half, centre + half], dim=1).clamp(0, side)


def ssd300_priors() -> torch.Tensor:
    """The 8,732 priors of SSD300 as corners in its frame."""
    rows = []
    levels = (
        (38, 30, 60, 4),
        (19, 60, 111, 6),
        (10, 111, 162, 6),
        (5, 162, 213, 6),
        (3, 213, 264, 4),
        (1, 264, 315, 4),
    )
    for cells, least, most, count in levels:
        shapes = [
            (least, 1),
            ((least * most) ** 0.5, 1),
            *((least, ratio) for ratio in (2, 1 / 2, 3, 1 / 3)),
        ][:count]
        for row in range(cells):
            for column in range(cells):
                x, y = (column + 0.5) * 300 / cells, (row + 0.5) * 300 / cells
                for side, ratio in shapes:
                    w, h = side * ratio**0.5 / 2, side / ratio**0.5 / 2
                    rows.append((x - w, y - h, x + w, y + h))
    return torch.tensor(rows).clamp(0, 300)


def same_set(ours: torch.Tensor, theirs: Any) -> bool:
    """Same indices, whatever the order: cv2 breaks ties its own way."""
    return sorted(ours.tolist()) == sorted(np.asarray(theirs).reshape(-1).tolist())


def same_values(ours: torch.Tensor, theirs: Any) -> bool:
    """Equal to the rounding of float32."""
    return bool(np.allclose(ours.numpy(), np.asarray(theirs), rtol=0, atol=1e-6))


def nms_case(count: int, side: float, largest: float, device: str) -> Case:
    """NMS at IoU .5 of boxes in a square."""
    boxes, scores = (
        random_boxes(count, side, 2, largest),
        torch.rand(count, generator=torch.Generator().manual_seed(1)),
    )
    corners, plain = xyxy_to_xywh(boxes).double().numpy(), scores.numpy()
    boxes, scores = boxes.to(device), scores.to(device)
    peers: dict[str, Job] = {}
    if torchvision:
        peers["torchvision"] = lambda: torchvision.ops.nms(boxes, scores, 0.5)
    if device == "cpu":
        peers["OpenCV"] = lambda: cv2.dnn.NMSBoxes(corners, plain, 0.0, 0.5)
        if count < 10000:
            peers["reference"] = lambda: reference.nms(boxes, scores, None, 0.5)
    kept = len(nms(boxes, scores, 0.5))
    return Case(
        f"nms, {count} boxes in {side}x{side}, {kept} kept", lambda: nms(boxes, scores, 0.5), peers, same_set
    )


def batched_case(count: int, classes: int) -> Case:
    """NMS within each of many classes."""
    boxes, scores = (
        random_boxes(count, 300, 10, 80),
        torch.rand(count, generator=torch.Generator().manual_seed(1)),
    )
    labels = torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(2))
    corners, plain, classes_of = xyxy_to_xywh(boxes).double().numpy(), scores.numpy(), labels.int().numpy()
    peers: dict[str, Job] = {
        "OpenCV": lambda: cv2.dnn.NMSBoxesBatched(corners, plain, classes_of, 0.0, 0.5),
        "reference": lambda: reference.nms(boxes, scores, labels, 0.5),
    }
    if torchvision:
        peers["torchvision"] = lambda: torchvision.ops.batched_nms(boxes, scores, labels, 0.5)
    name = f"batched_nms, {count} boxes of {classes} classes"
    return Case(name, lambda: batched_nms(boxes, scores, labels, 0.5), peers, same_set)


def overlaps_case(name: str, boxes: torch.Tensor, mode: str) -> Case:
    """Overlaps of many boxes with 50."""
    objects = random_boxes(50, 300, 4, 64, seed=3)
    peers: dict[str, Job] = {"reference": lambda: reference.bbox_overlaps(boxes, objects, mode)}
    if mode == "iou":
        first, second = (xyxy_to_xywh(values).double().numpy() for values in (boxes, objects))
        peers["pycocotools"] = lambda: pycocotools.mask.iou(first, second, [0] * len(second))
    if torchvision and mode in ("iou", "giou"):
        theirs = torchvision.ops.box_iou if mode == "iou" else torchvision.ops.generalized_box_iou
        peers["torchvision"] = lambda: theirs(boxes, objects)
    return Case(
        f"{mode}, {len(boxes)} {name} x 50", lambda: bbox_overlaps(boxes, objects, mode), peers, same_values
    )


def detections_are_same(ours: Any, theirs: Any) -> bool:
    """Same labels, and boxes and scores equal to rounding, image by image."""
    return all(
        torch.equal(a.labels, b["labels"])
        and torch.allclose(a.boxes, b["boxes"], rtol=0, atol=1e-3)
        and torch.allclose(a.scores, b["scores"], rtol=0, atol=1e-6)
        for a, b in zip(ours, theirs, strict=True)
    )


def postprocess_case(name: str, given: Predictions, device: str) -> Case:
    """From the raw output of a detector to at most 200 detections an image, in the network's frame."""
    count = int((given.logits.softmax(-1)[..., 1:] > 0.01).sum())
    given = Predictions(*(tensor.to(device) for tensor in given[:3]), given.image_size)
    process = PostProcess(BoxCoder(), 0.01, 0.45, max_candidates=400, max_detections=200)
    images = len(given.logits)
    sizes = torch.tensor([given.image_size] * images, device=device)
    peers: dict[str, Job] = {}
    if torchvision:
        model = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None)
        outputs = {"cls_logits": given.logits, "bbox_regression": given.deltas}
        shapes = [given.priors] * images, [given.image_size] * images
        peers["torchvision"] = lambda: model.postprocess_detections(outputs, *shapes)
    name = f"post-processing, {name}, {images} of {tuple(given.logits.shape[1:])} logits, {count} scores pass"
    if device == "cuda":  # up to where the host would read, so that nothing waits
        return Case(name, lambda: process.padded(given, sizes), peers, lambda *_: True)
    return Case(name, lambda: process(given, sizes), peers, detections_are_same)


def ssd300_output(images: int, spread: float, background: float, objects: int = 0) -> Predictions:
    """As of SSD300 with 90 classes. Logits are noise, a lead of the background, and a lead of some objects."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(images, 8732, 91, generator=generator) * spread
    logits[..., 0] += background
    for image in logits:
        rows = torch.randint(0, 8732, (objects,), generator=generator)
        image[rows, torch.randint(1, 91, (objects,), generator=generator)] += background
    deltas = torch.randn(images, 8732, 4, generator=generator) * 0.5
    return Predictions(logits, deltas, ssd300_priors(), (300, 300))


def demo_output() -> Predictions:
    """As of the trained detector of `make demo`, on one of its images."""
    detector = Predictor(DEMO, device="cpu")
    image = draw_scene(np.random.default_rng(0), SceneOptions(6, (200, 300), (6, 100), (8, 12), (4, 8))).image
    return Predictions(*detector.forward(detector.prepare([image])[0]))


def cpu_cases() -> Iterator[Case]:
    """All rows of the table, one thread."""
    yield from (nms_case(10, 300, 64, "cpu"), nms_case(1000, 300, 64, "cpu"))
    yield from (nms_case(8732, 300, 30, "cpu"), nms_case(50000, 2000, 36, "cpu"))
    yield batched_case(8732, 20)
    for mode in ("iou", "giou", "nwd"):
        yield overlaps_case("SSD300 priors", ssd300_priors(), mode)
    yield overlaps_case("random boxes", random_boxes(8732, 300, 4, 64), "iou")
    yield postprocess_case("SSD300, noise", ssd300_output(1, 1.95, 0.0), "cpu")
    yield postprocess_case("SSD300, few objects", ssd300_output(1, 1.0, 10.0, 150), "cpu")
    if DEMO.exists():
        yield postprocess_case("trained detector of the demo", demo_output(), "cpu")
    boxes, scores = (
        random_boxes(1000, 300, 2, 64),
        torch.rand(1000, generator=torch.Generator().manual_seed(1)),
    )
    peer = {"reference": lambda: reference.soft_nms(boxes, scores, None, "gaussian", 0.3, 0.5, 0.001)[0]}
    yield Case("soft_nms, 1000 boxes in 300x300", lambda: soft_nms(boxes, scores)[0], peer, same_set)


def cuda_cases() -> Iterator[Case]:
    """The rows of a machine with a GPU."""
    for count, side, largest in ((1000, 300, 64), (10000, 300, 30), (100000, 3000, 36)):
        yield nms_case(count, side, largest, "cuda")
    yield postprocess_case("SSD300, few objects", ssd300_output(32, 1.0, 10.0, 150), "cuda")
