"""Short names of model.head.type: a neck and a predictor, old keys and old configs included."""

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.models.head import PREDICTORS
from lib.models.necks import NECKS
from lib.models.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_short_names_are_necks_and_predictors(name):
    recipe = RECIPES[name]
    assert recipe["neck"]["type"] in NECKS
    assert recipe["predictor"] in PREDICTORS


def model_of(head, neck=None, *overrides):
    return load_config({"model": {"head": head, "neck": neck or {}}}, overrides).model


def test_a_short_name_is_written_out_as_a_neck_with_a_type():
    assert model_of({"type": "ssd_lite"}).neck == {
        "type": "extras",
        "taps": [11, 13],
        "extras": [[512, 2], [256, 2], [256, 2], [128, 2]],
        "extra": {"type": "separable"},
        "norm": "l2norm",
    }
    neck = {"taps": [11, 13], "extras": [[64, 2]], "source": "12"}
    model = model_of({"type": "rfb"}, neck)
    more = {"extra": {"type": "conv", "norm": True}, "norm": "rfb", "refine": "rfb"}
    assert model.neck == {"type": "extras", **more, **neck}
    assert model.head == {"type": None, "predictor": "dense", "initial_score": None}
    assert model_of({"type": "fpn_lite"}).head.predictor == "shared"
    assert model_of({"type": "fpn_lite", "predictor": "separable"}).head.predictor == "separable"
    assert model_of({}).neck == model_of({"type": "ssd_lite"}).neck  # the default


def test_keys_of_old_configs_mean_what_they_meant():
    old = {"source": None, "extra": None, "l2norm": True, "pyramid": None, "width": None}
    for name in ("ssd", "ssd_lite", "rfb", "rfb_lite", "fpn_lite"):
        assert model_of({"type": name}, old).neck == model_of({"type": name}).neck
    assert "norm" not in model_of({"type": "ssd"}, {"l2norm": False}).neck
    assert model_of({"type": "fpn_lite"}, {"l2norm": False, "width": 64}).neck.width == 64
    extra = {"hidden": 0.5, "act": "relu6"}
    assert model_of({"type": "ssd_lite"}, {"extra": extra}).neck.extra == {"type": "separable", **extra}
    other = {"type": "inverted", "hidden": 64}
    assert model_of({"type": "fssd_lite"}, {"extra": other, "pyramid": [[8, 1]]}).neck.extra == other


def test_a_config_inside_a_checkpoint_of_before_builds_the_same_detector():
    old_neck = {
        "taps": [5, 11],
        "source": None,
        "extras": [[32, 2]],
        "extra": None,
        "l2norm": True,
        "pyramid": [[32, 1], [32, 2], [16, 2]],
        "width": 16,
    }
    head = {"type": "fssd", "predictor": None, "initial_score": None}
    config = {
        "input": {"size": [64, 96]},
        "model": {
            "num_classes": 4,
            "backbone": {"type": "mobilenet_v1", "width": 0.25},
            "neck": old_neck,
            "head": head,
            "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
        },
    }
    model = build_detector(load_config(config))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["neck.extras.0.reduce.conv.weight"] == (16, 128, 1, 1)
    assert shapes["neck.transforms.2.conv.weight"] == (16, 32, 1, 1)
    assert shapes["neck.norm.weight"] == (48,)
    assert shapes["neck.pyramids.0.conv.weight"] == (32, 48, 3, 3)
    assert shapes["head.cls.2.weight"] == (16, 16, 3, 3)


def test_short_name_and_neck_over_a_base_keep_the_rest_of_its_neck(tmp_path):
    (tmp_path / "base.yml").write_text(
        "model: {head: {type: ssd_lite}, neck: {taps: [5, 11], extras: [[64, 2]], l2norm: false}}\n"
    )
    (tmp_path / "top.yml").write_text("_base_: base.yml\nmodel: {head: {type: fpn_lite}, neck: {taps: [3, 5, 11]}}\n")
    neck = load_config(tmp_path / "top.yml").model.neck
    assert (neck.type, neck.taps, neck.extras) == ("pyramid", [3, 5, 11], [[64, 2]])
    (tmp_path / "typed.yml").write_text(
        "_base_: base.yml\nmodel: {head: {type: null}, neck: {type: fusion, taps: [5, 11], pyramid: [[64, 1]]}}\n"
    )
    model = load_config(tmp_path / "typed.yml").model
    assert model.neck == {"type": "fusion", "taps": [5, 11], "pyramid": [[64, 1]]}  # nothing of the base's is left


def test_a_neck_with_a_type_builds_without_a_short_name():
    config = {
        "input": {"size": [64, 96]},
        "model": {
            "num_classes": 4,
            "backbone": {"type": "mobilenet_v1", "width": 0.25},
            "neck": {"type": "extras", "taps": [5, 11], "extras": [[32, 2]], "norm": "l2norm"},
            "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
        },
    }
    model = build_detector(load_config(config))
    assert model.head.box[0].kernel_size == (3, 3)
    assert model.neck.norm.weight.tolist() == [20.0] * 64
    assert model(torch.randn(1, 3, 64, 96)).logits.shape[-1] == 4
    again = load_config(load_config(config))
    assert again == load_config(config)


@pytest.mark.parametrize("neck", [{"type": "pyramids", "taps": [3]}, {"type": "fusion"}, {"type": None}])
def test_a_neck_that_cannot_be_is_refused_at_load(neck):
    with pytest.raises(ValueError, match="model.neck"):
        load_config({"model": {"neck": neck}})


def test_a_pyramid_may_smooth_by_one_convolution_and_go_on_from_the_backbone():
    neck = {"type": "pyramid", "taps": [5, 11, 13], "width": 16, "smooth": "depthwise", "from_tap": True}
    neck |= {"extra": {"type": "depthwise"}, "extras": [[16, 2], [16, 2]]}
    priors = {"sizes": [8, 16, 32, 64, 96, 128], "ratios": [2]}
    backbone = {"type": "mobilenet_v1", "width": 0.25}
    cfg = {"input": {"size": [128, 96]}, "model": {"backbone": backbone, "neck": neck, "priors": priors}}
    model = build_detector(load_config(cfg)).eval()
    assert model.neck.smooth[0].pointwise.conv.weight.shape == (16, 16, 1, 1)
    assert model.neck.extras[0].depthwise.conv.weight.shape == (256, 1, 3, 3)  # the last tap's channels
    features = model.backbone(torch.randn(1, 3, 128, 96), model.neck.inputs)
    maps = model.neck(features)
    assert [tuple(x.shape[1:]) for x in maps] == [(16, 16, 12), (16, 8, 6), (16, 4, 3), (16, 2, 2), (16, 1, 1)]
    assert torch.equal(maps[3], model.neck.extras[0](model.neck.source.read(features)))
