"""What the operators ask of their arguments; each message says what must hold, what came and what to choose.

Every operator of lib/ops checks shapes, types and ranges here before anything reads memory; the compiled kernels
compare the shapes again (csrc/guards.pxi). No check reads a tensor's values, so none waits for a GPU.
"""

import math
from typing import Any

import torch


def check_is_tensor(value: Any, name: str) -> None:
    """That a value is a tensor."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a tensor or a NumPy array; got {type(value).__name__}")


def check_tensors(**tensors: torch.Tensor) -> None:
    """That all are floating tensors on one device."""
    for name, tensor in tensors.items():
        check_is_tensor(tensor, name)
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating; got {tensor.dtype}: convert by .float()")
    check_one_device(*tensors.values())


def check_integers(**tensors: torch.Tensor) -> None:
    """That all are tensors of integers, on one device."""
    for name, tensor in tensors.items():
        kind = getattr(tensor, "dtype", type(tensor).__name__)
        is_integer = isinstance(kind, torch.dtype) and not (kind.is_floating_point or kind.is_complex)
        if not is_integer or kind == torch.bool:
            raise TypeError(f"{name} must be integers in a tensor or a NumPy array; got {kind}")
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


def check_one_each(boxes: torch.Tensor, **values: torch.Tensor) -> None:
    """That boxes (N, 4) have one of each of the values, (N,)."""
    for name, tensor in values.items():
        if tensor.shape != boxes.shape[:1]:
            raise ValueError(f"{name} must have one value per box, ({len(boxes)},); got {tuple(tensor.shape)}")


def check_scored_boxes(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None) -> None:
    """That boxes (N, 4) have a score each and, unless None, an integer label each."""
    check_tensors(boxes=boxes, scores=scores)
    check_boxes(boxes, "boxes")
    check_one_each(boxes, scores=scores)
    if labels is not None:
        check_integers(labels=labels)
        check_one_device(boxes, labels)
        check_one_each(boxes, labels=labels)


def check_shapes(**expected: tuple[torch.Tensor, str, tuple[int, ...]]) -> None:
    """That each tensor has its shape: name=(tensor, the shape in letters, the shape in numbers)."""
    if all(tensor.shape == shape for tensor, _, shape in expected.values()):
        return
    rules = ", ".join(f"{name} {text}" for name, (_, text, _) in expected.items())
    got = ", ".join(f"{name} {tuple(tensor.shape)}" for name, (tensor, _, _) in expected.items())
    raise ValueError(f"shapes must fit together, {rules}; got {got}")


def check_predictions(logits: torch.Tensor, deltas: torch.Tensor, priors: torch.Tensor) -> None:
    """That a detector's raw output fits together: logits (B, P, K), K of 1 or more, deltas (B, P, 4), priors (P, 4)."""
    check_tensors(logits=logits, deltas=deltas, priors=priors)
    batch, count, classes = logits.shape if logits.ndim == 3 else (-1, -1, -1)
    check_shapes(
        logits=(logits, "(B, P, K)", (batch, count, max(classes, 1))),
        deltas=(deltas, "(B, P, 4)", (batch, count, 4)),
        priors=(priors, "(P, 4)", (count, 4)),
    )


def check_fraction(value: float, name: str) -> None:
    """That a value, such as a threshold, is in 0 .. 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in 0 .. 1; got {value}")


def check_positive(value: int, name: str) -> None:
    """That a count is at least 1, and one that fits into 32 bits."""
    if not 1 <= value < 2**31:
        rule = "at least 1" if value < 1 else "below 2**31"
        raise ValueError(f"{name} must be {rule}; got {value}")


def check_count(value: int, name: str) -> None:
    """That a count is 0 or more, and one that fits into 32 bits."""
    if not 0 <= value < 2**31:
        raise ValueError(f"{name} must be 0 or more and below 2**31; got {value}")


def check_sigma(value: float, name: str) -> None:
    """That a scale, such as the width of a Gaussian, is greater than 0 and finite."""
    if not (value > 0 and math.isfinite(value)):
        rule = "finite" if value > 0 else "greater than 0"
        raise ValueError(f"{name} must be {rule}; got {value}")


def check_weight(value: float, name: str) -> None:
    """That a factor is 0 or more and finite."""
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be 0 or more and finite; got {value}")
