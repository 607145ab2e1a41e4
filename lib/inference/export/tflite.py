"""A detector as a LiteRT model (.tflite) for phones and small computers, by litert-torch and ai-edge-quantizer."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from lib import __version__
from lib.build import build_postprocess
from lib.build_data import testing_size
from lib.config import dump_config
from lib.inference.export.about import about_model
from lib.inference.export.onnx import HeadsModel, quiet
from lib.inference.model_file import Loaded
from lib.inference.network import Network
from lib.inference.onnx_model import HEADS
from lib.inference.tflite_model import INPUT, TfliteModel, join, split
from lib.ops import bbox_overlaps
from lib.structures import Detections, Predictions
from lib.utils.optional import optional_package

log = logging.getLogger(__name__)
TOLERANCE = 1e-3  # of logits and deltas, absolute and relative, by which the interpreter may differ from torch in fp32
SAME_IOU = 0.5  # above which two boxes of a label are one object's
LEAST_KEPT = 0.7  # share of the detections, weighted by score, that the model in 8 bits must find again
PURPOSE = "a LiteRT model (.tflite)"


class ExportError(ValueError):
    """The exported model does not compute what the detector computes."""


class NamedHeads(nn.Module):
    """Heads by name, which become the names of the model's outputs."""

    def __init__(self, network: Network):
        super().__init__()
        self.heads = HeadsModel(network)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(1, H, W, 3) uint8 BGR of the network's size."""
        return dict(zip(HEADS, self.heads(images), strict=True))


def tflite_bytes(loaded: Loaded) -> bytes:
    """The content of a .tflite file that ends with logits, deltas and priors, checked by LiteRT's own interpreter.

    Raises:
        ExportError: the interpreter gives other heads than torch.
    """
    model, size, about = _named_heads(loaded), testing_size(loaded.cfg), _about(loaded)
    content = join(convert(model, size), about)
    if about["suppression"] != "nms":
        log.warning(
            "postprocess.suppression=%s is used by Predictor; tflite_post.py, for programs without this project, uses "
            "NMS instead: its boxes and scores will differ slightly",
            about["suppression"],
        )
    check_heads_agree(model, TfliteModel(content), _test_images(size))
    return content


def tflite_in_8_bits(content: bytes, loaded: Loaded, samples: Sequence[np.ndarray]) -> bytes:
    """What ``tflite_bytes`` gave for a detector, with its convolutions in 8 bits, their weights by channel.

    Args:
        samples: (1, H, W, 3) uint8 BGR of the network's size, from which the ranges of maps come.

    Raises:
        ExportError: the interpreter gives other heads for them than torch or, in 8 bits, other detections.
    """
    model, (network, about) = _named_heads(loaded), split(content, "the model in float32")
    check_heads_agree(model, TfliteModel(content), samples[:4])
    small = join(_quantize(network, samples), about)
    check_detections_agree(loaded, model, TfliteModel(small), samples)
    return small


def _named_heads(loaded: Loaded) -> nn.Module:
    return NamedHeads(Network(loaded.cfg, loaded.detector)).eval()


def convert(
    model: nn.Module, size: tuple[int, int], memory_format: torch.memory_format = torch.contiguous_format
) -> bytes:
    """A module for images (1, H, W, 3) as LiteRT has it.

    Weights in the order of channels_last must not be converted: litert-torch 0.10.0 takes two of them for one where
    their shapes are equal, and writes a wrong model without a word.
    """
    with _silent():
        litert_torch = optional_package("litert_torch", PURPOSE)
    model = model.to(memory_format=memory_format)  # type: ignore[call-overload] # missing in the stub
    example = torch.zeros(1, *size, 3, dtype=torch.uint8)
    with torch.inference_mode(False), torch.no_grad(), TemporaryDirectory() as folder, _silent():
        model(example)  # the priors become constants
        program = litert_torch.convert(model, sample_kwargs={INPUT: example})
        program.export(f"{folder}/model.tflite")
        return Path(folder, "model.tflite").read_bytes()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the reports of progress that converter and quantizer print."""
    with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _quantize(content: bytes, samples: Sequence[np.ndarray]) -> bytes:
    """The model with its convolutions in int8, by ai-edge-quantizer; inputs and outputs stay as they are."""
    with _silent():
        quantizer = optional_package("ai_edge_quantizer.quantizer", f"--int8 of {PURPOSE}")
        work = quantizer.Quantizer(bytearray(content))
        for operation in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            work.add_static_config(".*", operation, activation_num_bits=8, weight_num_bits=8)
        ranges = work.calibrate({"serving_default": [{INPUT: image} for image in samples]}, num_threads=1)
        return bytes(work.quantize(ranges).quantized_model)


def _about(loaded: Loaded) -> dict[str, Any]:
    """What the file says of itself."""
    about = about_model(loaded)
    height, width = about["size"]
    return {
        "config": dump_config(loaded.cfg),
        "version": __version__,
        "input": f"{INPUT}: (1, {height}, {width}, 3) uint8 BGR",
        "outputs": ", ".join(HEADS),
        **about,
    }


def _test_images(size: tuple[int, int]) -> list[np.ndarray]:
    """Noise and a ramp, (1, H, W, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, size[1]).astype(np.uint8)[None, None, :, None], (1, *size, 3))
    return [noise, np.ascontiguousarray(ramp)]


def _heads(model: nn.Module, image: np.ndarray) -> Predictions:
    with torch.no_grad():
        outputs = model(torch.from_numpy(image))
    return Predictions(outputs["logits"], outputs["deltas"], outputs["priors"], (image.shape[1], image.shape[2]))


def check_heads_agree(model: nn.Module, exported: TfliteModel, images: Sequence[np.ndarray]) -> None:
    """Raises an ExportError unless both give the same heads for images (1, H, W, 3)."""
    for image in images:
        for name, expected, got in zip(HEADS, _heads(model, image)[:3], exported(image)[:3], strict=True):
            error = (got - expected).abs()
            if not (error <= TOLERANCE + TOLERANCE * expected.abs()).all():
                raise ExportError(
                    f"the {name} of the LiteRT model must equal torch's to {TOLERANCE}; they differ by up to "
                    f"{float(error.max()):.3g}, which is a fault of the converter: nothing was written"
                )


def check_detections_agree(
    loaded: Loaded, model: nn.Module, exported: TfliteModel, images: Sequence[np.ndarray]
) -> None:
    """Raises an ExportError unless ``exported`` finds most of what torch finds again, in images (1, H, W, 3)."""
    kept = total = 0.0
    postprocess = build_postprocess(loaded.cfg)
    for image in images:
        sizes = torch.tensor([image.shape[1:3]])
        expected, got = (postprocess(heads, sizes)[0] for heads in (_heads(model, image), exported(image)))
        kept += float(expected.scores[_is_found(expected, got)].sum())
        total += float(expected.scores.sum())
    if kept < LEAST_KEPT * total:
        raise ExportError(
            f"the model in 8 bits must find {LEAST_KEPT:.0%} of the detections again, weighted by score; it finds "
            f"{kept / total:.0%} in {len(images)} images: give --int8 images like those of the training, or more; "
            "nothing was written"
        )


def _is_found(expected: Detections, got: Detections) -> torch.Tensor:
    """(D,) whether each expected detection has one of its label at its place."""
    overlaps = bbox_overlaps(expected.boxes, got.boxes) > SAME_IOU
    return (overlaps & (expected.labels[:, None] == got.labels)).any(1)
