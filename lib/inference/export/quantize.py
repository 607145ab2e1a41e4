"""Exported models with their convolutions in 8 bits."""

import contextlib
import io
from collections.abc import Iterable

import numpy as np
import onnx

from lib.inference.export.onnx import quiet
from lib.utils.optional import optional_package


def quantize(content: bytes, images: Iterable[np.ndarray]) -> bytes:
    """The model with its convolutions in int8, by nncf: weights by output channel, each map by the range of its values
    in ``images``. All else stays in float32.

    Small objects are lost where more than the convolutions is quantized. The first convolution and the predictors are
    in 8 bits too: to keep them in float32 won nothing (docs/deployment.md). Weights of dense convolutions take half of
    the 256 values, because the 8-bit sums of processors without VNNI overflow otherwise.

    Args:
        content: an ONNX model of ``onnx_bytes``.
        images: about a hundred (1, H, W, 3) uint8 BGR of the network's size, like those that the model will see.

    Returns:
        The content of an ONNX file, for ONNX Runtime and OpenVINO.

    Raises:
        MissingPackage: nncf is not installed.
    """
    nncf = optional_package("nncf", "--int8")
    parameters = optional_package("nncf.quantization.advanced_parameters", "--int8")
    model = onnx.load_from_string(content)
    others = sorted({node.op_type for node in model.graph.node} - {"Conv"})
    scope = nncf.IgnoredScope(types=others, validate=False)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    samples = [np.repeat(image, batch, axis=0) for image in images]
    dataset = nncf.Dataset(samples, lambda image: {"images": image})
    with quiet(), contextlib.redirect_stdout(io.StringIO()):  # which would tell of each node
        quantized = nncf.quantize(
            model,
            dataset,
            subset_size=len(samples),
            ignored_scope=scope,
            # A range for each channel, nncf's choice before depthwise convolutions, is what ONNX Runtime cannot run.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=parameters.OverflowFix.ENABLE,
                activations_quantization_params=parameters.QuantizationParameters(per_channel=False),
            ),
        )
    return bytes(quantized.SerializeToString())
