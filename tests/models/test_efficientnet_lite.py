"""EfficientNet-Lite: its rows against TensorFlow's block strings, its public file against the sums of its layers."""

import math

import pytest
import torch
import torch.nn.functional as F

from lib.build import build_detector
from lib.config import load_config
from lib.legacy import translate_weights
from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone
from lib.models.blocks import Conv
from lib.models.bottlenecks import InvertedResidual
from lib.models.convolution import SameConv2d
from lib.models.taps import Tap

# TensorFlow's table: repeats, kernel, stride, expansion, channels in and out
BLOCKS = (
    *("r1_k3_s11_e1_i32_o16", "r2_k3_s22_e6_i16_o24", "r2_k5_s22_e6_i24_o40", "r3_k3_s22_e6_i40_o80"),
    *("r3_k5_s11_e6_i80_o112", "r4_k5_s22_e6_i112_o192", "r1_k3_s11_e6_i192_o320"),
)
FACTORS = {"lite0": (1, 1), "lite1": (1, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8)}


def rounded(channels: float) -> int:
    """To the nearest multiple of 8 that takes away no more than a tenth."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def expected_rows(size: str) -> list[tuple[int, int, int, int]]:
    """(hidden, kernel, stride, channels out) of each row after the first."""
    wider, deeper = FACTORS[size]
    rows, channels = [], 32
    for number, block in enumerate(BLOCKS):
        r, k, s, e, _, o = (int(part[1:2] if part[0] == "s" else part[1:]) for part in block.split("_"))
        for repeat in range(r if number in (0, 6) else math.ceil(r * deeper)):
            rows.append((e * channels, k, s if repeat == 0 else 1, rounded(o * wider)))
            channels = rounded(o * wider)
    return rows


@pytest.mark.parametrize("size", FACTORS)
def test_rows_are_those_of_tensorflows_block_strings(size):
    with torch.device("meta"):
        layers = Backbone(BACKBONES[f"efficientnet_{size}"]()).layers
    stem = layers[0]
    assert isinstance(stem, Conv)
    assert (stem.conv.out_channels, stem.conv.stride, stem.conv.kernel_size) == (32, (2, 2), (3, 3))
    found, channels = [], 32
    for layer in list(layers)[1:]:
        assert isinstance(layer, InvertedResidual)
        conv = layer.depthwise.conv
        assert conv.groups == conv.out_channels == layer.project.conv.in_channels
        assert hasattr(layer, "expand") == (conv.out_channels != channels)
        assert isinstance(conv, SameConv2d)
        assert isinstance(layer.depthwise.act, torch.nn.ReLU6)
        assert isinstance(layer.project.act, torch.nn.Identity)
        assert not hasattr(layer, "squeeze")
        out = layer.project.conv.out_channels
        assert layer.residual == (conv.stride == (1, 1) and out == channels)
        found.append((conv.out_channels, conv.kernel_size[0], conv.stride[0], out))
        channels = out
    assert found == expected_rows(size)


# size -> rows, last rows of strides 8, 16, 32, parameters of the published classifier (with 1280 channels on top)
SIZES = {
    "lite0": (17, (5, 11, 16), 4_652_008),
    "lite1": (22, (7, 15, 21), 5_416_680),
    "lite2": (22, (7, 15, 21), 6_092_072),
    "lite3": (25, (7, 17, 24), 8_197_096),
    "lite4": (31, (9, 21, 30), 13_006_568),
}


@pytest.mark.parametrize("size", SIZES)
def test_rows_strides_and_parameters_are_the_published_ones(size):
    with torch.device("meta"):
        backbone = Backbone(BACKBONES[f"efficientnet_{size}"]())
    last = {reduction: row for row, reduction in enumerate(backbone.reductions)}
    top = backbone.channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    found = (len(backbone.layers), (last[8], last[16], last[32]), parameters + top)
    assert found == SIZES[size]


def test_width_narrows_every_row_and_the_first_convolution():
    assert [layer.channels for layer in BACKBONES["efficientnet_lite2"](width=0.5)[:6]] == [16, *(8, 16, 16, 16, 24)]


def lukemelas_names(size: str) -> dict[str, torch.Tensor]:
    """A classifier's tensors under the names of the public files, at random."""
    torch.manual_seed(0)
    tensors = {}

    def norm(name, channels):
        tensors[f"{name}.weight"] = torch.rand(channels) + 0.5
        tensors[f"{name}.bias"] = 0.1 * torch.randn(channels)
        tensors[f"{name}.running_mean"] = 0.1 * torch.randn(channels)
        tensors[f"{name}.running_var"] = torch.rand(channels) + 0.5
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    tensors["_conv_stem.weight"] = torch.randn(32, 3, 3, 3) * 0.3
    norm("_bn0", 32)
    channels = 32
    for number, (hidden, kernel, _, out) in enumerate(expected_rows(size)):
        block = f"_blocks.{number}."
        if hidden != channels:
            tensors[f"{block}_expand_conv.weight"] = torch.randn(hidden, channels, 1, 1) * channels**-0.5
            norm(f"{block}_bn0", hidden)
        tensors[f"{block}_depthwise_conv.weight"] = torch.randn(hidden, 1, kernel, kernel) / kernel
        norm(f"{block}_bn1", hidden)
        tensors[f"{block}_project_conv.weight"] = torch.randn(out, hidden, 1, 1) * hidden**-0.5
        norm(f"{block}_bn2", out)
        channels = out
    tensors["_conv_head.weight"] = torch.randn(1280, channels, 1, 1)
    norm("_bn1", 1280)
    return {**tensors, "_fc.weight": torch.randn(1000, 1280), "_fc.bias": torch.randn(1000)}


