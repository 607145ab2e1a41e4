"""An ONNX model in OpenVINO, on the CPU, in float32 or bfloat16."""

import functools
from collections import deque
from typing import Any

import numpy as np

from lib.utils.optional import optional_package

HINTS = {"float32": "f32", "bfloat16": "bf16"}  # dtype -> OpenVINO's name for the precision that it computes in
CAPABILITIES = {"bfloat16": "BF16"}  # dtype -> what OpenVINO calls a processor's ability to compute in it
MAX_SHAPES = 8  # shapes of input that get a program of their own; further ones share one for any shape


def _core() -> Any:
    """OpenVINO's entry to everything else; a MissingPackage without openvino."""
    return _core_of(optional_package("openvino", "backend=openvino"))


@functools.cache
def _core_of(package: Any) -> Any:
    """One for the process, never freed: OpenVINO 2026.4 lays a stack for signals for each, and where two are freed in
    the order in which they were made, the process crashes at its next signal.
    """
    return package.Core()


def check_openvino(dtype: str) -> None:
    """Raises a MissingPackage without openvino, and a ValueError where the processor does not compute in the dtype."""
    abilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if dtype in CAPABILITIES and CAPABILITIES[dtype] not in abilities:
        raise ValueError(
            f"dtype={dtype} must be one that the processor computes in, with backend=openvino; OpenVINO finds "
            f"{', '.join(abilities)} here: choose float32"
        )


class OpenVinoEngine:
    """Runs an ONNX model, a file or its content, on images (B, H, W, 3) uint8 -> its outputs, by their order.

    A program is compiled for each shape of input, which is faster than one for any shape. Several threads may call.
    Where NMS is inside, boxes of exactly equal score may come in another order than in ONNX Runtime: OpenVINO's TopK
    can keep their order, but takes many times as long then.

    Args:
        source: path or content of the model.
        threads: of one call; 0: OpenVINO's choice.
        dtype: float32 or bfloat16, in which the network computes; what is quantized in the file stays so.
    """

    def __init__(self, source: str | bytes, threads: int, dtype: str):
        self._core = _core()
        self._options = {
            "INFERENCE_PRECISION_HINT": HINTS[dtype],  # else OpenVINO takes bfloat16 where the processor has it
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        } | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
        self._model = self._core.read_model(source, b"") if isinstance(source, bytes) else self._core.read_model(source)
        self._idle: dict[tuple[int, ...], deque[Any]] = {}  # shape -> requests that no thread uses
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """The model's outputs for images (B, H, W, 3) uint8."""
        shape = images.shape if images.shape in self._compiled or len(self._compiled) < MAX_SHAPES else ()
        idle = self._idle.setdefault(shape, deque())
        try:
            request = idle.pop()
        except IndexError:
            request = self._compile(shape).create_infer_request()
        request.infer([np.ascontiguousarray(images)], share_inputs=True)
        outputs = [np.array(tensor.data) for tensor in request.output_tensors]  # the next call reuses its memory
        idle.append(request)
        return outputs

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """The program for inputs of a shape; (): of any."""
        if shape not in self._compiled:
            model = self._model.clone()
            if shape:
                model.reshape(list(shape))
            self._compiled[shape] = self._core.compile_model(model, "CPU", self._options)
        return self._compiled[shape]
