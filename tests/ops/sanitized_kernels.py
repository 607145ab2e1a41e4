"""Feeds the compiled kernels random, degenerate and misshapen inputs: sanitized_kernels.py FOLDER CASES [FIRST].

FOLDER holds the modules, built by a compiler's sanitizers, which end the process at the first fault of memory. Needs
neither torch nor the rest of the project. Fails where a misshapen input is not refused.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ODD = (0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e-45, 1e-30, 3e38, -3e38, 1e300)
LABELS = (-(2**63), -1, 0, 1, 2, 7, 2**31, 2**63 - 1)
Arguments = dict[str, Any]


def load(folder: Path, name: str) -> ModuleType:
    """A compiled module of the folder."""
    (path,) = folder.glob(f"{name}.*.so")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Inputs:
    """Arrays drawn from a seed."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def count(self, least: int = 0) -> int:
        """A length: small, or around a vector's width; rarely one from which a radix sort is used."""
        usual = self.rng.choice([0, 1, 2, 3, 5, 15, 16, 17, 33, 64, 65, 130])
        return max(least, 600 if self.rng.random() < 0.01 else int(usual))

    def reals(self, *shape: int, dtype: Any = np.float32, scale: float = 50.0) -> np.ndarray:
        """Numbers, of which some may be odd."""
        values = self.rng.normal(0, scale, shape)
        if self.rng.random() < 0.3:
            values = np.round(values / scale * 3)
        share = self.rng.choice([0, 0, 0.05, 0.5, 1])
        with np.errstate(over="ignore"):
            return np.where(self.rng.random(shape) < share, self.rng.choice(ODD, shape), values).astype(dtype)

    def boxes(self, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        """Boxes, most of them with an area."""
        boxes = self.reals(*shape, 4, dtype=dtype)
        if self.rng.random() < 0.8:
            with np.errstate(all="ignore"):
                boxes[..., 2:] = boxes[..., :2] + np.abs(boxes[..., 2:])
        return boxes

    def labels(self, *shape: int, below: int | None = None) -> np.ndarray:
        """Integers, small or of any size; below a number, if it is given."""
        values = self.rng.choice(LABELS, shape) if self.rng.random() < 0.3 else self.rng.integers(-2, 5, shape)
        return values.astype(np.int64) if below is None else np.minimum(values, below - 1).astype(np.int64)

    def fraction(self) -> float:
        """A threshold in 0 .. 1."""
        return float(self.rng.choice([0.0, 0.1, 0.2, 0.45, 0.5, 0.999, 1.0, self.rng.random()]))


def nms(given: Inputs) -> Arguments:
    """Arguments of ``nms``."""
    count, dtype = given.count(), given.rng.choice([np.float32, np.float64])
    return {
        "boxes": given.boxes(count, dtype=dtype),
        "scores": given.reals(count, dtype=dtype),
        "labels": given.labels(count) if given.rng.random() < 0.5 else None,
        "threshold": given.fraction(),
        "is_iof": bool(given.rng.integers(2)),
        "keep": np.empty(count, np.int64),
        "grid_from": int(given.rng.choice([0, 16, 1024])),
    }


def results(images: int, most: int) -> Arguments:
    """Memory for detections."""
    return {
        "out_boxes": np.empty((images, most, 4), np.float32),
        "out_scores": np.empty((images, most), np.float32),
        "out_labels": np.empty((images, most), np.int64),
        "counts": np.empty(images, np.int64),
    }


def multiclass_nms(given: Inputs) -> Arguments:
    """Arguments of ``multiclass_nms``."""
    images, count, classes = given.count() % 4, given.count(), given.count() % 70
    return {
        "boxes": given.boxes(images, count),
        "scores": given.reals(images, count, classes, scale=1),
        "score_threshold": float(given.rng.choice([-1, 0, 0.5, np.nan])),
        "iou_threshold": given.fraction(),
        "max_candidates": int(given.rng.choice([0, 1, 7, 400])),
        "background": int(given.rng.choice([-1, 0, 1, 2**40])),
        **results(images, given.count(1)),
    }


def postprocess(given: Inputs) -> Arguments:
    """Arguments of ``postprocess``."""
    images, count, classes = given.count() % 4, given.count(), given.count(1) % 70 or 1
    return {
        "logits": given.reals(images, count, classes, scale=3),
        "deltas": given.reals(images, count, 4, scale=1),
        "priors": given.boxes(count),
        "sizes": given.labels(images, 2),
        "height": 64.0,
        "width": float(given.rng.choice([1, 96, 1e30])),
        "center_variance": 0.1,
        "size_variance": 0.2,
        "max_log_ratio": 4.1,
        "is_sigmoid": bool(given.rng.integers(2)),
        "score_threshold": given.fraction(),
        "iou_threshold": given.fraction(),
        "max_candidates": int(given.rng.choice([0, 1, 7, 400])),
        "threads": 1,
        **results(images, given.count(1)),
    }


def bbox_overlaps(given: Inputs) -> Arguments:
    """Arguments of ``bbox_overlaps``."""
    rows, columns, dtype = given.count(), given.count(), given.rng.choice([np.float32, np.float64])
    return {
        "boxes1": given.boxes(rows, dtype=dtype),
        "boxes2": given.boxes(columns, dtype=dtype),
        "mode": int(given.rng.integers(4)),
        "constant": 12.8,
        "out": np.empty((rows, columns), np.float32),
    }


def soft_nms(given: Inputs) -> Arguments:
    """Arguments of ``soft_nms``."""
    count = given.count()
    return {
        "boxes": given.boxes(count),
        "scores": given.reals(count, scale=1),
        "labels": given.labels(count) if given.rng.random() < 0.5 else None,
        "is_gaussian": bool(given.rng.integers(2)),
        "iou_threshold": given.fraction(),
        "sigma": float(given.rng.choice([0.5, 1e-30, 1e30])),
        "score_threshold": float(given.rng.choice([-1, 0, 0.001, 2, np.nan])),
        "limit": int(given.rng.choice([0, 1, count, 2**40])),
        "keep": np.empty(count, np.int64),
        "new_scores": np.empty(count, np.float32),
    }


def fuse_boxes(given: Inputs) -> Arguments:
    """Arguments of ``fuse_boxes``."""
    count = given.count()
    return {
        "boxes": given.boxes(count),
        "weights": given.reals(count, scale=1),
        "labels": given.labels(count),
        "sources": given.labels(count),
        "threshold": given.fraction(),
        "over_smaller": bool(given.rng.integers(2)),
        "members": np.empty(count, np.int64),
        "founders": np.empty(count, np.int64),
        "fused": np.empty((count, 4), np.float32),
        "sort_from": int(given.rng.choice([0, 16, 128])),
    }


def match(given: Inputs) -> Arguments:
    """Arguments of ``match``."""
    images, count, objects = given.count(1) % 4 or 1, given.count(1), given.count(1)
    low, high = sorted([given.fraction(), given.fraction()])
    return {
        "priors": given.boxes(count),
        "boxes": given.boxes(images, objects),
        "labels": given.labels(images, objects),
        "threshold": high,
        "negative_threshold": low,
        "ignore_overlap": given.fraction(),
        "best_prior": bool(given.rng.integers(2)),
        "threads": 1,
        "found": np.empty((images, count), np.int64),
        "matched": np.empty((images, count, 4), np.float32),
    }


def mined_losses(given: Inputs) -> Arguments:
    """Arguments of ``mined_losses``."""
    images, count, classes = given.count(1) % 4 or 1, given.count(1), given.count(1) % 70 or 1
    return {
        "logits": given.reals(images, count, classes, scale=3),
        "labels": given.labels(images, count, below=classes),
        "ratio": float(given.rng.choice([0, 0.3, 3, 3e38])),
        "least": float(given.rng.choice([0, 1, 3, 3e38])),
        "threads": 1,
        "chosen": np.empty((images, count), np.uint8),
        "sums": np.empty(images, np.float64),
    }


def mined_gradient(given: Inputs) -> Arguments:
    """Arguments of ``mined_gradient``."""
    images, count, classes = given.count(1) % 4 or 1, given.count(1), given.count(1) % 70 or 1
    return {
        "logits": given.reals(images, count, classes, scale=3),
        "labels": given.labels(images, count, below=classes),
        "chosen": given.rng.integers(0, 3, (images, count)).astype(np.uint8),
        "scale": float(given.rng.choice([0, 1, -2, np.nan, 3e38])),
        "out": np.zeros((images, count, classes), np.float32),
    }


def convolution(given: Inputs) -> tuple[Arguments, np.ndarray]:
    """Arguments that both directions of a depthwise convolution share, and an array of its output's shape."""
    images, channels = int(given.rng.integers(1, 4)), given.count(1) % 70 or 1
    kernel, stride = given.rng.choice([1, 2, 3, 5, 6, 7], 2), int(given.rng.integers(1, 4))
    pads = [int(given.rng.integers(side)) for side in np.repeat(kernel, 2)]  # above, below, left, right
    size = np.maximum(given.rng.integers(1, 20, 2), kernel - np.add(pads[::2], pads[1::2]))
    windows = (size + np.add(pads[::2], pads[1::2]) - kernel) // stride + 1
    output = given.reals(images, *windows, channels)
    options = {"stride": stride, "pads": pads, "clip": bool(given.rng.integers(2)), "threads": 1}
    arguments = {"map": given.reals(images, *size, channels, scale=3), "weights": given.reals(*kernel, channels)}
    return arguments | {"options": options}, output


def forward(given: Inputs) -> Arguments:
    """Arguments of ``forward`` of a depthwise convolution."""
    shared, output = convolution(given)
    options = shared.pop("options")
    return {**shared, "bias": given.reals(output.shape[-1]), **options, "out": output}


def backward(given: Inputs) -> Arguments:
    """Arguments of ``backward`` of a depthwise convolution."""
    shared, output = convolution(given)
    options = shared.pop("options")
    results = {f"to_{name}": np.empty_like(shared[name]) for name in ("map", "weights")}
    results["to_bias"] = np.empty(output.shape[-1], np.float32)
    return {**shared, "output": output, "gradient": given.reals(*output.shape), **options, **results}


def convolve(given: Inputs) -> Arguments:
    """Arguments of ``convolve``."""
    pixels, inputs, outputs = given.count(1), given.count(1) % 300 or 1, given.count(1) % 300 or 1
    return {
        "map": given.reals(pixels, inputs, scale=3),
        "weights": given.reals(outputs, inputs),
        "bias": given.reals(outputs),
        "clip": bool(given.rng.integers(2)),
        "threads": 1,
        "out": np.empty((pixels, outputs), np.float32),
    }


def convolve_backward(given: Inputs) -> Arguments:
    """Arguments of ``convolve_backward``."""
    shared = convolve(given)
    options = {name: shared.pop(name) for name in ("clip", "threads")}
    output, bias = shared.pop("out"), shared.pop("bias")
    shared |= {"output": given.reals(*output.shape, scale=3), "gradient": given.reals(*output.shape)}
    results = {f"to_{name}": np.empty_like(shared[name]) for name in ("map", "weights")}
    return {**shared, **options, **results, "to_bias": np.empty_like(bias)}


def normalize(given: Inputs) -> Arguments:
    """Arguments of ``normalize``."""
    pixels, channels = given.count(1), given.count(1) % 300 or 1
    options = {"epsilon": 1e-5, "activation": int(given.rng.integers(5)), "threads": 1}
    results = {"out": np.empty((pixels, channels), np.float32)}
    results |= {name: np.empty(channels, np.float32) for name in ("mean", "variance")}
    parameters = {name: given.reals(channels) for name in ("weight", "bias")}
    return {"map": given.reals(pixels, channels, scale=3), **parameters, **options, **results}


def normalize_backward(given: Inputs) -> Arguments:
    """Arguments of ``normalize_backward``."""
    arguments = normalize(given)
    output = arguments.pop("out")
    arguments |= {"gradient": given.reals(*output.shape)}
    results = {f"to_{name}": np.empty_like(arguments[name]) for name in ("map", "weight", "bias")}
    return {**arguments, **results}


MODULES = {
    "_nms": (nms, multiclass_nms, postprocess),
    "_overlaps": (bbox_overlaps,),
    "_fusion": (soft_nms, fuse_boxes),
    "_training": (match, mined_losses, mined_gradient),
    "_depthwise": (forward, backward),
    "_pointwise": (convolve, convolve_backward),
    "_batch_norm": (normalize, normalize_backward),
}
# What must be refused: numbers out of range, by the argument's name.
OUT_OF_RANGE = {
    "iou_threshold": (-0.1, 1.1, np.nan, np.inf),
    "ignore_overlap": (-1.0, 2.0, np.nan),
    "threshold": (-0.1, 1.1, np.nan, np.inf),
    "negative_threshold": (-0.1, 1.1, np.nan),
    "mode": (-1, 4, 2**30),
    "ratio": (-3.0, np.nan, np.inf),
    "least": (-5.0, np.nan, np.inf),
    "threads": (0, -1),
    "stride": (0, -1),
    "activation": (-1, 5, 2**30),
    "limit": (-1,),
    "sigma": (0.0, -1.0, np.nan),
}


ROOMY = {"keep", "new_scores", "members", "founders", "fused"}  # results that may have room for more
# Sides that no other argument may repeat: the number of classes; a map or kernel may be larger for as many windows.
FREE = {("scores", 2), ("logits", 2), ("map", 1), ("map", 2), ("weights", 0), ("weights", 1)}


def spoil_(arguments: Arguments, rng: np.random.Generator) -> str:
    """Makes one argument unfit; says which and how. An empty text: the change is one that need not be refused."""
    arrays = [name for name, value in arguments.items() if isinstance(value, np.ndarray)]
    name = str(rng.choice([*arrays, *(name for name in arguments if name in OUT_OF_RANGE)]))
    if name in OUT_OF_RANGE:
        arguments[name] = rng.choice(OUT_OF_RANGE[name]).item()
        return f"{name}={arguments[name]}"
    shape = list(arguments[name].shape)
    axis = int(rng.integers(len(shape)))
    is_roomy, is_empty = axis == 0 and name in ROOMY, shape[axis] == 0
    shape[axis] += 1 if is_empty or (not is_roomy and rng.random() < 0.5) else -1
    what = f"{name} {arguments[name].shape} -> {tuple(shape)}"
    arguments[name] = np.ones(shape, arguments[name].dtype)
    return "" if (is_roomy and is_empty) or (name, axis) in FREE else what


def run(core: ModuleType, name: str, arguments: Arguments) -> None:
    """Calls a kernel."""
    function, values = getattr(core, name), list(arguments.values())
    if hasattr(function, "__signatures__"):
        function = function["double" if values[0].dtype == np.float64 else "float"]
    function(*values)


def main(folder: str, cases: int, first: int = 0) -> None:
    """Runs every kernel ``cases`` times with inputs that fit, and as often with one that does not."""
    refused = 0
    # The others import it by this name; the packages stay empty, so that no torch is loaded.
    sys.modules |= {name: ModuleType(name) for name in ("lib", "lib.ops")}
    sys.modules["lib.ops._memoryviews"] = load(Path(folder), "_memoryviews")
    for module, kernels in MODULES.items():
        core = load(Path(folder), module)
        for make in kernels:
            for seed in range(first, first + cases):
                given = Inputs(seed)
                run(core, make.__name__, make(given))
                arguments = make(given)
                what = spoil_(arguments, given.rng)
                try:
                    run(core, make.__name__, arguments)
                except ValueError:
                    refused += 1
                else:
                    assert not what, f"{make.__name__}, seed {seed}: {what} was not refused"
    print(f"{cases} cases of {sum(map(len, MODULES.values()))} kernels, {refused} misshapen inputs refused")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
