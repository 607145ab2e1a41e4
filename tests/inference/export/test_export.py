"""ONNX and torch.export: the detections of the exported model are those of the checkpoint."""

import json

import cv2
import numpy as np
import pytest
import torch

from lib.build import build_postprocess
from lib.data.augment.geometric import Resize
from lib.inference import Predictor
from lib.inference.export import onnx as export
from lib.inference.export import tflite_post
from lib.inference.export.agreement import compare, matching_rows
from lib.inference.export.onnx import make_program, onnx_bytes, resize_images
from lib.inference.model_file import load_detector
from lib.structures import Detections, Predictions

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: make")
onnx = pytest.importorskip("onnx", reason="needs onnx: make")
pytest.importorskip("onnxscript", reason="needs onnxscript: make")


@pytest.mark.parametrize("name", ["detections", "heads"])
def test_exported_model_finds_the_same_boxes_in_the_same_order(checkpoint, files, images, name):
    agreement = compare(Predictor(checkpoint, "cpu"), Predictor(files[name]), images)
    assert agreement.unequal == ()
    assert agreement.detections > 20
    assert agreement.score_error < 1e-4
    assert agreement.box_error < 1e-2


def test_plain_runtime_takes_batches_of_any_size_and_gives_boxes_in_the_image(checkpoint, files, images):
    session = onnxruntime.InferenceSession(files["detections"])
    predictor = Predictor(checkpoint, "cpu")
    for count in (1, 3):
        boxes, scores, labels, counts = session.run(None, {"images": np.stack([images[2]] * count)})
        assert boxes.shape == (count, 20, 4)
        found = predictor(images[2])
        assert abs(int(counts[-1]) - len(found.scores)) <= 1  # the resize inside differs by a gray level here and there
        np.testing.assert_allclose(scores[-1, :3], found.scores[:3], atol=0.02)
        assert (boxes[..., 2] <= 131).all()
        assert (labels[scores == 0] == -1).all()


def test_an_onnx_file_of_heads_says_what_a_program_needs_around_it(checkpoint, files, images):
    session = onnxruntime.InferenceSession(files["heads"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["about"])
    assert about == {
        "classes": ["disc", "ring"],
        "background": 0,
        "size": [64, 96],
        "resize": "stretch",
        "scale": 1.0,
        "fill": [124, 117, 104],
        "activation": "softmax",
        "variances": [0.1, 0.2],
        "score_threshold": 0.01,
        "iou_threshold": 0.45,
        "max_candidates": 400,
        "max_detections": 20,
        "suppression": "nms",
    }
    logits, deltas, priors = session.run(None, {"images": tflite_post.prepare(images[0], about)})
    logits = 0.03 * logits  # else nearly all scores are 1, and rounding decides which come first
    boxes, scores, labels = tflite_post.detect(logits[0], deltas[0], priors, about)
    heads = Predictions(*map(torch.from_numpy, (logits, deltas, priors)), (64, 96))
    expected = build_postprocess(load_detector(checkpoint).cfg)(heads, torch.tensor([[64, 96]]))[0]
    assert labels.tolist() == expected.labels.tolist() and len(labels) == 20
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(boxes, expected.boxes, atol=1e-3)


def test_opencv_runs_the_whole_model_resize_and_nms_inside(spread, images):
    session = onnxruntime.InferenceSession(spread, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    network = cv2.dnn.readNetFromONNX(str(spread), cv2.dnn.ENGINE_NEW)
    for place in (0, 1, 3, 4):  # in the others there are boxes without area, which OpenCV's NMS drops
        expected = session.run(None, {"images": images[place][None]})
        network.setInput(images[place][None], "images")
        for name, found, value in zip(names, network.forward(names), expected, strict=True):
            np.testing.assert_allclose(found.reshape(value.shape), value, atol=1e-3, err_msg=name)


def test_batch_and_opset_can_be_chosen(checkpoint, files, images, tmp_path, monkeypatch):
    model, chosen = onnx.load(files["heads"]), []  # the export itself, which takes seconds

    def written(program, outputs, about, opset):
        (image,) = (node.meta["val"] for node in program.graph.nodes if node.name == "images")
        chosen.append((tuple(image.shape), opset))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = image.shape[0]
        return model.SerializeToString()

    monkeypatch.setattr(export, "_to_onnx", written)
    (tmp_path / "model.onnx").write_bytes(onnx_bytes(load_detector(checkpoint), heads=True, opset=20, batch=2))
    assert chosen == [((2, 64, 96, 3), 20)]
    expected = Predictor(checkpoint, "cpu")(images[:5])
    for found, other in zip(Predictor(tmp_path / "model.onnx")(images[:5]), expected, strict=True):
        assert found.labels.tolist() == other.labels.tolist()
        torch.testing.assert_close(found.boxes, other.boxes, rtol=0, atol=1e-2)


def test_an_opset_has_the_version_of_onnx_that_came_with_it():
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1),))
    model = onnx.load_from_string(export._to_onnx(program, ["y"], {}, 20))
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 20)]
    assert model.ir_version == 9  # which came with opset 20


