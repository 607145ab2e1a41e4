"""A crowd scene under NMS, Soft-NMS and fusion: what each keeps, and at which score."""

import math

import pytest
import torch

from lib.build import build_postprocess
from lib.config import load_config, to_plain
from lib.multibox.coder import BoxCoder
from lib.multibox.postprocess import PostProcess
from lib.ops import kernels
from lib.ops.padded import Selection
from lib.structures import Predictions

# Two people side by side, who share 6 x 20 of 20 x 10 each: IoU 120 / 280. One alone; one of another class.
PRIORS = torch.tensor([[0.0, 0, 10, 20], [4, 0, 14, 20], [60, 10, 80, 30], [0, 0, 10, 20]])
SCORES = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.5, 0.0], [0.0, 0.7]])
SIZE = (40, 100)
IOU = 120 / 280


def crowd(images: int = 1) -> Predictions:
    logits = torch.cat([torch.zeros(4, 1), SCORES.logit()], dim=1)  # of a sigmoid; -inf scores nothing
    return Predictions(logits.expand(images, -1, -1), torch.zeros(images, 4, 4), PRIORS, SIZE)


def detect(**options):
    process = PostProcess(BoxCoder(), Selection(iou_threshold=0.4, **options), "sigmoid")
    (found,) = process(crowd(), torch.tensor([SIZE]))
    return found


def test_nms_drops_the_second_person():
    found = detect()
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert found.labels.tolist() == [1, 2, 1]


def test_soft_nms_keeps_the_second_person_at_a_lower_score():
    found = detect(suppression="soft")
    assert found.boxes.tolist() == [pytest.approx(row) for row in PRIORS[[0, 3, 2, 1]].tolist()]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5, 0.8 * (1 - IOU)])
    assert found.labels.tolist() == [1, 2, 1, 1]


def test_soft_nms_with_sigma_lowers_scores_by_a_gaussian_of_the_iou():
    found = detect(suppression="soft", soft_sigma=0.5)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * math.exp(-(IOU**2) / 0.5), 0.5])
    assert found.labels.tolist() == [1, 2, 1, 1]


def test_soft_nms_drops_what_falls_to_the_score_threshold():
    assert len(detect(suppression="soft", score_threshold=0.46).scores) == 3  # 0.8 * (1 - IOU) = 0.457


def test_fusion_averages_the_two_by_score():
    found = detect(suppression="fusion")
    shift = 4 * 0.8 / 1.7
    assert found.boxes[0].tolist() == pytest.approx([shift, 0, 10 + shift, 20])
    assert found.boxes[1:].tolist() == [pytest.approx(row) for row in PRIORS[[3, 2]].tolist()]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert found.labels.tolist() == [1, 2, 1]


@pytest.mark.parametrize("suppression", ["soft", "fusion"])
def test_limits_hold_and_a_batch_gives_what_its_images_give(suppression, generator):
    corner = torch.rand(120, 2, generator=generator) * 60
    priors = torch.cat([corner, corner + 5 + torch.rand(120, 2, generator=generator) * 30], dim=1)
    logits = torch.randn(3, 120, 4, generator=generator) * 3
    given = Predictions(logits, torch.randn(3, 120, 4, generator=generator), priors, (90, 100))
    sizes = torch.tensor([[90, 100], [45, 200], [300, 310]])
    process = PostProcess(BoxCoder(), Selection(0.05, 0.5, 20, 30, suppression))
    for image, found in enumerate(process(given, sizes)):
        part = given._replace(logits=logits[image][None], deltas=given.deltas[image][None])
        (alone,) = process(part, sizes[image][None])
        assert all(torch.equal(*pair) for pair in zip(found, alone, strict=True))
        assert 3 < len(found.scores) <= 30
        assert (found.scores.diff() <= 0).all()
        assert max(found.labels.bincount().tolist()) <= 20 and 0 not in found.labels


@pytest.mark.parametrize("suppression", ["soft", "fusion"])
def test_no_image_and_no_object_give_no_detections(suppression):
    process = PostProcess(BoxCoder(), Selection(suppression=suppression), "sigmoid")
    nothing = crowd()._replace(logits=torch.full((1, 4, 3), -20.0))
    assert process(nothing, torch.tensor([SIZE]))[0].boxes.shape == (0, 4)
    none = Predictions(torch.zeros(0, 4, 3), torch.zeros(0, 4, 4), PRIORS, SIZE)
    assert process(none, torch.zeros(0, 2, dtype=torch.int64)) == []


@pytest.mark.parametrize("suppression", ["soft", "fusion"])
def test_the_kernels_give_what_torch_gives(suppression, monkeypatch):
    compiled = detect(suppression=suppression)
    monkeypatch.setattr(kernels, "load", lambda name: None)
    for found, expected in zip(detect(suppression=suppression), compiled, strict=True):
        assert torch.equal(found, expected)


def test_config_chooses_the_suppression_and_one_without_the_key_means_nms():
    config = load_config({}, ["postprocess.suppression=soft", "postprocess.soft_sigma=0.5"])
    assert build_postprocess(config).selection == Selection(suppression="soft", soft_sigma=0.5)
    old = to_plain(load_config({}))
    del old["postprocess"]["suppression"], old["postprocess"]["soft_sigma"]
    assert build_postprocess(load_config(old)).selection == Selection()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["suppression=softer"], "postprocess.suppression must be one of nms, soft, fusion; .*mean 'soft'"),
        (["soft_sigma=0.5"], "postprocess.soft_sigma must be null unless .* is soft; got 0.5 for nms"),
        (["suppression=soft", "soft_sigma=0"], "postprocess.soft_sigma must be greater than 0; got 0"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        build_postprocess(load_config({}, [f"postprocess.{text}" for text in overrides]))