def reference(tensors: dict[str, torch.Tensor], size: str, image: torch.Tensor) -> torch.Tensor:
    """The last row's output, by one sum after the other."""

    def same(x, kernel, stride):
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[:1:-1]]
        return F.pad(x, [part for pad in pads for part in (pad // 2, pad - pad // 2)])

    def norm(x, name):
        stats = (tensors[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *stats, eps=1e-3)

    x = norm(F.conv2d(same(image, 3, 2), tensors["_conv_stem.weight"], stride=2), "_bn0").clamp(0, 6)
    for number, (hidden, kernel, stride, _) in enumerate(expected_rows(size)):
        block, y = f"_blocks.{number}.", x
        if hidden != x.shape[1]:
            y = norm(F.conv2d(y, tensors[f"{block}_expand_conv.weight"]), f"{block}_bn0").clamp(0, 6)
        weight = tensors[f"{block}_depthwise_conv.weight"]
        y = F.conv2d(same(y, kernel, stride), weight, stride=stride, groups=hidden)
        y = norm(y, f"{block}_bn1").clamp(0, 6)
        y = norm(F.conv2d(y, tensors[f"{block}_project_conv.weight"]), f"{block}_bn2")
        x = x + y if y.shape == x.shape else y
    return x


@pytest.mark.parametrize("size", ["lite0", "lite3"])
def test_a_public_file_loads_and_computes_what_its_layers_compute(size):
    last = len(BACKBONES[f"efficientnet_{size}"]()) - 1
    config = {
        "input": {"size": [64, 96]},
        "model": {
            "num_classes": 3,
            "backbone": {"type": f"efficientnet_{size}"},
            "neck": {"taps": [last - 5, last], "extras": [], "l2norm": False},
            "priors": {"sizes": [10, 20, 40], "ratios": [2]},
            "norm": {"eps": 1e-3},
        },
    }
    model = build_detector(load_config(config)).eval()
    tensors = lukemelas_names(size)
    model.load_state_dict(translate_weights(tensors, model), strict=False)
    image = torch.randn(1, 3, 57, 70)
    with torch.no_grad():
        found, wanted = model.backbone(image, [Tap(last)])[Tap(last)], reference(tensors, size, image)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
