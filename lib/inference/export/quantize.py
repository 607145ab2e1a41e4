"""Exported models with their convolutions in 8 bits."""

import contextlib
import io
from collections.abc import Iterable

import numpy as np
import onnx

from lib.inference.export.onnx import quiet
from lib.utils.optional import optional_package


def quantize(content: bytes, images: Iterable[np.ndarray]) -> bytes:
    """The model with its convolutions in int8, by nncf: weights by output channel, the maps between them by the ranges
    that ``images`` give; before depthwise convolutions each channel has its own. All else stays in float32.

    Small objects are lost where more than the convolutions is quantized. The first convolution and the predictors are
    in 8 bits too: to keep them in float32 won nothing (docs/deployment.md).

    Args:
        content: an ONNX model of ``onnx_bytes``.
        images: about a hundred (1, H, W, 3) uint8 BGR of the network's size, like those that the model will see.

    Returns:
        The content of an ONNX file, which OpenVINO runs in 8 bits. ONNX Runtime runs it too, but in float32.

    Raises:
        MissingPackage: nncf is not installed.
    """
    nncf = optional_package("nncf", "--int8")
    model = onnx.load_from_string(content)
    others = sorted({node.op_type for node in model.graph.node} - {"Conv"})
    scope = nncf.IgnoredScope(types=others, validate=False)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    samples = [np.repeat(image, batch, axis=0) for image in images]
    dataset = nncf.Dataset(samples, lambda image: {"images": image})
    with quiet(), contextlib.redirect_stdout(io.StringIO()):  # which would tell of each node
        quantized = nncf.quantize(model, dataset, subset_size=len(samples), ignored_scope=scope)
    return bytes(quantized.SerializeToString())
