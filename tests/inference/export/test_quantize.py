"""8-bit models: only convolutions are quantized, and both runtimes run them."""

import sys

import numpy as np
import pytest
import torch

from lib.inference import Predictor
from lib.inference.export.quantize import quantize

onnx = pytest.importorskip("onnx", reason="needs onnx: make")
pytest.importorskip("nncf", reason="needs nncf: make extras")
pytest.importorskip("openvino", reason="needs openvino: make extras")


@pytest.fixture(scope="module")
def small(checkpoint, files, images, tmp_path_factory):
    """The exported detections in int8."""
    predictor = Predictor(checkpoint, "cpu")
    content = quantize(files["detections"].read_bytes(), (predictor.prepare([image]).images for image in images))
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    path.write_bytes(content)
    return path


def test_convolutions_are_quantized_and_nothing_else(files, small):
    nodes = onnx.load(small).graph.node
    made_by = {output: node for node in nodes for output in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    before = onnx.load(files["detections"])
    assert len(convolutions) == sum(node.op_type == "Conv" for node in before.graph.node) > 10
    for node in convolutions:
        assert [made_by[value].op_type for value in node.input[:2]] == ["DequantizeLinear"] * 2
    values = {value.name: onnx.numpy_helper.to_array(value) for value in onnx.load(small).graph.initializer}
    scales = [values[made_by[node.input[0]].input[1]] for node in convolutions]
    weights = [values[made_by[node.input[1]].input[0]].astype(int) for node in convolutions]
    assert max(np.abs(weight).max() for weight in weights if weight.shape[1] > 1) <= 64  # dense ones: see quantize
    assert {scale.size for scale in scales} == {1}  # ONNX Runtime cannot run maps with a range for each channel
    readers = {value for node in nodes if node.op_type != "Conv" for value in node.input}
    for node in nodes:
        if node.op_type == "DequantizeLinear":
            assert not readers & set(node.output)


def test_quantized_model_keeps_names_and_size_and_nearly_its_logits(files, small, images):
    plain, runs = (
        Predictor(files["detections"]),
        [Predictor(small, backend=name) for name in ("onnxruntime", "openvino")],
    )
    for predictor in runs:
        assert (predictor.classes, predictor.size) == (plain.classes, plain.size)
        for image in images[:3]:
            found, expected = predictor(image), plain(image)
            assert len(found.labels) == len(expected.labels)
            torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=0.05)


def test_without_nncf_the_line_says_what_to_install(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ValueError, match="--int8 needs the package nncf, .*pip install nncf=="):
        quantize(files["heads"].read_bytes(), [np.zeros((1, 64, 96, 3), np.uint8)])
