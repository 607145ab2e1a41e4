"""An ONNX model that tools/export.py wrote, in ONNX Runtime; nothing that a file says is trusted."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from easydict import EasyDict

from lib.build_data import testing_size
from lib.config import load_config
from lib.ops import PaddedDetections
from lib.ops.checks import check_predictions
from lib.structures import Predictions
from lib.utils.yaml_files import read_yaml

HEADS, DETECTIONS = ("logits", "deltas", "priors"), ("boxes", "scores", "labels", "counts")


class OnnxModel:
    """An exported model, a file or its content, in ONNX Runtime, on the CPU, with its ``cfg`` and ``classes``.

    ``threads`` are those of one call; 0: ONNX Runtime's choice. A file that is damaged, or that tools/export.py did not
    write, is a ValueError, here or at the call that meets the damage.
    """

    def __init__(self, source: str | Path | bytes, threads: int = 0):
        import onnxruntime  # needed only for ONNX

        content, self._name = (source, "the model") if isinstance(source, bytes) else (str(source), str(source))
        if not isinstance(content, bytes) and not Path(content).is_file():
            raise FileNotFoundError(f"an ONNX model must be a file; got {self._name}, which does not exist")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what is wrong is told once, by the error
        with self._explained("must be an ONNX model"):
            self._session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
            inputs = [(value.name, value.type) for value in self._session.get_inputs()]
            self._outputs = tuple(output.name for output in self._session.get_outputs())
            metadata = self._session.get_modelmeta().custom_metadata_map
        if self._outputs not in (HEADS, DETECTIONS) or "config" not in metadata or "classes" not in metadata:
            outputs = one_line(", ".join(self._outputs))
            raise ValueError(f"{self._name} must be a model that tools/export.py wrote; its outputs are {outputs}")
        if inputs != [("images", "tensor(uint8)")]:
            raise ValueError(f"{self._name} must take images as uint8, as tools/export.py writes it; it takes {inputs}")
        self.cfg, self.classes = read_about(metadata, self._name)

    @contextmanager
    def _explained(self, rule: str) -> Iterator[None]:
        """Gives the errors of ONNX Runtime the name of the file."""
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        names = "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoaded NoModel NoSuchFile"
        names += " NotImplemented RuntimeException ModelLoadCanceled ModelRequiresCompilation NotFound"
        errors = tuple(getattr(state, name) for name in names.split() if hasattr(state, name))
        try:
            yield
        except (*errors, RuntimeError, UnicodeDecodeError, MemoryError, ValueError) as error:
            raise ValueError(f"{self._name} {rule}; ONNX Runtime says: {one_line(error)}") from None

    def __call__(self, images: np.ndarray) -> Predictions | PaddedDetections:
        """(B, H, W, 3) uint8 BGR -> Predictions; or, where NMS is inside, detections in pixels of these images.

        Raises a ValueError, which names the file, where the model fails or its outputs do not fit together.
        """
        with self._explained("must run on images"):
            values = dict(zip(self._outputs, self._session.run(None, {"images": images}), strict=True))
        try:
            for name, value in values.items():
                wanted = np.int64 if name in ("labels", "counts") else np.float32
                if not isinstance(value, np.ndarray) or value.dtype != wanted:
                    kind = getattr(value, "dtype", type(value).__name__)
                    raise ValueError(f"{name} must be an array of {np.dtype(wanted)}; got {kind}")
            tensors = {name: torch.from_numpy(value) for name, value in values.items()}
            if self._outputs == DETECTIONS:
                detections = PaddedDetections(**tensors)
                check_detections(detections, len(images), len(self.classes))
                return detections
            predictions = Predictions(**tensors, image_size=(images.shape[1], images.shape[2]))
            check_heads(predictions, len(images), len(self.classes))
            return predictions
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._name} must give what its export gave: {one_line(error)}") from None


def one_line(error: object) -> str:
    """The text of an error on one line, of a length that can be read."""
    text = " ".join(str(error).split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= 400 else f"{printable[:400]} ..."


def read_about(metadata: Mapping[str, str], name: str) -> tuple[EasyDict, tuple[str, ...]]:
    """The config and the class names inside a model."""
    try:
        content = read_yaml(metadata["config"], "its text")
        if not isinstance(content, Mapping):
            raise ValueError(f"it must hold keys and values; got {type(content).__name__}")
        cfg = load_config(content)
        testing_size(cfg)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} must hold the config of its export; {one_line(error)}") from None
    try:
        classes: Any = json.loads(metadata["classes"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must hold its class names as JSON; {one_line(error)}") from None
    if not isinstance(classes, list) or not classes or not all(isinstance(label, str) for label in classes):
        raise ValueError(f"{name} must hold its class names as a list of texts; got {one_line(repr(classes))}")
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
