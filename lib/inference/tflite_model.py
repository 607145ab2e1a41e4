"""A LiteRT model that tools/export.py wrote, in its interpreter; nothing that a file says is trusted."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.build_data import testing_size
from lib.inference.onnx_model import HEADS, check_heads, read_about
from lib.structures import Predictions
from lib.utils.fields import error_text, one_line
from lib.utils.optional import optional_package

IDENTIFIER = b"TFL3"  # at byte 4 of a file of TensorFlow Lite, as LiteRT was called
ABOUT = "about.json"  # in the zip archive at the end of the file, which interpreters do not look at
INPUT = "images"
LARGEST_ABOUT = 1 << 24  # bytes


class TfliteModel:
    """An exported model, a file or its content, on the CPU, with its ``cfg`` and ``classes``.

    ``threads`` are those of one call; 0: one. A file that is damaged, or that tools/export.py did not write, is a
    ValueError: the interpreter itself would end the process over some of them.
    """

    def __init__(self, source: str | Path | bytes, threads: int = 0):
        self._name = "the model" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise FileNotFoundError(f"a LiteRT model must be a file; got {self._name}, which does not exist")
        network, about = split(source if isinstance(source, bytes) else Path(source).read_bytes(), self._name)
        texts = {"config": str(about.get("config")), "classes": json.dumps(about.get("classes"))}
        self.cfg, self.classes = read_about(texts, self._name)
        litert = optional_package("ai_edge_litert.interpreter", "a LiteRT model (.tflite)")
        try:
            self._interpreter = litert.Interpreter(model_content=network, num_threads=threads or 1)
            self._run = self._interpreter.get_signature_runner()
            inputs = {name: (tuple(x["shape"]), x["dtype"]) for name, x in self._run.get_input_details().items()}
            outputs = set(self._run.get_output_details())
        except (ValueError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"{self._name} must be a LiteRT model; its interpreter says: {error_text(error)}"
            ) from None
        expected = {INPUT: ((1, *testing_size(self.cfg), 3), np.uint8)}
        if inputs != expected or outputs != set(HEADS):
            raise ValueError(
                f"{self._name} must be a model that tools/export.py wrote, from {expected} to {', '.join(HEADS)}; "
                f"it is from {one_line(inputs, 400)} to {one_line(', '.join(sorted(outputs)), 400)}"
            )
        self._lock = threading.Lock()  # an interpreter has one set of tensors

    def __call__(self, images: np.ndarray) -> Predictions:
        """(B, H, W, 3) uint8 BGR of the network's size -> Predictions; the images go through one by one.

        Raises a ValueError, which names the file, where the model fails or its outputs do not fit together.
        """
        try:
            with self._lock:
                outputs = [self._run(**{INPUT: image[None]}) for image in images]
            logits, deltas, (priors, *_) = ([output[name] for output in outputs] for name in HEADS)
            heads = [torch.from_numpy(value) for value in (np.concatenate(logits), np.concatenate(deltas), priors)]
            predictions = Predictions(heads[0], heads[1], heads[2], (images.shape[1], images.shape[2]))
            check_heads(predictions, len(images), len(self.classes))
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{self._name} must give what its export gave: {error_text(error)}") from None
        return predictions


def join(network: bytes, about: Mapping[str, Any]) -> bytes:
    """The content of a file: the network, and a zip archive that says what it is, where LiteRT has its metadata."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        entry = zipfile.ZipInfo(ABOUT)  # without the time, so that the same model is the same file
        file.writestr(entry, json.dumps({**about, "sha256": hashlib.sha256(network).hexdigest()}, indent=1))
    return network + archive.getvalue()


def split(content: bytes, name: str) -> tuple[bytes, dict[str, Any]]:
    """The network of a file, and what the file says of it; a ValueError that names the file where one is damaged."""
    if content[4:8] != IDENTIFIER:
        raise ValueError(f"{name} must be a LiteRT model, with TFL3 at byte 4; it has {content[4:8]!r}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entry = file.getinfo(ABOUT)
            if entry.file_size > LARGEST_ABOUT:
                raise ValueError(f"{ABOUT} has {entry.file_size} bytes")
            about = json.loads(file.read(entry))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, EOFError, OSError, NotImplementedError) as error:
        raise ValueError(
            f"{name} must be a model that tools/export.py wrote, with {ABOUT} at its end: {error_text(error)}"
        ) from None
    network = content[: entry.header_offset]
    if not isinstance(about, dict) or about.get("sha256") != hashlib.sha256(network).hexdigest():
        raise ValueError(f"{name} must be whole; its content has another SHA-256 than it says: export it again")
    return network, about
