"""Every backbone with every head: builds and runs on images that are not square; each teaches every parameter."""

import itertools
import math

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone
from lib.models.cost import count_macs, count_parameters, meta_copy
from lib.models.recipes import RECIPES
from lib.models.taps import Tap, parse_tap

# backbone -> rows of strides 8 and 16 or 16 and 32 that SSD taps
TAPS = {
    "vgg16": [12, 19],
    "mobilenet_v1": [11, 13],
    "mobilenet_v2": [13, 17],
    "mobilenet_v3_large": ["13.expand", 16],
    "mobilenet_v3_small": ["9.expand", 12],
    "mobilenext": ["13.expand", 20],
    "mobiledet_cpu": [14, 19],
    "mobiledet_dsp": [17, 22],
    "mobiledet_edgetpu": [17, 22],
    "mobiledet_gpu": [17, 22],
    "efficientnet_b0": [11, 16],
    "efficientnet_b1": [16, 23],
    "efficientnet_b2": [16, 23],
    "efficientnet_b3": [18, 26],
    "efficientnet_lite0": [11, 16],
    "efficientnet_lite1": [15, 21],
    "efficientnet_lite2": [15, 21],
    "efficientnet_lite3": [17, 24],
    "efficientnet_lite4": [21, 30],
    "resnet18": [7, 9],
    "resnet34": [14, 17],
    "resnet50": [14, 17],
    "resnet101": [31, 34],
    "darknet19": [12, 16],
    "darknet53": [23, 28],
}
NARROW = {"vgg16": 0.125, "mobiledet_gpu": 0.25, "resnet50": 0.125, "resnet101": 0.125, "darknet53": 0.125}


def detector(backbone: str, head: str, *overrides: str):
    config = {
        "input": {"size": [64, 96]},
        "model": {
            "num_classes": 4,
            "backbone": {"type": backbone, "width": NARROW.get(backbone, 0.25)},
            "neck": {"taps": TAPS[backbone], "extras": [[32, 2]]},
            "head": {"type": head},
            "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
        },
    }
    if head.startswith("fssd"):
        config["model"]["neck"]["pyramid"] = [[32, 1], [32, 2], [16, 2]]
    if head == "fpn_lite":
        config["model"]["neck"] |= {"width": 32, "extras": [[32, 2]]}
    torch.manual_seed(0)
    return build_detector(load_config(config, overrides))


def test_every_backbone_is_tested():
    assert set(TAPS) == set(BACKBONES)


@pytest.mark.parametrize("head", RECIPES)
@pytest.mark.parametrize("backbone", TAPS)
def test_every_backbone_takes_every_head_on_two_sizes(backbone, head):
    with torch.device("meta"):
        model = meta_copy(detector(backbone, head))
    for batch, size in ((2, (64, 96)), (1, (70, 52))):
        found = model(torch.empty(batch, 3, *size, device="meta"))
        assert found.logits.shape == found.deltas.shape == (batch, len(found.priors), 4)


