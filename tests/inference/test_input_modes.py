"""The modes of input.resize from an image to its detections: boxes lie right in each way of using a model."""

import importlib.util

import numpy as np
import onnxruntime
import pytest
import torch
from rectangles import SIZES, sample_with_rectangle, white_box

from lib.build import build_detector, build_postprocess
from lib.build_data import build_resize
from lib.config import load_config
from lib.data.augment.geometric import Resize
from lib.data.fit import FITS
from lib.inference import Predictor, Tiles
from lib.inference.export.agreement import compare
from lib.inference.export.onnx import OPSET, DetectionModel, _to_onnx, any_size_bytes, resize_images
from lib.inference.model_file import Loaded, load_detector
from lib.inference.network import Network
from lib.inference.predictor import prepare
from lib.ops import PaddedDetections
from tests.inference.conftest import CONFIG

MODEL = {"neck": {"taps": [1, 3], "extras": [[32, 2]]}, "priors": CONFIG["model"]["priors"]}
# Padding is black, as the images are
INPUT = ["input.test_size=[192,320]", "input.mean=[0,0,0]"]


def sees_white(images):
    """A network that finds the white rectangle of each image, with score 1."""
    boxes = torch.tensor(np.stack([white_box(image) for image in images]), dtype=torch.float32)[:, None]
    ones = torch.ones(len(images), 1)
    return PaddedDetections(boxes, ones, ones.long(), torch.ones(len(images), dtype=torch.int64))


@pytest.mark.parametrize("mode", FITS)
@pytest.mark.parametrize("is_exported", [False, True])
def test_predictor_puts_boxes_where_the_objects_are(checkpoint, mode, is_exported):
    predictor = Predictor(checkpoint, "cpu", overrides=[*INPUT, f"input.resize={mode}"])
    predictor.network = sees_white
    if is_exported:  # such a model wants inputs of one size
        predictor.resize = build_resize(predictor.cfg)
    for size in SIZES:
        sample = sample_with_rectangle(*size)
        (found,) = predictor.detect([sample.image])
        scale = max(size[0] / 192, size[1] / 320, 1)  # pixels of the image for one of the input
        assert np.abs(found.boxes[0].numpy() - sample.boxes[0]).max() < 0.5 * scale


@pytest.mark.parametrize("mode", FITS)
def test_tiles_put_boxes_where_the_objects_are(checkpoint, mode):
    overrides = [*INPUT, f"input.resize={mode}"]
    predictor = Predictor(checkpoint, "cpu", overrides=overrides, tiles=Tiles(300, 0.5, whole=False))
    predictor.network = lambda images: empty_where_black(images)
    for size in SIZES:
        sample = sample_with_rectangle(*size)
        found = predictor(sample.image)
        assert np.abs(found.boxes[0].numpy() - sample.boxes[0]).max() < 1


def empty_where_black(images):
    """As ``sees_white``; nothing in an image without white."""
    is_white = torch.from_numpy((images > 250).any(axis=(1, 2, 3)))
    stand_in = np.full_like(images[:1], 255)
    given = [image[None] if white else stand_in for image, white in zip(images, is_white, strict=True)]
    found = sees_white(np.concatenate(given))
    return found._replace(counts=found.counts * is_white)


def test_native_images_keep_their_size_and_larger_ones_are_tiled(checkpoint):
    predictor, seen = Predictor(checkpoint, "cpu", overrides=[*INPUT, "input.resize=native"], batch_size=4), []

    def network(images):
        seen.append(images.shape[:3])
        return empty_where_black(images)

    predictor.network = network
    found = predictor([sample_with_rectangle(*size).image for size in [(100, 120), (97, 117), (50, 60), (300, 500)]])
    # the first two are padded to one size, by multiples of the largest stride, 8; no input is smaller than input.size
    assert seen[:2] == [(2, 104, 120), (1, 64, 96)]
    assert seen[2:] == [(4, 192, 320), (1, 192, 320)]  # the whole image, letterboxed, and four tiles
    expected = sample_with_rectangle(300, 500).boxes[0]
    assert len(found[3].boxes) == 1 and np.abs(found[3].boxes[0].numpy() - expected).max() < 1


def test_native_images_are_seen_at_the_scale_of_testing(checkpoint):
    overrides = [*INPUT, "input.test_resize=native", "input.test_scale=2.0"]
    predictor, seen = Predictor(checkpoint, "cpu", overrides=overrides), []

    def network(images):
        seen.append(images.shape[:3])
        return empty_where_black(images)

    predictor.network = network
    for size, inputs in [
        ((50, 60), [(1, 104, 120)]),
        ((96, 160), [(1, 192, 320)]),
        ((97, 150), [(1, 192, 320), (2, 192, 304)]),
    ]:
        found = predictor(sample_with_rectangle(*size).image)
        expected = sample_with_rectangle(*size).boxes[0]
        assert len(found.boxes) == 1 and np.abs(found.boxes[0].numpy() - expected).max() < 1
        assert seen == inputs
        seen.clear()


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["input.test_scale=2.0"],
            "test_scale must be 1 where images are made to fit a size; got 2.0: choose input.te",
        ),
        (["input.test_resize=native", "input.test_scale=0.0"], "input.test_scale must be in 0.1 .. 10, such as 2.0"),
        (["input.test_resize=native", "input.test_scale=.nan"], "input.test_scale must be .*nan"),
    ],
)
def test_impossible_scales_are_refused(checkpoint, overrides, message):
    with pytest.raises(ValueError, match=message):
        Predictor(checkpoint, "cpu", overrides=overrides)


