"""The two kinds of files that a predictor runs: a torch checkpoint, and an ONNX model exported from one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from easydict import EasyDict
from torch import nn

from lib.build import build_detector, num_classes
from lib.checkpoint import is_ours, load_weights, read_checkpoint, read_run
from lib.config import load_config, read_yaml
from lib.ops import PaddedDetections
from lib.structures import Predictions

HEADS, DETECTIONS = ("logits", "deltas", "priors"), ("boxes", "scores", "labels", "counts")


class Loaded(NamedTuple):
    """A detector with its weights, on the CPU; its resolved config; and the names of label 1, 2, ..."""

    cfg: EasyDict
    classes: tuple[str, ...]
    detector: nn.Module


def load_detector(
    checkpoint: str | Path, cfg: str | Path | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Loaded:
    """The detector of a checkpoint.

    Args:
        checkpoint: ours, or one of another repository, which needs ``cfg``.
        cfg: an experiment; None: the config inside the checkpoint.
        overrides: ``key=value`` texts that change the config.
    """
    content = read_checkpoint(checkpoint)
    config = load_config(cfg or read_run(checkpoint)["config"], overrides)
    classes = content.get("classes") if is_ours(content) else None
    config.data.classes = list(classes or config.data.classes or ()) or None
    names = config.data.classes or [f"class {label}" for label in range(1, num_classes(config))]
    detector = build_detector(config)
    load_weights(detector, checkpoint)
    return Loaded(config, tuple(names), detector)


class OnnxModel:
    """An exported model in ONNX Runtime, on the CPU.

    Args:
        source: a file, or its content.
        threads: of one call; 0: ONNX Runtime's choice.

    Attributes:
        cfg, classes: as exported with it.
        gives_detections: whether decoding and NMS are inside; otherwise it ends with the heads.
    """

    def __init__(self, source: str | Path | bytes, threads: int = 0):
        import onnxruntime  # needed only for ONNX
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

        name = "the model" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise FileNotFoundError(f"an ONNX model must be a file; got {source}, which does not exist")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = source if isinstance(source, bytes) else str(source)
        try:
            self._session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        except (Fail, InvalidGraph, InvalidProtobuf) as error:
            raise ValueError(f"{name} must be an ONNX model; ONNX Runtime says: {error}") from None
        self._outputs = tuple(output.name for output in self._session.get_outputs())
        metadata = self._session.get_modelmeta().custom_metadata_map
        if self._outputs not in (HEADS, DETECTIONS) or "config" not in metadata:
            outputs = ", ".join(self._outputs)
            raise ValueError(f"{name} must be a model that tools/export.py wrote; its outputs are {outputs}")
        self.cfg = load_config(read_yaml(metadata["config"], "the model's config"))
        self.classes = tuple(json.loads(metadata["classes"]))
        self.gives_detections = self._outputs == DETECTIONS

    def __call__(self, images: np.ndarray) -> Predictions | PaddedDetections:
        """(B, H, W, 3) uint8 BGR -> Predictions, or detections in pixels of these images."""
        values = [torch.from_numpy(value) for value in self._session.run(None, {"images": images})]
        if self.gives_detections:
            return PaddedDetections(*values)
        logits, deltas, priors = values
        return Predictions(logits, deltas, priors, (images.shape[1], images.shape[2]))