@pytest.mark.parametrize(("backbone", "head"), list(zip(TAPS, itertools.cycle(RECIPES), strict=False)))
def test_it_runs_and_every_parameter_gets_a_gradient(backbone, head):
    model = detector(backbone, head)
    predictions = model(torch.randn(2, 3, 64, 96))
    assert predictions.logits.shape == predictions.deltas.shape == (2, len(predictions.priors), 4)
    (predictions.logits.square().mean() + predictions.deltas.square().mean()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


# backbone -> parameters of its rows, from the classifiers of torchvision and of the authors less their last layers
PARAMETERS = {
    "vgg16": 20_483_904,
    "mobilenet_v1": 3_206_976,
    "mobilenet_v2": 2_223_872,
    "mobilenet_v3_large": 2_971_952,
    "mobilenet_v3_small": 927_008,
    "mobilenext": 2_254_416,
    "efficientnet_b0": 3_595_388,
    "efficientnet_b3": 10_103_336,
    "resnet18": 11_176_512,
    "resnet34": 21_284_672,
    "resnet50": 23_508_032,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_backbone_has_the_parameters_of_the_original(name):
    with torch.device("meta"):
        assert count_parameters(Backbone(BACKBONES[name]())) == PARAMETERS[name]


TAIL = {"reduced_tail": True, "relu6": True, "squeeze_as_block": True}


@pytest.mark.parametrize(
    ("backbone", "options", "parameters", "megamacs"),
    [
        ("mobilenet_v3_small", TAIL, 1_680_836, 155.5),
        # the paper's rule squeezes the 72 channels of row 4 to 24, theirs to 16: 1,160 parameters
        ("mobilenet_v3_large", TAIL, 3_116_844 + 1_160, 493.5),
        ("mobiledet_cpu", {}, 4_076_780, 441.3),
    ],
)
def test_mobile_backbones_cost_what_theirs_did(backbone, options, parameters, megamacs):
    cfg = load_config("experiments/_base_/mobile_backbones320.yml", ["model.num_classes=80"])
    cfg.model.backbone = {"type": backbone, **options}
    cfg.model.neck.taps = TAPS[backbone]
    with torch.device("meta"):
        model = build_detector(cfg)
    assert count_parameters(model) == parameters
    assert sum(count_macs(model, (320, 320)).values()) / 1e6 == pytest.approx(megamacs, abs=0.06)


def test_taps_inside_a_row_and_joined_taps():
    model = detector("mobilenet_v3_large", "ssd_lite")
    assert model.backbone.tap_channels(Tap(13, "expand")) == model.neck.out_channels[0]
    with pytest.raises(ValueError, match="the stage of row 13 in the tap '13.expnd' must be one of expand, depthwise"):
        detector("mobilenet_v3_large", "ssd_lite", "model.neck.taps=[13.expnd, 16]")
    dual = detector(
        "mobilenet_v1",
        "ssd_lite",
        "model.backbone.type=mobilenet_v1_S1L0",
        "model.dual_path={split: 0}",
        "model.neck.taps=[11, 13+coarse.11]",
    )
    assert dual.neck.source == parse_tap("13+coarse.11")
    assert dual.neck.out_channels[1] == 256 + 128
    dual(torch.randn(1, 3, 70, 101))


def test_a_tap_inside_a_row_is_that_stages_output():
    backbone = detector("mobilenet_v3_large", "ssd_lite").backbone.eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        taps = backbone(image, [Tap(12), Tap(13, "expand"), Tap(13)])
        assert torch.equal(taps[Tap(13, "expand")], backbone.layers[13].expand(taps[Tap(12)]))
        assert torch.equal(taps[Tap(13)], backbone.layers[13](taps[Tap(12)]))


@pytest.mark.parametrize(
    ("head", "override", "message"),
    [
        ("ssd", "model.neck.pyramid=[[32, 1]]", "model.neck takes taps, source, .*; got model.neck.pyramid"),
        ("ssd", "model.neck.width=8", "model.neck takes taps, source, .*; got model.neck.width"),
        ("ssd", "model.neck.sauce=8", r"got model.neck.sauce \(did you mean 'source'\?\)"),
        ("ssd", "model.neck.extra=3", "model.neck.extra must be a mapping \\(key: value\\) or null; got 3"),
        ("ssd", "model.neck.l2norm=3", "model.neck.l2norm must be true or false; got 3"),
        ("ssd", "model.neck.taps=[]", "model.neck.taps must name a row at least"),
        ("ssd", "model.neck.type=fusion", r"model.head.type must be null where .* \(fusion\); got 'ssd'"),
        ("fssd", "model.neck.pyramid=null", "model.neck.pyramid must be given"),
        ("fpn_lite", "model.neck.source=5", "model.neck takes taps, extras, .*; got model.neck.source"),
        (
            "ssd",
            "model.neck.extras=[[16, 0]]",
            r"model.neck.extras\[0\] must say its channels and its stride, .*; got \[16, 0\]",
        ),
        ("ssd", "model.neck.extras=[3]", r"model.neck.extras\[0\] must say its channels"),
        ("ssd", "model.neck.extras=[{stride: 2}]", r"model.neck.extras\[0\] must say its channels"),
        ("ssd", "model.neck.extras=[{channels: 8, strid: 2}]", r"got model.neck.extras\[0\].strid"),
        ("ssd", "model.neck.extra={act: rleu}", r"act must be one of .*; got 'rleu' \(did you mean 'relu'\?\)"),
        ("ssd", "model.neck.extra={type: sepable}", r"model.neck.extras\[0\].type must be one of"),
        ("fpn_lite", "model.priors.ratios=[[2], [2], [2, 3]]", "a shared predictor needs maps of equal channels"),
    ],
)
def test_impossible_necks_are_refused_with_their_key(head, override, message):
    with pytest.raises((ValueError, TypeError), match=message):
        detector("mobilenet_v1", head, override)


def test_initial_score_is_every_classs_score_before_training():
    model = detector("mobilenet_v1", "ssd_lite", "model.head.initial_score=0.01", "model.head.predictor=separable")
    assert model.head.cls[0][1].bias.sigmoid().tolist() == pytest.approx([0.01] * 16)
    assert model.head.box[0][1].bias.abs().sum() > 0


def test_own_boxes_replace_those_of_a_level():
    model = detector(
        "mobilenet_v1", "ssd", "model.priors.boxes=[[[6, 4], [2, 8], [3, 3]], null, null]", "model.priors.clip=false"
    )
    assert model.priors.boxes_per_cell == [3, 4, 4]
    first = model.priors.fractions([(4, 6), (2, 3), (1, 2)], (300, 300))[:3]
    scale = math.sqrt(math.prod(model.priors.size)) / 300  # of the input in training to the reference
    torch.testing.assert_close(first[:, 2:] * 300, scale * torch.tensor([[6.0, 4], [2, 8], [3, 3]]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone.strides=[0]", r"model.backbone.strides must say row: stride, such as \{0: 1\}; got \[0\]"),
        (
            "model.neck.extras=[[64, two]]",
            r"model.neck.extras\[0\] must say its channels and its stride, such as \[256, 2\]",
        ),
    ],
)
def test_strides_of_another_type_are_refused_by_name(override, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build_detector(load_config({}, [override]))
