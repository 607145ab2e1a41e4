"""model.init: what weights and biases start as."""

import math

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config

SMALL = {
    "input": {"size": [64, 96]},
    "model": {
        "num_classes": 21,
        "backbone": {"type": "mobilenet_v1", "width": 0.25},
        "neck": {"extras": [[256, 2]]},
        "head": {"type": "ssd"},
        "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
    },
}


def detector(*overrides):
    torch.manual_seed(0)
    return build_detector(load_config(SMALL, overrides))


def convolutions(model):
    parts = [*model.neck.modules(), *model.head.modules()]
    return [layer for layer in parts if isinstance(layer, torch.nn.Conv2d)]


def test_xavier_is_uniform_within_its_bound_and_biases_are_zero():
    model = detector("model.init=xavier")
    first = model.head.cls[0].weight  # 128 x 9 in, 4 boxes of 21 classes x 9 out: sqrt(6 / 1908)
    assert first.shape == (84, 128, 3, 3)
    assert 0.0560 < first.abs().max() <= 0.056078
    assert first.std().item() == pytest.approx(0.056078 / math.sqrt(3), rel=0.02)
    reduce = model.neck.extras[0].reduce.conv.weight  # 256 in, 128 out: sqrt(6 / 384)
    assert 0.1249 < reduce.abs().max() <= 0.125
    assert all((layer.bias == 0).all() for layer in convolutions(model))


def test_normal_has_a_deviation_of_three_hundredths_and_zero_biases():
    model = detector("model.init=normal", "model.head.type=ssd_lite", "model.head.predictor=separable")
    layers = convolutions(model)
    large = [layer.weight for layer in layers if layer.weight.numel() > 10_000]
    assert len(large) >= 4
    for weight in large:
        assert weight.std().item() == pytest.approx(0.03, rel=0.03)
        assert abs(weight.mean().item()) < 0.001
    depthwise = torch.cat([layer.weight.flatten() for layer in layers if layer.groups > 1])
    assert depthwise.std().item() == pytest.approx(0.03, rel=0.05)
    assert all((layer.bias == 0).all() for layer in layers if layer.bias is not None)


def test_torch_leaves_every_value_and_no_other_changes_the_backbone():
    plain, same, xavier = detector(), detector("model.init=torch"), detector("model.init=xavier")
    for name, value in plain.state_dict().items():
        assert torch.equal(same.state_dict()[name], value), name
        assert torch.equal(xavier.state_dict()[name], value) or not name.startswith("backbone"), name
    assert plain.head.cls[0].bias.abs().max() > 0


def test_initial_score_stays_with_every_init():
    for kind in ("torch", "xavier", "normal"):
        model = detector(f"model.init={kind}", "model.head.initial_score=0.01")
        assert model.head.cls[0].bias.sigmoid().tolist() == pytest.approx([0.01] * 84)
        assert (model.head.box[0].bias == 0).all() == (kind != "torch")


@pytest.mark.parametrize("score", [0.0, 1.0, -0.5])
def test_initial_score_is_a_score(score):
    with pytest.raises(ValueError, match=f"model.head.initial_score must be above 0 and below 1; got {score}"):
        detector(f"model.head.initial_score={score}")


def test_another_init_is_refused():
    with pytest.raises(ValueError, match=r"model.init must be one of torch, xavier, normal; got 'xaver'"):
        detector("model.init=xaver")


@pytest.mark.parametrize(
    ("name", "init"),
    [
        ("mobilenet_v1/S1L0_dual", "torch"),
        ("vgg16/S1L2_dual", "torch"),
        ("vgg16/voc300", "xavier"),
        ("vgg16/torchvision300_c91", "xavier"),
        ("efficientnet/b3_voc300", "xavier"),
        ("mobilenet_v3/torchvision320_reduced_c91", "normal"),
    ],
)
def test_experiments_start_as_the_works_that_they_follow(name, init):
    assert load_config(f"experiments/{name}.yml").model.init == init
