"""The predictor: every way in, the same detections out."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lib.build import build_detector, build_normalizer, build_postprocess
from lib.config import load_config
from lib.data.augment.presets import build_transform
from lib.inference import Predictor, Tiles
from lib.inference.model_file import load_detector
from lib.inference.network import Network, fold_norms
from lib.structures import Predictions, Sample
from tests.data.image_files import jpeg, tiff
from tests.engine.conftest import load_script


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint, "cpu")


def assert_same(found, other, tolerance=1e-4):
    assert found.labels.tolist() == other.labels.tolist()
    torch.testing.assert_close(found.scores, other.scores, atol=tolerance, rtol=0)
    torch.testing.assert_close(found.boxes, other.boxes, atol=100 * tolerance, rtol=0)


def test_checkpoint_alone_gives_names_size_and_boxes_inside_the_image(predictor, images):
    found = predictor(images[0])
    assert predictor.classes == ("disc", "ring")
    assert predictor.size == (64, 96)
    assert 0 < len(found.boxes) <= 20
    assert found.boxes.min() >= 0
    assert (found.boxes.amax(0)[2:] <= torch.tensor([120.0, 70.0])).all()
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert np.asarray(found.boxes).dtype == np.float32


def test_batch_is_the_same_as_one_by_one(predictor, images):
    together = predictor(images)
    for found, image in zip(together, images, strict=True):
        assert_same(found, predictor(image))


def test_arrays_paths_and_stacks_are_the_same(predictor, images, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    found = predictor(images[0])
    assert_same(found, predictor(tmp_path / "a.png"))
    assert_same(found, predictor(str(tmp_path / "a.png")))
    assert_same(found, predictor([tmp_path / "a.png"])[0])
    assert_same(found, predictor(images[0][None])[0])
    assert predictor([]) == []


@pytest.mark.parametrize("options", [{}, {"tiles": 64}, {"overrides": ["postprocess.suppression=fusion"]}])
def test_what_it_finds_can_be_changed_in_place(checkpoint, images, options):
    predictor = Predictor(checkpoint, "cpu", **options)
    first, second = predictor(images[:2])
    moved, other = first.boxes + 5, second.boxes.clone()
    first.boxes[:, :] += 5
    first.scores[0], first.labels[0] = 0.5, 2
    assert first.boxes.tolist() == moved.tolist()
    assert (first.scores[0], first.labels[0]) == (0.5, 2)
    assert second.boxes.tolist() == other.tolist()


def test_image_that_is_a_view_is_the_same(predictor, images):
    large = np.zeros((100, 150, 3), np.uint8)
    large[20:90, 10:130] = images[0]
    assert_same(predictor(images[0]), predictor(large[20:90, 10:130]))


def test_same_detections_as_the_parts_that_training_uses(predictor, checkpoint, images):
    loaded = load_detector(checkpoint)
    normalizer, postprocess = build_normalizer(loaded.cfg), build_postprocess(loaded.cfg)
    for image in images:
        sample = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 0, image.shape[:2])
        resized = build_transform("none", (64, 96))(sample, np.random.default_rng(0)).image
        planes = torch.from_numpy(resized[..., ::-1].copy()).permute(2, 0, 1)[None]  # (1, 3, 64, 96) RGB
        with torch.inference_mode():
            predictions = loaded.detector.eval()(normalizer(planes))
            (expected,) = postprocess(predictions, torch.tensor([image.shape[:2]]))
        assert_same(predictor(image), expected)


def test_threads_get_what_one_gets(predictor, images):
    expected = [predictor(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(predictor, images * 5))
    for index, detections in enumerate(found):
        assert_same(detections, expected[index % len(images)], 0)


def test_folding_removes_every_norm_and_changes_nothing(checkpoint):
    detector = load_detector(checkpoint).detector.eval()
    folded = fold_norms(detector)
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in detector.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    with torch.no_grad():
        for value, expected in zip(folded(x)[:2], detector(x)[:2], strict=True):
            assert (value - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("head", ["ssd", "ssd_lite", "rfb", "rfb_lite", "fssd", "fssd_lite", "fpn_lite"])
def test_folding_changes_nothing_whatever_the_head(head):
    options = [f"model.head.type={head}", "model.backbone={type: mobilenet_v1, width: 0.25}", "input.size=[128, 160]"]
    priors = "model.priors={sizes: [8, 16, 40, 80, 100], ratios: [2], reference: 0.0}"
    neck = "model.neck={taps: [5, 11], extras: [[128, 2], [128, 2]]}"
    if head.startswith("fssd"):
        pyramid = "pyramid: [[64, 1], [64, 2], [64, 2], [64, 2]], width: 64"
        neck = f"model.neck={{taps: [5, 11], extras: [[128, 2]], {pyramid}}}"
    torch.manual_seed(0)
    model = build_detector(load_config({"model": {"num_classes": 3}}, [*options, priors, neck])).eval()
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)  # so that no two are alike
        norm.running_var.uniform_(0.5, 1.5)
    x, folded = torch.randn(1, 3, 128, 160), fold_norms(model)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules()) == head.startswith(
        "fssd"
    )  # not behind a convolution
    with torch.no_grad():
        for value, expected in zip(folded(x)[:2], model(x)[:2], strict=True):
            assert (value - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


def test_a_detector_that_is_on_another_device_is_folded_there():
    """As training does that tests its model on a GPU; "meta" stands for it, which refuses what lies on the CPU."""
    cfg = load_config({"model": {"num_classes": 3}, "input": {"channels": "rgb"}})
    network = Network(cfg, build_detector(cfg).to("meta"))
    predictions = network(torch.zeros(2, 300, 300, 3, dtype=torch.uint8, device="meta"))
    assert {value.device.type for value in predictions[:3]} == {"meta"}


def test_bfloat16_finds_nearly_the_same(checkpoint, predictor, images):
    found, expected = Predictor(checkpoint, "cpu", dtype="bfloat16")(images[0]), predictor(images[0])
    assert found.scores[0] == pytest.approx(expected.scores[0].item(), abs=0.05)


def test_settings_are_checked(checkpoint, predictor):
    for options, message in (
        ({"backend": "tensorrt"}, "backend must be one of torch, onnxruntime"),
        ({"dtype": "float64"}, "dtype must be one of"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            Predictor(checkpoint, "cpu", **options)
    for tiles in ("512", 0.5, (512, 0.25)):
        with pytest.raises(TypeError, match="tiles must be the side of a tile in pixels, such as 512, or Tiles"):
            Predictor(checkpoint, "cpu", tiles=tiles)
    with pytest.raises(ValueError, match="tiles must have a side of 16 pixels or more"):
        Predictor(checkpoint, "cpu", tiles=8)


def test_images_that_do_not_fit_into_memory_end_in_advice(checkpoint, images):
    def fail(images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    predictor = Predictor(checkpoint, "cpu", batch_size=3)
    predictor.network = fail
    with pytest.raises(
        ValueError, match=r"GiB.': lower batch_size \(.*\), which is 3, or choose a smaller input.test_s"
    ):
        predictor(images)


def test_the_side_of_a_tile_is_enough(checkpoint, images):
    assert Predictor(checkpoint, "cpu", tiles=64).tiles == Tiles(64)
    assert_same(
        Predictor(checkpoint, "cpu", tiles=64)(images[2]), Predictor(checkpoint, "cpu", tiles=Tiles(64))(images[2])
    )


@pytest.mark.parametrize(
    ("suppression", "first_box", "scores"),
    [
        ("nms", [0, 0, 20, 40], [0.9]),
        ("soft", [0, 0, 20, 40], [0.9, 0.8 * (1 - 120 / 280)]),
        ("fusion", [2 * 3.2 / 1.7, 0, 20 + 2 * 3.2 / 1.7, 40], [0.9]),
    ],
)
def test_suppression_is_chosen_by_a_key(checkpoint, suppression, first_box, scores):
    # two people side by side, IoU 120 / 280, in an image twice as large as the network's input
    predictor = Predictor(
        checkpoint, "cpu", overrides=[f"postprocess.suppression={suppression}", "postprocess.iou_threshold=0.4"]
    )
    probabilities = torch.tensor([[[0.1, 0.9, 0.0], [0.2, 0.8, 0.0]]])
    priors = torch.tensor([[0.0, 0, 10, 20], [4, 0, 14, 20]])
    predictor.network = lambda images: Predictions(probabilities.log(), torch.zeros(1, 2, 4), priors, (64, 96))
    found = predictor(np.zeros((128, 192, 3), np.uint8))
    assert found.boxes[0].tolist() == pytest.approx(first_box)
    assert found.scores.tolist() == pytest.approx(scores)


def test_files_are_seen_upright_and_by_the_keys_of_the_input(checkpoint, images, tmp_path):
    stored = np.ascontiguousarray(np.rot90(images[0]))
    (tmp_path / "a.jpg").write_bytes(jpeg(stored, 6))
    upright = np.ascontiguousarray(np.rot90(cv2.imdecode(np.frombuffer(jpeg(stored), np.uint8), 1), -1))
    assert upright.shape == images[0].shape
    assert_same(Predictor(checkpoint, "cpu")(tmp_path / "a.jpg"), Predictor(checkpoint, "cpu")(upright))
    bands = np.dstack([images[0], images[0][..., :2]]).astype(np.uint16) * 16
    (tmp_path / "b.tif").write_bytes(tiff(bands))
    chosen = Predictor(checkpoint, "cpu", overrides=["input.bands=[3, 2, 1]", "input.depth=[0, 4080]"])
    assert_same(chosen(tmp_path / "b.tif"), chosen(images[0]))
    with pytest.raises(ValueError, match=r"b\.tif must have 1, 3 or 4 bands; it has 5"):
        Predictor(checkpoint, "cpu")(tmp_path / "b.tif")


def test_a_checkpoint_at_an_address_is_fetched_and_its_threads_are_not_taken(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    address = checkpoint.as_uri()
    assert Predictor(address, "cpu").cfg.run.threads == 0  # it was trained with 1
    assert load_detector(address, overrides=["run.threads=3"]).cfg.run.threads == 3
    assert len(list(tmp_path.rglob("tiny.pth"))) == 1
    args = load_script("test").parse([f"--checkpoint={address}"])
    assert Path(args.checkpoint).is_relative_to(tmp_path) and args.detections == "detections.json"
    args = load_script("test").parse([f"--checkpoint={checkpoint}"])
    assert args.detections == str(checkpoint.with_name("detections.json"))


def test_an_exported_model_takes_no_other_config():
    with pytest.raises(ValueError, match=r"got model.onnx with cfg=a.yml: leave --cfg out and give settings as key="):
        Predictor("model.onnx", "cpu", cfg="a.yml")
