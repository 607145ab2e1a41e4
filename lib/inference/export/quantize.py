"""Exported models with the network in 8 bits."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from lib.inference.export.onnx import quiet

ERROR = 3  # severity of ONNX Runtime's messages from which on they are shown


class _Images(CalibrationDataReader):
    def __init__(self, images: Iterable[np.ndarray]):
        self._inputs = ({"images": image} for image in images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input of the model; None at the end."""
        return next(self._inputs, None)


def quantize(content: bytes, images: Iterable[np.ndarray]) -> bytes:
    """The model with its convolutions in int8, weights by output channel; all other operators stay in float32.

    The ranges of values are taken from ``images``, a few dozen (1, H, W, 3) uint8 BGR of the network's size.
    """
    onnxruntime.set_default_logger_severity(ERROR)
    with tempfile.TemporaryDirectory() as folder, quiet():
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
