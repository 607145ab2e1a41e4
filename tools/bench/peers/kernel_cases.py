"""The jobs of tools/bench/kernels.py, done by us and by each other implementation that is installed."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask
import torch
import torch.nn.functional as F

from lib.data.synthetic.scenes import SceneOptions, draw_scene
from lib.inference import Predictor
from lib.multibox.coder import BoxCoder
from lib.multibox.postprocess import PostProcess
from lib.multibox.priors import PriorGenerator
from lib.ops import batched_nms, bbox_overlaps, nms, reference, soft_nms
from lib.ops.batch_norm import batch_norm
from lib.ops.boxes import xyxy_to_xywh
from lib.ops.depthwise import Window, depthwise_conv2d
from lib.ops.fusion import fuse_boxes
from lib.ops.padded import Selection
from lib.ops.pointwise import pointwise_conv2d
from lib.structures import Predictions
from lib.timing.turns import Call, Case

try:
    import torchvision
except ImportError:
    torchvision = None

DEMO = Path(__file__).resolve().parents[3] / "experiments" / "synthetic" / "plain.pth"


def random_boxes(count: int, side: float, smallest: float, largest: float, seed: int = 0) -> torch.Tensor:
    """Boxes (count, 4) in a square of ``side`` pixels; their own sides are uniform between two lengths."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 2, generator=generator) * side
    half = (smallest + torch.rand(count, 2, generator=generator) * (largest - smallest)) / 2
    return torch.cat([center - half, center + half], dim=1).clamp(0, side)


def random_scores(count: int) -> torch.Tensor:
    """Scores (count,) uniform between 0 and 1."""
    return torch.rand(count, generator=torch.Generator().manual_seed(1))


def ssd300_priors() -> torch.Tensor:
    """The 8,732 priors of SSD300, (8732, 4) in its frame."""
    ratios = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    generator = PriorGenerator((30, 60, 111, 162, 213, 264, 315), ratios, clip=False)
    return generator([(cells, cells) for cells in (38, 19, 10, 5, 3, 1)], (300, 300)).clamp(0, 300)


def same_set(ours: torch.Tensor, theirs: Any) -> bool:
    """Whether the indices are the same in any order: OpenCV orders equal scores in another way."""
    return sorted(ours.tolist()) == sorted(torch.as_tensor(theirs).flatten().tolist())


def same_values(ours: torch.Tensor, theirs: Any) -> bool:
    """Whether values are equal to the rounding of float32."""
    return bool(np.allclose(ours.cpu().numpy(), torch.as_tensor(theirs).cpu().numpy(), rtol=0, atol=1e-6))


def same_detections(ours: Any, theirs: Any) -> bool:
    """Whether labels are the same, and boxes and scores equal to rounding, image by image."""
    return all(
        torch.equal(a.labels, b["labels"])
        and torch.allclose(a.boxes, b["boxes"], rtol=0, atol=1e-3)
        and torch.allclose(a.scores, b["scores"], rtol=0, atol=1e-6)
        for a, b in zip(ours, theirs, strict=True)
    )


def nms_case(count: int, side: int, largest: float, device: str = "cpu") -> Case:
    """NMS at IoU .5 of boxes in a square."""
    boxes, scores = random_boxes(count, side, 2, largest).to(device), random_scores(count).to(device)
    plain: Any = xyxy_to_xywh(boxes).double().cpu().numpy(), scores.cpu().numpy()
    sides: dict[str, Call | None] = {"ours": lambda: nms(boxes, scores, 0.5)}
    if torchvision:
        sides["torchvision"] = lambda: torchvision.ops.nms(boxes, scores, 0.5)
    if device == "cpu":
        sides["OpenCV"] = lambda: cv2.dnn.NMSBoxes(plain[0], plain[1], 0.0, 0.5)
        sides["reference"] = (lambda: reference.nms(boxes, scores, None, 0.5)) if count < 10000 else None
    kept = len(nms(boxes, scores, 0.5))
    return Case(f"nms, {count} boxes in {side}x{side}, {kept} kept", sides, same_set)


def batched_case(count: int, classes: int, device: str = "cpu") -> Case:
    """NMS at IoU .5 within each class."""
    boxes, scores = random_boxes(count, 300, 10, 80).to(device), random_scores(count).to(device)
    labels = torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(2)).to(device)
    peer = torchvision and partial(torchvision.ops.batched_nms, boxes, scores, labels, 0.5)
    sides: dict[str, Any] = {"ours": lambda: batched_nms(boxes, scores, labels, 0.5), "torchvision": peer}
    if device == "cpu":
        plain: Any = xyxy_to_xywh(boxes).double().numpy(), scores.numpy(), labels.int().numpy()
        sides["OpenCV"] = lambda: cv2.dnn.NMSBoxesBatched(plain[0], plain[1], plain[2], 0.0, 0.5)
        sides["reference"] = lambda: reference.nms(boxes, scores, labels, 0.5)
    return Case(f"batched_nms, {count} boxes of {classes} classes", sides, same_set)


