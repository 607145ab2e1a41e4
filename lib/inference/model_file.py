"""The two kinds of files that a predictor runs: a torch checkpoint, and an ONNX model exported from one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from easydict import EasyDict
from torch import nn

from lib.build import adopt_fitted_priors_, build_detector, num_classes
from lib.checkpoint import is_ours, load_weights, read_checkpoint, read_run
from lib.config import load_config
from lib.ops import PaddedDetections
from lib.structures import Predictions
from lib.utils.yaml_files import read_yaml

HEADS, DETECTIONS = ("logits", "deltas", "priors"), ("boxes", "scores", "labels", "counts")


class Loaded(NamedTuple):
    """A detector with its weights, on the CPU; its resolved config; and the names of label 1, 2, ..."""

    cfg: EasyDict
    classes: tuple[str, ...]
    detector: nn.Module


def config_for(
    checkpoint: str | Path, cfg: str | Path | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> EasyDict:
    """The config to use a checkpoint with: its own or ``cfg``; priors that are fitted to data are the checkpoint's."""
    config = load_config(cfg or read_run(checkpoint)["config"], overrides)
    if config.model.priors.fit is not None:
        adopt_fitted_priors_(config, read_checkpoint(checkpoint))
    return config


def load_detector(
    checkpoint: str | Path, cfg: str | Path | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Loaded:
    """The detector of a checkpoint: see ``Predictor``. One of another repository needs ``cfg``."""
    content = read_checkpoint(checkpoint)
    config = config_for(checkpoint, cfg, overrides)
    classes = content.get("classes") if is_ours(content) else None
    config.data.classes = list(classes or config.data.classes or ()) or None
    names = config.data.classes or [f"class {label}" for label in range(1, num_classes(config))]
    detector = build_detector(config)
    load_weights(detector, checkpoint)
    return Loaded(config, tuple(names), detector)


class OnnxModel:
    """An exported model, a file or its content, in ONNX Runtime, on the CPU, with its ``cfg`` and ``classes``.

    ``threads`` are those of one call; 0: ONNX Runtime's choice.
    """

    def __init__(self, source: str | Path | bytes, threads: int = 0):
        import onnxruntime  # needed only for ONNX
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

        content, name = (source, "the model") if isinstance(source, bytes) else (str(source), str(source))
        if not isinstance(content, bytes) and not Path(content).is_file():
            raise FileNotFoundError(f"an ONNX model must be a file; got {name}, which does not exist")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
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

    def __call__(self, images: np.ndarray) -> Predictions | PaddedDetections:
        """(B, H, W, 3) uint8 BGR -> Predictions; or, where NMS is inside, detections in pixels of these images."""
        values = [torch.from_numpy(value) for value in self._session.run(None, {"images": images})]
        if self._outputs == DETECTIONS:
            return PaddedDetections(*values)
        logits, deltas, priors = values
        return Predictions(logits, deltas, priors, (images.shape[1], images.shape[2]))
