"""BatchNorm statistics of the coarse path apart from those of the fine one."""

import copy

import torch
from torch import nn

from lib.build import build_detector
from lib.checkpoint import load_weights, save_checkpoint
from lib.config import load_config
from lib.inference.network import fold_norms
from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone, with_strides
from lib.models.dual_path import SeparateNorms
from lib.models.taps import Tap


def norms_of(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def trained_dual(norm):
    torch.manual_seed(0)
    cfg = load_config(
        "experiments/mobilenet_v1/S1L0_dual.yml",
        ["model.backbone.width=0.25", f"model.dual_path.norm={norm}", "input.size=[96, 160]"],
    )
    model = build_detector(cfg).train()
    for scale in (1.0, 3.0):
        model(scale * torch.randn(2, 3, 96, 160))
    return cfg, model.eval()


def test_separate_statistics_are_those_of_each_path_alone():
    """Oracle: two plain backbones with the same weights, each fed one path's maps in training."""
    torch.manual_seed(0)
    table = with_strides(BACKBONES["mobilenet_v1"](width=0.25), {0: 1})
    dual = SeparateNorms(Backbone(table[:4]), split=0)
    fine, coarse = copy.deepcopy(dual.layers), copy.deepcopy(dual.layers)
    images = torch.randn(2, 3, 32, 48)
    taps = dual(images, [Tap(3), Tap(3, is_coarse=True)])
    x = copy.deepcopy(fine[0])(images)
    expected = {}
    for rows, maps, tap in ((fine, x, Tap(3)), (coarse, x[..., ::2, ::2], Tap(3, is_coarse=True))):
        for row in rows[1:]:
            maps = row(maps)
        expected[tap] = maps
    for tap, value in expected.items():
        torch.testing.assert_close(taps[tap], value)
    for name, value in fine[1:].named_buffers():
        torch.testing.assert_close(dual.layers[1:].get_buffer(name), value)
    for name, value in coarse.named_buffers():
        if not name.startswith("0."):
            torch.testing.assert_close(dual.get_buffer(f"coarse_{name.replace('.', '_')}"), value)
    assert not torch.equal(
        dual.layers.get_buffer("1.depthwise.norm.running_mean"), dual.coarse_1_depthwise_norm_running_mean
    )


def test_separate_statistics_start_as_the_shared_ones_of_a_plain_checkpoint(tmp_path):
    plain = build_detector(load_config("experiments/mobilenet_v1/plain.yml", ["model.backbone.width=0.25"]))
    for norm in norms_of(plain):
        nn.init.uniform_(norm.running_mean)
    save_checkpoint(tmp_path / "plain.pth", {"model": plain.state_dict()})
    _, dual = trained_dual("separate")
    load_weights(dual, tmp_path / "plain.pth", ["backbone"])
    shared = plain.state_dict()["backbone.layers.7.pointwise.norm.running_mean"]
    assert torch.equal(dual.backbone.coarse_7_pointwise_norm_running_mean, shared)
    save_checkpoint(tmp_path / "dual.pth", {"model": trained_dual("separate")[1].state_dict()})
    load_weights(dual, tmp_path / "dual.pth")  # its own are kept
    assert not torch.equal(dual.backbone.coarse_7_pointwise_norm_running_mean, shared)


def test_separate_statistics_survive_folding_and_export():
    _, dual = trained_dual("separate")
    images = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        expected = dual(images).logits
        folded = fold_norms(dual)
        torch.testing.assert_close(folded(images).logits, expected, rtol=1e-4, atol=1e-4)
        exported = torch.export.export(dual, (images,), strict=False).module()
        torch.testing.assert_close(exported(images).logits, expected, rtol=1e-4, atol=1e-4)
    assert not norms_of(folded)