def overlaps_case(name: str, boxes: torch.Tensor, mode: str, device: str = "cpu") -> Case:
    """Overlaps of many boxes with 50."""
    boxes, objects = boxes.to(device), random_boxes(50, 300, 4, 64, seed=3).to(device)
    sides: dict[str, Call | None] = {"ours": lambda: bbox_overlaps(boxes, objects, mode)}
    if torchvision and mode in ("iou", "giou"):
        theirs = torchvision.ops.box_iou if mode == "iou" else torchvision.ops.generalized_box_iou
        sides["torchvision"] = lambda: theirs(boxes, objects)
    if mode == "iou" and device == "cpu":
        first, second = (xyxy_to_xywh(values).double().numpy() for values in (boxes, objects))
        sides["pycocotools"] = lambda: pycocotools.mask.iou(first, second, [0] * len(second))
    sides["reference"] = lambda: reference.bbox_overlaps(boxes, objects, mode)
    return Case(f"{mode}, {len(boxes)} {name} x 50", sides, same_values)


def postprocess_case(name: str, given: Predictions, device: str = "cpu") -> Case:
    """From the raw output of a detector to at most 200 detections an image, in the network's frame."""
    count = int((given.logits.softmax(-1)[..., 1:] > 0.01).sum())
    logits, deltas, priors = (tensor.to(device) for tensor in given[:3])
    given = given._replace(logits=logits, deltas=deltas, priors=priors)
    images, is_cpu = len(logits), device == "cpu"
    process = PostProcess(BoxCoder(), Selection(0.01, 0.45, max_candidates=400, max_detections=200))
    ours = process if is_cpu else process.padded  # on a GPU up to where the host would read: nothing waits
    sizes = torch.tensor([given.image_size] * images, device=device)
    sides: dict[str, Call | None] = {"ours": lambda: ours(given, sizes)}
    if torchvision:
        model = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None)
        outputs = {"cls_logits": logits, "bbox_regression": deltas}
        shapes = [priors] * images, [given.image_size] * images
        sides["torchvision"] = lambda: model.postprocess_detections(outputs, *shapes)
    name = f"post-processing, {name}, {images} of {tuple(logits.shape[1:])} logits, {count} scores pass"
    return Case(name, sides, same_detections if is_cpu else None)


def ssd300_output(images: int, spread: float, background: float, objects: int = 0) -> Predictions:
    """As of SSD300 with 90 classes: logits are noise, and the background leads, but for a class at some priors."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(images, 8732, 91, generator=generator) * spread
    logits[..., 0] += background
    for image in logits:
        rows = torch.randint(0, 8732, (objects,), generator=generator)
        image[rows, torch.randint(1, 91, (objects,), generator=generator)] += background
    deltas = torch.randn(images, 8732, 4, generator=generator) * 0.5
    return Predictions(logits, deltas, ssd300_priors(), (300, 300))


def demo_output() -> Predictions:
    """As of the trained detector of `make demo-synthetic`, on an image like those it was trained on."""
    detector = Predictor(DEMO, device="cpu")
    image = draw_scene(np.random.default_rng(0), SceneOptions(6, (200, 300), (6, 100), (8, 12), (4, 8))).image
    return Predictions(*detector.forward(detector.prepare([image])[0]))


def merge_case(count: int, side: int) -> Case:
    """Merging of the boxes of windows of 216 pixels that lie as densely as those that a detector finds in noise."""
    boxes, labels = random_boxes(count, side, 8, 100), torch.zeros(count, dtype=torch.int64)
    column, row = (boxes[:, :2] // 216).long().T
    given = boxes, random_scores(count), labels, row * 1000 + column, 0.5
    sides: dict[str, Call | None] = {"ours": lambda: fuse_boxes(*given, "ios").founders}
    sides["reference"] = (lambda: reference.fuse_boxes(*given, "ios").founders) if count < 2000 else None
    return Case(f"fuse_boxes, {count} boxes in {side}x{side}", sides, same_set)


def depthwise_case(channels: int, side: int, kernel: int, stride: int = 1) -> Case:
    """Training's forward and backward pass of a depthwise convolution and ReLU6, on 8 maps as channels_last."""
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(8, channels, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator)
    bias, pad = torch.zeros(channels, requires_grad=True), kernel // 2
    x.requires_grad_(), weight.requires_grad_()

    def gradients(y: torch.Tensor) -> torch.Tensor:
        _, *small = torch.autograd.grad(y.square().mean(), (x, weight, bias))
        return torch.cat([part.flatten() for part in small])

    def in_torch() -> torch.Tensor:
        return gradients(F.relu6(F.conv2d(x, weight, bias, stride, pad, groups=channels), inplace=True))

    window = Window(stride, (pad,) * 4, clip=True)
    sides = {"ours": lambda: gradients(depthwise_conv2d(x, weight, bias, window)), "torch": in_torch}
    name = f"depthwise {kernel}x{kernel}, stride {stride}, {channels} channels of {side}x{side}, forward and backward"
    return Case(name, sides, lambda ours, theirs: torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5))