def test_an_image_gives_the_same_detections_in_any_batch(checkpoint, images):
    predictor = Predictor(checkpoint, "cpu", overrides=[*INPUT, "input.resize=native"])
    for image, found in zip(images, predictor(images), strict=True):
        alone = predictor(image)
        torch.testing.assert_close(found.boxes, alone.boxes, atol=1e-3, rtol=0)
        assert found.labels.tolist() == alone.labels.tolist()


def test_images_keep_their_size_in_every_backend(images):
    """Padding that depends on the size of each map once kept torch.export busy for more than ten minutes."""
    backbone = {"type": "efficientnet_lite0", "width": 0.25}  # which pads so
    sizes = {"test_size": [190, 316], "resize": "native"}  # no multiple of the largest stride, as inputs must be
    cfg = load_config({**CONFIG, "input": {"size": [64, 96], **sizes}, "model": {**MODEL, "backbone": backbone}})
    torch.manual_seed(0)
    loaded = Loaded(cfg, ("disc", "ring"), build_detector(cfg).eval())
    content = any_size_bytes(loaded)
    expected = Predictor(loaded, "cpu")
    for name in ("onnxruntime", "openvino") if importlib.util.find_spec("openvino") else ("onnxruntime",):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lib.inference.export.onnx.any_size_bytes", lambda _: content)  # which takes seconds
            agreement = compare(expected, Predictor(loaded, "cpu", backend=name), images)
        assert (agreement.unequal, agreement.images) == ((), 6)
        assert agreement.score_error < 1e-4 and agreement.box_error < 1e-2


@pytest.mark.parametrize("mode", FITS)
def test_a_model_for_images_of_any_size_detects_as_the_predictor(checkpoint, mode):
    loaded = load_detector(checkpoint, overrides=[*INPUT, f"input.resize={mode}"])
    predictor, resize = Predictor(loaded, "cpu"), build_resize(loaded.cfg)
    predictor.resize = resize  # inputs of one size, as an exported model has
    network = Network(loaded.cfg, loaded.detector)
    model = DetectionModel(network, build_postprocess(loaded.cfg), resize.size, resize).eval()
    rng = np.random.default_rng(0)
    for size in [(64, 96), (96, 64), (190, 131), (50, 310), (130, 300)]:
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        expected = predictor(image)
        with torch.no_grad():
            boxes, scores, _, counts = model(torch.from_numpy(image)[None])
        assert counts[0] == len(expected.boxes) > 0
        assert np.abs(boxes[0, : counts[0]] - expected.boxes).max() < 0.5
        assert np.abs(scores[0, : counts[0]] - expected.scores).max() < 0.02


class Resizes(torch.nn.Module):
    """What an exported model does with an image before the network, in all modes."""

    def forward(self, images):
        """(1, h, w, 3) uint8 -> the network's input and the frame of each mode."""
        resizes = [Resize((192, 320), (10, 20, 30), mode) for mode in FITS]
        return tuple(value for resize in resizes for value in resize_images(images, resize))


def test_exported_resizes_give_what_torch_gives():
    free = {1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}
    program = torch.export.export(Resizes(), (torch.zeros(1, 269, 736, 3, dtype=torch.uint8),), dynamic_shapes=(free,))
    names = [f"{mode} {part}" for mode in FITS for part in ("input", "frame")]
    session = onnxruntime.InferenceSession(_to_onnx(program, names, {}, OPSET), providers=["CPUExecutionProvider"])
    for size in [(64, 96), (190, 131), (50, 310), (430, 700)]:
        image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
        for name, found, expected in zip(
            names, session.run(None, {"images": image}), Resizes()(torch.from_numpy(image)), strict=True
        ):
            difference = np.abs(found.astype(float) - expected.numpy()).max()
            assert difference < 1.01, (name, size)  # a sum may round otherwise


@pytest.mark.parametrize("mode, scale", [*((mode, 1.0) for mode in FITS), ("native", 2.5), ("native", 0.5)])
@pytest.mark.parametrize("size", SIZES)
def test_resize_inside_an_exported_model_is_that_of_the_predictor(mode, scale, size):
    resize = Resize((192, 320), (10, 20, 30), mode, scale=scale)
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    expected = prepare([image], resize)
    resized, frame = resize_images(torch.from_numpy(image)[None], resize)
    difference = np.abs(resized.numpy().astype(int) - expected.images)
    assert difference.max() <= 2 and (difference > 0).mean() < 0.14
    torch.testing.assert_close(frame, expected.frames[0])
