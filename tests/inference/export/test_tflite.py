"""LiteRT: what is exported computes what torch computes, and what does not is never written."""

import json
import sys
import zipfile

import numpy as np
import pytest
import torch

from lib.build import build_postprocess
from lib.build_data import build_resize
from lib.inference import Predictor
from lib.inference.export import tflite
from lib.inference.export.agreement import compare
from lib.inference.export.tflite_post import detect, prepare, to_image
from lib.inference.model_file import load_detector
from lib.inference.predictor import prepare as own_prepare
from lib.inference.tflite_model import TfliteModel, join, split
from lib.ops.boxes import clip_boxes, scale_boxes
from lib.structures import Predictions
from lib.utils.optional import MissingPackage

SIZE = (64, 96)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("columns", [2, 4])
def test_post_processing_in_numpy_is_that_of_the_predictor(spread_detector, activation, columns):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(300, 2, generator=generator) * 60
    priors = torch.cat([low, low + 4 + 30 * torch.rand(300, 2, generator=generator)], dim=1)
    logits, deltas = (torch.randn(1, 300, count, generator=generator) for count in (columns, 4))
    deltas[0, :5, 2:] = 400  # wider than any box may be
    postprocess = build_postprocess(spread_detector.cfg)
    postprocess.activation = activation
    heads = Predictions(logits, deltas, priors, SIZE)
    expected = postprocess(heads, torch.tensor([SIZE]))[0]
    about = tflite._about(spread_detector) | {"activation": activation}
    boxes, scores, labels = detect(logits[0].numpy(), deltas[0].numpy(), priors.numpy(), about)
    assert labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(boxes, expected.boxes, atol=1e-3)
    assert len(labels) == 20


@pytest.mark.parametrize(
    ("resize", "scale", "shown"),
    [("stretch", 1, (64, 96)), ("letterbox", 1, (64, 84)), ("native", 1, (50, 66)), ("native", 0.5, (25, 33))],
)
def test_images_and_boxes_go_the_way_of_the_predictor(checkpoint, resize, scale, shown):
    options = [f"input.test_resize={resize}", f"input.test_scale={scale:.1f}", "input.mean=[10,20,30]"]
    loaded = load_detector(checkpoint, overrides=options)
    about, own = tflite._about(loaded), build_resize(loaded.cfg)
    image = np.full((50, 66, 3), 200, np.uint8)
    image[10:30, 20:50] = 90
    expected, input_ = own_prepare([image], own), prepare(image, about)
    assert input_.shape == (1, 64, 96, 3) and np.abs(input_.astype(int) - expected.images).mean() < 1
    is_padding = (input_[0] == (30, 20, 10)).all(axis=2)  # the mean, in BGR
    assert (~is_padding).sum() == shown[0] * shown[1] and not is_padding[: shown[0], : shown[1]].any()
    boxes = np.float32([[1, 2, 30, 20], [0, 0, 96, 64]])
    frame = expected.frames[0]
    in_image = clip_boxes(scale_boxes(torch.from_numpy(boxes), (64, 96), frame[None]), (50, 66))
    np.testing.assert_allclose(to_image(boxes, image, about), in_image, atol=1e-4)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("shape", [(50, 700), (700, 90), (65, 97), (1, 900)])
def test_large_and_narrow_images_are_shrunk_as_by_the_predictor(checkpoint, resize, shape):
    loaded = load_detector(checkpoint, overrides=[f"input.test_resize={resize}"])
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = own_prepare([image], build_resize(loaded.cfg)).images
    assert np.abs(prepare(image, tflite._about(loaded)).astype(int) - expected).max() <= 2


def test_post_processing_of_nothing_is_empty(spread_detector):
    about = tflite._about(spread_detector) | {"score_threshold": 1.0}
    boxes, scores, labels = detect(*(np.zeros((3, count), np.float32) for count in (3, 4, 4)), about)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


@pytest.fixture(scope="module")
def model(spread_detector, tmp_path_factory):
    """A file in fp32."""
    pytest.importorskip("litert_torch", reason="needs litert-torch: make test-extras")
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    path.write_bytes(tflite.tflite_bytes(spread_detector))
    return path


