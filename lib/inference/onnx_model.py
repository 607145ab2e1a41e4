"""An ONNX model that tools/export.py wrote, in ONNX Runtime or OpenVINO; nothing that a file says is trusted."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from easydict import EasyDict

from lib.build_data import testing_size
from lib.config import load_config
from lib.data.fit import Size
from lib.inference.openvino_engine import OpenVinoEngine
from lib.ops import PaddedDetections
from lib.ops.checks import check_predictions
from lib.structures import Predictions
from lib.utils.fields import error_text, one_line, shown
from lib.utils.yaml_files import read_yaml

HEADS, DETECTIONS = ("logits", "deltas", "priors"), ("boxes", "scores", "labels", "counts")
LOGITS = HEADS[:2]  # of a model for inputs of any size, whose priors depend on it
Engine = Callable[[np.ndarray], list[np.ndarray]]  # images (B, H, W, 3) uint8 -> the model's outputs, by their order


class OnnxModel:
    """An exported model, a file or its content, on the CPU, with its ``cfg`` and ``classes``.

    A file that is damaged, or that tools/export.py did not write, is a ValueError, here or at the call that meets the
    damage. ONNX Runtime checks the model, whatever runs it afterwards.

    Args:
        threads: of one call; 0: the engine's choice.
        engine: what runs the model: onnxruntime or openvino.
        dtype: that the network computes in: float32, or with openvino bfloat16.
        priors: (height, width) of an input -> its priors (P, 4), of a model that ends with logits and deltas alone.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        threads: int = 0,
        engine: str = "onnxruntime",
        dtype: str = "float32",
        priors: Callable[[Size], torch.Tensor] | None = None,
    ):
        content, self._name = (source, "the model") if isinstance(source, bytes) else (str(source), str(source))
        if not isinstance(content, bytes) and not Path(content).is_file():
            raise FileNotFoundError(f"an ONNX model must be a file; got {self._name}, which does not exist")
        with self._explained("must be an ONNX model"):
            session = _open_session(content, threads, is_run=engine == "onnxruntime")
            inputs = [(value.name, value.type) for value in session.get_inputs()]
            self._outputs = tuple(output.name for output in session.get_outputs())
            metadata = session.get_modelmeta().custom_metadata_map
        self._priors = priors
        if (
            self._outputs not in ((LOGITS,) if priors else (HEADS, DETECTIONS))
            or "config" not in metadata
            or "classes" not in metadata
        ):
            outputs = one_line(", ".join(self._outputs), 400)
            raise ValueError(f"{self._name} must be a model that tools/export.py wrote; its outputs are {outputs}")
        if inputs != [("images", "tensor(uint8)")]:
            raise ValueError(f"{self._name} must take images as uint8, as tools/export.py writes it; it takes {inputs}")
        self.cfg, self.classes = read_about(metadata, self._name)
        shape = session.get_inputs()[0].shape or [None]
        fixed, self._stride = shape[0], shape[2] if priors else None  # see lib/inference/export/onnx.py: AnySizeModel
        self._batch: int | None = fixed if isinstance(fixed, int) else None  # images that it takes at once; None: any
        self._run: Engine = lambda images: session.run(None, {"images": images})
        if engine == "openvino":
            self._batch = self._batch or 1  # as fast as more at once, and images of one size are then one program
            with self._explained("must be a model that OpenVINO takes", "OpenVINO"):
                self._run = OpenVinoEngine(content, threads, dtype)
        self._runtime = "OpenVINO" if engine == "openvino" else "ONNX Runtime"

    @contextmanager
    def _explained(self, rule: str, runtime: str = "ONNX Runtime") -> Iterator[None]:
        """Gives the errors of what runs the model the name of the file."""
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        names = "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoaded NoModel NoSuchFile"
        names += " NotImplemented RuntimeException ModelLoadCanceled ModelRequiresCompilation NotFound"
        errors = tuple(getattr(state, name) for name in names.split() if hasattr(state, name))
        try:
            yield
        except (*errors, RuntimeError, UnicodeDecodeError, MemoryError, ValueError) as error:
            raise ValueError(f"{self._name} {rule}; {runtime} says: {error_text(error)}") from None

    def __call__(self, images: np.ndarray) -> Predictions | PaddedDetections:
        """(B, H, W, 3) uint8 BGR -> Predictions; or, where NMS is inside, detections in pixels of these images.

        Raises a ValueError, which names the file, where the model fails or its outputs do not fit together.
        """
        size = self._batch or len(images)
        parts = [self._run_batch(images[start : start + size], size) for start in range(0, len(images), size)]
        with self._fitting():
            return parts[0] if len(parts) == 1 else _join(parts)

    def _run_batch(self, images: np.ndarray, size: int) -> Predictions | PaddedDetections:
        """The output for images that go through the model as one batch of ``size``, filled up with the last one."""
        given = images[np.minimum(np.arange(size), len(images) - 1)] if len(images) < size else images
        if self._stride:
            rows, columns = (side // self._stride for side in given.shape[1:3])
            given = given.reshape(len(given), rows, self._stride, columns, self._stride, 3)
        with self._explained("must run on images", self._runtime):
            values = dict(zip(self._outputs, self._run(given), strict=True))
        with self._fitting():
            for name, value in values.items():
                wanted = np.int64 if name in ("labels", "counts") else np.float32
                if not isinstance(value, np.ndarray) or value.dtype != wanted:
                    kind = getattr(value, "dtype", type(value).__name__)
                    raise ValueError(f"{name} must be an array of {np.dtype(wanted)}; got {kind}")
            tensors = {name: torch.from_numpy(value) for name, value in values.items()}
            if self._outputs == DETECTIONS:
                detections = PaddedDetections(**tensors)
                check_detections(detections, size, len(self.classes))
                return PaddedDetections(*(value[: len(images)] for value in detections))
            size_of_images = (images.shape[1], images.shape[2])
            if self._priors is not None:
                tensors["priors"] = self._priors(size_of_images)
            predictions = Predictions(**tensors, image_size=size_of_images)
            check_heads(predictions, size, len(self.classes))
            logits, deltas = predictions.logits[: len(images)], predictions.deltas[: len(images)]
            return predictions._replace(logits=logits, deltas=deltas)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Gives the errors of outputs that do not fit together the name of the file."""
        try:
            yield
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{self._name} must give what its export gave: {error_text(error)}") from None


def _open_session(content: str | bytes, threads: int, is_run: bool) -> Any:
    """A model in ONNX Runtime; one that is only to be checked is not optimized."""
    import onnxruntime  # needed only for ONNX

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what is wrong is told once, by the error
    if not is_run:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])


def _join(parts: Sequence[Predictions | PaddedDetections]) -> Predictions | PaddedDetections:
    """The output for all images of several batches."""
    first = parts[0]
    if isinstance(first, Predictions):
        heads = [part for part in parts if isinstance(part, Predictions)]
        logits, deltas = torch.cat([part.logits for part in heads]), torch.cat([part.deltas for part in heads])
        return first._replace(logits=logits, deltas=deltas)
    return PaddedDetections(*(torch.cat(values) for values in zip(*parts, strict=True)))


def read_about(metadata: Mapping[str, str], name: str) -> tuple[EasyDict, tuple[str, ...]]:
    """The config and the class names inside a model."""
    try:
        content = read_yaml(metadata["config"], "its text")
        if not isinstance(content, Mapping):
            raise ValueError(f"it must hold keys and values; got {type(content).__name__}")
        cfg = load_config(content)
        testing_size(cfg)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} must hold the config of its export; {error_text(error)}") from None
    try:
        classes: Any = json.loads(metadata["classes"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must hold its class names as JSON; {error_text(error)}") from None
    if not isinstance(classes, list) or not classes or not all(isinstance(label, str) for label in classes):
        raise ValueError(f"{name} must hold its class names as a list of texts; got {shown(classes)}")
    columns = cfg.model.num_classes or len(cfg.data.classes or classes) + 1
    if columns != len(classes) + 1:
        raise ValueError(f"{name} must name its {columns - 1} classes; got {len(classes)} names")
    return cfg, tuple(classes)


def check_heads(predictions: Predictions, images: int, classes: int) -> None:
    """That raw predictions fit together, are of so many images, and have a column a class and a background."""
    check_predictions(*predictions[:3])
    batch, _, columns = predictions.logits.shape
    if (batch, columns) != (images, classes + 1):
        raise ValueError(f"logits must be of {images} images and {classes + 1} columns; got {batch} and {columns}")


def check_detections(detections: PaddedDetections[torch.Tensor], images: int, classes: int) -> None:
    """That detections fit together, are of so many images, and that those which count are finite and of a class."""
    boxes, scores, labels, counts = detections
    size = (images, scores.shape[1] if scores.ndim == 2 else -1)
    if boxes.shape != (*size, 4) or not (scores.shape == labels.shape == size) or counts.shape != size[:1]:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in detections._asdict().items())
        raise ValueError(f"detections of {images} images must be (B, D, 4), (B, D), (B, D) and (B,); got {shapes}")
    if not ((counts >= 0) & (counts <= size[1])).all():
        raise ValueError(f"counts must be in 0 .. {size[1]}; got {counts.tolist()}")
    counted = torch.arange(size[1]) < counts[:, None]  # (B, D)
    if not (boxes[counted].isfinite().all() and scores[counted].isfinite().all()):
        raise ValueError("boxes and scores must be finite; got others")
    if not ((labels[counted] >= 1) & (labels[counted] <= classes)).all():
        raise ValueError(f"labels must be in 1 .. {classes}; got {sorted(set(labels[counted].tolist()))[:5]}")
