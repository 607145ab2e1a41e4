"""Exported models with the network in 8 bits."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process


class _Images(CalibrationDataReader):
    """Feeds images to the calibration."""

    def __init__(self, images: Iterable[np.ndarray]):
        self._images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input; None at the end."""
        image = next(self._images, None)
        return None if image is None else {"images": image}


def quantize(content: bytes, images: Iterable[np.ndarray]) -> bytes:
    """The model with its convolutions in int8, weights by output channel; all other operators stay in float32.

    Args:
        content: of an ONNX file, by ``onnx_bytes``.
        images: (1, H, W, 3) uint8 BGR of the network's size; a few dozen, from which the ranges of values are taken.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, small = (f"{folder}/{name}.onnx" for name in ("plain", "ready", "small"))
        Path(plain).write_bytes(content)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            _Images(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return Path(small).read_bytes()
