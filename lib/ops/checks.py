"""What the operators ask of their arguments; each message says what must hold, what came and what to choose."""

from typing import NamedTuple

import torch

from lib.ops.kernels import Values, as_tensor


class ScoredBoxes(NamedTuple):
    """boxes (N, 4) and scores (N,), floating, and labels (N,), integers, or None."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor | None


def check_tensors(**tensors: torch.Tensor) -> None:
    """That all are floating tensors on one device."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a tensor or a NumPy array; got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating; got {tensor.dtype}: convert by .float()")
    check_one_device(*tensors.values())


def check_one_device(*tensors: torch.Tensor) -> None:
    """That all tensors are on one device."""
    devices = [tensor.device for tensor in tensors]
    if devices.count(devices[0]) != len(devices):
        raise ValueError(f"tensors must be on one device; got {devices}: move them by .to(device)")


def check_boxes(boxes: torch.Tensor, name: str) -> None:
    """That boxes have the shape (N, 4)."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        shape = tuple(boxes.shape)
        raise ValueError(f"{name} must have the shape (N, 4); got {shape}: pass one image's xyxy boxes")


def check_scored_boxes(boxes: Values, scores: Values, labels: Values | None) -> ScoredBoxes:
    """The three as tensors, if boxes (N, 4) have a score each and, unless None, an integer label each."""
    given = ScoredBoxes(as_tensor(boxes), as_tensor(scores), None if labels is None else as_tensor(labels))
    check_tensors(boxes=given.boxes, scores=given.scores)
    check_boxes(given.boxes, "boxes")
    _check_one_each(given.scores, "scores", given.boxes)
    if given.labels is None:
        return given
    kind = getattr(given.labels, "dtype", type(given.labels).__name__)
    if not isinstance(kind, torch.dtype) or kind.is_floating_point or kind.is_complex:
        raise TypeError(f"labels must be integers in a tensor or a NumPy array; got {kind}")
    check_one_device(given.boxes, given.labels)
    _check_one_each(given.labels, "labels", given.boxes)
    return given


def _check_one_each(values: torch.Tensor, name: str, boxes: torch.Tensor) -> None:
    if values.shape != boxes.shape[:1]:
        raise ValueError(f"{name} must have one value a box, ({len(boxes)},); got {tuple(values.shape)}")


def check_fraction(value: float, name: str) -> None:
    """That a threshold is in 0 .. 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in 0 .. 1; got {value}")


def check_positive(value: int, name: str) -> None:
    """That a count is at least 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1; got {value}")


def check_sigma(value: float, name: str) -> None:
    """That the width of a Gaussian is greater than 0."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0; got {value}")