def pointwise_case(channels: int, outputs: int, side: int) -> Case:
    """Training's forward and backward pass of a 1x1 convolution and ReLU6, on 8 maps as channels_last."""
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(8, channels, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    slope = torch.randn(8, outputs, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(outputs, channels, 1, 1, generator=generator)
    values = (x, weight, torch.zeros(outputs))

    def gradients(y: torch.Tensor) -> torch.Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(y, values, slope)[1:]])

    for value in values:
        value.requires_grad_()
    sides = {
        "ours": lambda: gradients(pointwise_conv2d(*values, clip=True)),
        "torch": lambda: gradients(F.relu6(F.conv2d(*values), inplace=True)),
    }
    name = f"pointwise, {channels} to {outputs} channels of {side}x{side}, forward and backward"
    # A rounding can move a value across a bound of ReLU6, so single sums differ by whole terms.
    return Case(name, sides, lambda ours, theirs: bool((ours - theirs).norm() < 1e-2 * theirs.norm()))


def norm_case(channels: int, side: int, act: str) -> Case:
    """Training's forward and backward pass of BatchNorm and its activation, on 8 maps as channels_last."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(8, channels, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    slope = torch.randn(8, channels, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    weight, bias = (torch.rand(channels, generator=generator) for _ in range(2))
    values = (x, weight, bias)
    running = torch.zeros(channels), torch.ones(channels)
    in_place: dict[str, Callable[..., torch.Tensor]] = {"relu": F.relu, "hard_swish": F.hardswish}

    def gradients(y: torch.Tensor) -> torch.Tensor:
        return torch.cat(torch.autograd.grad(y, values, slope)[1:])

    def in_torch() -> torch.Tensor:
        return gradients(in_place[act](F.batch_norm(x, *running, weight, bias, True), inplace=True))

    for value in values:
        value.requires_grad_()
    sides = {"ours": lambda: gradients(batch_norm(x, weight, bias, act=act).map), "torch": in_torch}
    name = f"BatchNorm and {act}, {channels} channels of {side}x{side}, forward and backward"
    # A rounding can move a value across the activation's kink, so single sums differ by whole terms.
    return Case(name, sides, lambda ours, theirs: bool((ours - theirs).norm() < 1e-2 * theirs.norm()))


def cpu_cases() -> Iterator[Case]:
    """The jobs for one thread of a CPU."""
    for count, side, largest in ((10, 300, 64), (1000, 300, 64), (8732, 300, 30), (50000, 2000, 36)):
        yield nms_case(count, side, largest)
    yield batched_case(8732, 20)
    for mode in ("iou", "giou", "nwd"):
        yield overlaps_case("SSD300 priors", ssd300_priors(), mode)
    yield overlaps_case("random boxes", random_boxes(8732, 300, 4, 64), "iou")
    yield postprocess_case("SSD300, noise", ssd300_output(1, 1.95, 0.0))
    yield postprocess_case("SSD300, few objects", ssd300_output(1, 1.0, 10.0, 150))
    if DEMO.exists():
        yield postprocess_case("trained detector of the demo", demo_output())
    boxes, scores = random_boxes(1000, 300, 2, 64), random_scores(1000)
    ours, plain = partial(soft_nms, boxes, scores), partial(reference.soft_nms, boxes, scores, None)
    sides = {"ours": lambda: ours()[0], "reference": lambda: plain("gaussian", 0.3, 0.5, 0.001, len(boxes))[0]}
    yield Case("soft_nms, 1000 boxes in 300x300", sides, same_set)
    for count, side in ((300, 400), (1000, 700), (136_000, 8000), (1_000_000, 21_700)):
        yield merge_case(count, side)
    for channels, side, kernel, stride in ((144, 80, 3, 1), (240, 40, 5, 1), (672, 20, 5, 1), (96, 160, 3, 2)):
        yield depthwise_case(channels, side, kernel, stride)
    for channels, outputs, side in ((24, 144, 80), (144, 24, 80), (40, 240, 40), (112, 672, 20), (672, 112, 20)):
        yield pointwise_case(channels, outputs, side)
    for channels, side, act in ((64, 160, "relu"), (72, 80, "relu"), (240, 40, "hard_swish"), (672, 20, "hard_swish")):
        yield norm_case(channels, side, act)


def cuda_cases() -> Iterator[Case]:
    """The jobs for a GPU."""
    for count, side, largest in ((1000, 300, 64), (10000, 300, 30), (100000, 3000, 36)):
        yield nms_case(count, side, largest, "cuda")
    yield batched_case(10000, 80, "cuda")
    for mode in ("iou", "giou"):
        yield overlaps_case("random boxes", random_boxes(100_000, 300, 4, 64), mode, "cuda")
    yield postprocess_case("SSD300, few objects", ssd300_output(32, 1.0, 10.0, 150), "cuda")