def test_exported_model_finds_the_same_boxes_in_the_same_order(spread_detector, model, images):
    agreement = compare(Predictor(spread_detector, "cpu"), Predictor(model), images)
    assert agreement.unequal == ()
    assert agreement.detections > 20
    assert agreement.score_error < 1e-5
    assert agreement.box_error < 1e-3


def test_a_file_alone_is_enough_to_run_it(spread_detector, model, images):
    """As a developer of another program does it: interpreter, zipfile, NumPy."""
    from ai_edge_litert.interpreter import Interpreter

    about = json.loads(zipfile.ZipFile(model).read("about.json"))
    assert (about["classes"], about["size"], about["version"]) == (["disc", "ring"], [64, 96], "0.9.0")
    prepared = Predictor(spread_detector, "cpu").prepare(images[:1]).images
    heads = Interpreter(str(model)).get_signature_runner()(images=prepared)
    boxes, scores, labels = detect(heads["logits"][0], heads["deltas"][0], heads["priors"], about)
    expected = Predictor(spread_detector, "cpu")(prepared[0])
    assert labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(boxes, expected.boxes, atol=1e-3)


def test_the_fault_of_the_converter_is_caught(spread_detector):
    """litert-torch 0.10.0 takes weights of equal shape for one where their memory is channels_last."""
    pytest.importorskip("litert_torch", reason="needs litert-torch: make test-extras")
    network = tflite.NamedHeads(tflite.Network(spread_detector.cfg, spread_detector.detector)).eval()
    wrong = TfliteModel(join(tflite.convert(network, SIZE, torch.channels_last), tflite._about(spread_detector)))
    with pytest.raises(tflite.ExportError, match="the (logits|deltas) of the LiteRT model must equal torch's to 0.001"):
        tflite.check_heads_agree(network, wrong, tflite._test_images(SIZE))


def test_in_8_bits_most_detections_are_found_again_and_garbage_is_refused(spread_detector, model, images):
    samples = [Predictor(spread_detector, "cpu").prepare([image]).images for image in images]
    small = tflite.tflite_in_8_bits(model.read_bytes(), spread_detector, samples)
    network, about = split(small, "the model")
    assert about["classes"] == ["disc", "ring"]
    floats, small_heads = (TfliteModel(content)(samples[0]) for content in (model.read_bytes(), small))
    assert 0 < float((floats.logits - small_heads.logits).abs().max()) < 0.2
    torch.testing.assert_close(floats.priors, small_heads.priors)
    heads = tflite.NamedHeads(tflite.Network(spread_detector.cfg, spread_detector.detector)).eval()
    dark = tflite._quantize(split(model.read_bytes(), "")[0], [np.zeros_like(samples[0])])
    with pytest.raises(tflite.ExportError, match="the model in 8 bits must find 70% of the detections again"):
        tflite.check_detections_agree(spread_detector, heads, TfliteModel(join(dark, about)), samples)


def test_in_8_bits_the_network_of_the_file_is_taken_and_not_converted_again(spread_detector, monkeypatch):
    monkeypatch.setattr(tflite, "convert", None)
    monkeypatch.setattr(tflite, "_quantize", lambda network, samples: network + b" in 8 bits")
    monkeypatch.setattr(tflite, "TfliteModel", lambda content: None)
    for check in ("check_heads_agree", "check_detections_agree"):
        monkeypatch.setattr(tflite, check, lambda *_: None)
    content = join(b"....TFL3 of a network", {"classes": ["disc"]})
    network, about = split(tflite.tflite_in_8_bits(content, spread_detector, []), "")
    assert (network, about["classes"]) == (b"....TFL3 of a network in 8 bits", ["disc"])


def test_another_suppression_is_told(checkpoint, monkeypatch, caplog):
    loaded = load_detector(checkpoint, overrides=["postprocess.suppression=fusion"])
    monkeypatch.setattr(tflite, "convert", lambda *_: b"....TFL3")
    monkeypatch.setattr(tflite, "TfliteModel", lambda content: None)
    monkeypatch.setattr(tflite, "check_heads_agree", lambda *_: None)
    tflite.tflite_bytes(loaded)
    assert "postprocess.suppression=fusion is used by Predictor; tflite_post.py" in caplog.text


def test_without_the_converter_one_line_says_what_to_do(spread_detector, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(MissingPackage, match=r"\(.tflite\) needs the package litert-torch.*make test-extras"):
        tflite.tflite_bytes(spread_detector)
