import math

import pytest
import torch

from lib.multibox.coder import BoxCoder
from lib.multibox.postprocess import PostProcess
from lib.ops.padded import Selection
from lib.structures import Predictions

PRIORS = torch.tensor([[0.0, 0, 20, 10], [40, 20, 60, 40], [100, 50, 300, 150]])
SIZE = (100, 200)  # of the network's input: not square


def predictions(logits, deltas=None, dtype=torch.float32):
    logits = torch.tensor(logits, dtype=dtype)
    deltas = torch.zeros(*logits.shape[:2], 4) if deltas is None else torch.tensor(deltas)
    return Predictions(logits, deltas.to(dtype), PRIORS, SIZE)


def log(*probabilities):
    return [math.log(value) for value in probabilities]


def test_detections_by_hand_in_the_frame_of_the_original_image():
    given = predictions([[log(0.2, 0.7, 0.1), log(0.1, 0.1, 0.8), log(0.98, 0.01, 0.01)]])
    (found,) = PostProcess(BoxCoder(), Selection(score_threshold=0.15))(given, torch.tensor([[50, 400]]))
    assert found.labels.tolist() == [2, 1]
    assert found.scores.tolist() == pytest.approx([0.8, 0.7])
    assert found.boxes.tolist() == [[80, 10, 120, 20], [0, 0, 40, 5]]


def test_boxes_are_cut_to_the_original_image():
    given = predictions([[log(0.5, 0.5), log(0.5, 0.5), log(0.1, 0.9)]])
    (found,) = PostProcess(BoxCoder(), Selection(score_threshold=0.6))(given, torch.tensor([[333, 777]]))
    assert found.boxes.tolist() == [[pytest.approx(388.5), pytest.approx(166.5), 777, 333]]


def test_deltas_move_and_stretch_the_prior():
    deltas = [[[1.0, -2.0, 5 * math.log(2), 0.0], [0.0] * 4, [0.0] * 4]]
    given = predictions([[log(0.1, 0.9), log(0.9, 0.1), log(0.9, 0.1)]], deltas)
    (found,) = PostProcess(BoxCoder(), Selection(score_threshold=0.5))(given, torch.tensor([SIZE]))
    assert found.boxes[0].tolist() == pytest.approx([0, 0, 32, 8], abs=1e-4)


def test_sigmoid_ignores_the_background_column():
    given = predictions([[[9.0, 0.0, -9.0], [9.0, -9.0, 2.0], [9.0, -9.0, -9.0]]])
    (found,) = PostProcess(BoxCoder(), Selection(0.4), "sigmoid")(given, torch.tensor([SIZE]))
    assert found.labels.tolist() == [2, 1]
    assert found.scores.tolist() == pytest.approx([1 / (1 + math.exp(-2)), 0.5])


def test_limits_hold_for_each_class_and_for_the_image():
    given = predictions([[log(0.1, 0.5, 0.4), log(0.1, 0.3, 0.6), log(0.1, 0.2, 0.7)]])
    sizes = torch.tensor([SIZE])
    (best,) = PostProcess(BoxCoder(), Selection(max_candidates=1))(given, sizes)
    assert best.labels.tolist() == [2, 1]
    (best,) = PostProcess(BoxCoder(), Selection(max_detections=4))(given, sizes)
    assert best.scores.tolist() == pytest.approx([0.7, 0.6, 0.5, 0.4])


def test_an_image_without_detections_gives_empty_ones():
    (found,) = PostProcess(BoxCoder())(predictions([[[50.0, 0, 0]] * 3]), torch.tensor([SIZE]))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.labels.dtype == torch.int64


def test_no_image_gives_no_detections():
    given = Predictions(torch.zeros(0, 3, 4), torch.zeros(0, 3, 4), PRIORS, SIZE)
    assert PostProcess(BoxCoder())(given, torch.zeros(0, 2, dtype=torch.int64)) == []


def random_predictions(batch, generator):
    priors = torch.rand(200, 4, generator=generator) * 100
    priors[:, 2:] += priors[:, :2] + 1
    logits = torch.randn(batch, 200, 6, generator=generator) * 3
    return Predictions(logits, torch.randn(batch, 200, 4, generator=generator), priors, SIZE)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_batch_gives_what_its_images_give(activation, generator):
    whole, sizes = random_predictions(3, generator), torch.tensor([[100, 200], [50, 70], [800, 600]])
    process = PostProcess(BoxCoder(), activation=activation)
    for image, found in enumerate(process(whole, sizes)):
        part = whole._replace(logits=whole.logits[image][None], deltas=whole.deltas[image][None])
        (alone,) = process(part, sizes[image][None])
        assert len(found.boxes) > 20
        assert all(torch.equal(*pair) for pair in zip(found, alone, strict=True))


def assert_same_detections(found, expected):
    """Equal but for the rounding of exponentials."""
    assert found.counts.tolist() == expected.counts.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("classes", [1, 2, 16, 17, 65, 91])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.9, 1.0])
def test_one_pass_gives_what_the_steps_give(activation, classes, threshold, generator):
    given, sizes = random_predictions(2, generator), torch.tensor([[100, 200], [1000, 300]])
    given = given._replace(logits=torch.randn(2, 200, classes, generator=generator) * 4)
    process = PostProcess(BoxCoder(), Selection(threshold, max_candidates=30, max_detections=50), activation)
    assert_same_detections(process.padded(given, sizes), process.stepwise(given, sizes))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_one_pass_drops_what_the_steps_drop(activation, generator):
    given, sizes = random_predictions(1, generator), torch.tensor([[100, 200]])
    for place, value in enumerate((math.nan, math.inf, -math.inf)):
        given.logits[0, place, 2] = given.deltas[0, 10 + place, 1] = given.deltas[0, 20 + place, 3] = value
        given.logits[0, 30 + place] = value
    process = PostProcess(BoxCoder(), activation=activation)
    assert_same_detections(process.padded(given, sizes), process.stepwise(given, sizes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_what_its_values_give_in_float32(dtype, generator):
    given, sizes = random_predictions(2, generator), torch.tensor([[1000, 2000]] * 2)
    half = given._replace(logits=given.logits.to(dtype), deltas=given.deltas.to(dtype))
    same = given._replace(logits=half.logits.float(), deltas=half.deltas.float())
    process = PostProcess(BoxCoder())
    for found, expected in zip(process(half, sizes), process(same, sizes), strict=True):
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="activation must be one of softmax, sigmoid; got 'softmx'"):
        PostProcess(BoxCoder(), activation="softmx")