def test_an_opset_that_torch_does_not_write_is_refused():
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1),))
    with pytest.raises(ValueError, match="--opset must be one that torch can write this model in; got 9"):
        export._to_onnx(program, ["y"], {}, 9)


def test_file_says_what_it_is(files):
    session = onnxruntime.InferenceSession(files["detections"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == ["disc", "ring"]
    assert metadata["version"] == "0.9.0"
    predictor = Predictor(files["detections"])
    assert (predictor.classes, predictor.size) == (("disc", "ring"), (64, 96))


def test_only_standard_operators_are_used(files):
    for file in files.values():
        model = onnx.load(file)
        assert {node.domain for node in model.graph.node} == {""}
        assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 18)]
        assert not model.functions
        assert model.ir_version == 8  # which came with opset 18
        onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("size", [(64, 96), (70, 120), (50, 310), (200, 131), (129, 193), (40, 50), (640, 481)])
def test_resize_inside_is_that_of_evaluation_but_for_rounding(checkpoint, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    expected = Predictor(checkpoint, "cpu").prepare([image]).images[0].astype(int)
    resized = resize_images(torch.from_numpy(image)[None], Resize((64, 96)))[0][0].numpy().astype(int)
    assert np.abs(resized - expected).max() <= 2
    assert (resized != expected).mean() < 0.14


def test_archive_of_torch_export_runs(checkpoint, images):
    program = make_program(load_detector(checkpoint), resize=False)
    predictor = Predictor(checkpoint, "cpu")
    prepared = predictor.prepare(images[:3])
    prepared = prepared._replace(sizes=torch.tensor([[64, 96]] * 3), frames=torch.tensor([[64.0, 96.0]] * 3))
    boxes, scores, labels, counts = program.module()(torch.from_numpy(prepared.images))
    for row, found in enumerate(predictor.select(predictor.forward(prepared.images), prepared)):
        assert labels[row, : counts[row]].tolist() == found.labels.tolist()
        torch.testing.assert_close(boxes[row, : counts[row]], found.boxes, atol=1e-3, rtol=0)


def test_comparison_sees_order_but_for_ties():
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 20, 30, 30], [40, 40, 60, 60]])
    found = Detections(boxes, torch.tensor([0.9, 0.5, 0.5]), torch.tensor([1, 2, 2]))
    assert matching_rows(found, found).tolist() == [0, 1, 2]
    assert matching_rows(found, Detections(*(value[[0, 2, 1]] for value in found))).tolist() == [0, 2, 1]
    assert matching_rows(found, Detections(*(value[[1, 0, 2]] for value in found))) is None
    assert matching_rows(found, Detections(*(value[:2] for value in found))) is None
    assert matching_rows(found, found._replace(labels=torch.tensor([1, 2, 1]))) is None


def test_file_of_others_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="must be an ONNX model"):
        Predictor(tmp_path / "x.onnx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Predictor(tmp_path / "y.onnx")


def test_comparison_of_nothing_is_refused(checkpoint, images):
    predictor = Predictor(checkpoint, "cpu", overrides=("postprocess.score_threshold=1",))
    for given in ([], images[:2]):
        with pytest.raises(ValueError, match=f"got {len(given)} images and no detection"):
            compare(predictor, predictor, given)


def test_only_nms_is_exported_but_heads_go_with_any_suppression(checkpoint, files, images, tmp_path, monkeypatch):
    loaded = load_detector(checkpoint, overrides=("postprocess.suppression=soft",))
    with pytest.raises(ValueError, match="suppression must be nms in an ONNX model .* got soft: choose heads=True"):
        onnx_bytes(loaded)
    model, path = onnx.load(files["heads"]), tmp_path / "heads.onnx"  # the export itself, which takes seconds

    def written(program, outputs, about, opset):
        onnx.helper.set_model_props(model, about)
        return model.SerializeToString()

    monkeypatch.setattr(export, "make_program", lambda *_: None)
    monkeypatch.setattr(export, "_to_onnx", written)
    path.write_bytes(onnx_bytes(loaded, heads=True))
    found, expected = Predictor(path)(images[0]), Predictor(loaded, "cpu")(images[0])
    assert found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
