"""The laws of stride surgery and of the dual path, for every backbone and every row with a stride."""

import pytest
import torch

from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone, with_strides
from lib.models.blocks import MaxPool
from lib.models.bottlenecks import Residual
from lib.models.dual_path import DualPath
from lib.models.taps import parse_tap

TABLES = {
    "mobilenet_v1": BACKBONES["mobilenet_v1"](width=0.25),
    "mobilenet_v2": BACKBONES["mobilenet_v2"](width=0.25),
    "vgg16": BACKBONES["vgg16"](),
    "darknet19": BACKBONES["darknet19"](width=0.25),
}
# padded equally on both sides: TensorFlow's way, the default of EfficientNet-Lite, has a test of its own
PADDED = {name: {"same_padding": False} for name in BACKBONES if "_lite" in name}
ZOO = {
    name: make(width=0.125 if name.startswith("resnet") else 0.25, **PADDED.get(name, {}))
    for name, make in BACKBONES.items()
    if name not in TABLES
}
STRIDED = [(name, row) for name, table in TABLES.items() for row, layer in enumerate(table) if layer.stride > 1]
CONVOLUTIONS = [(name, row) for name, row in STRIDED if TABLES[name][row].block is not MaxPool]
POOLS = [(name, row) for name, row in STRIDED if TABLES[name][row].block is MaxPool]
ZOO_STRIDED = [(name, row) for name, table in ZOO.items() for row, layer in enumerate(table) if layer.stride > 1]
SIZES = [(96, 96), (101, 70), (64, 131)]


def keeps_the_law(layer) -> bool:
    """Whether every second pixel of the row's output at stride 1 is the row's output as it was.

    It is not where a stage after the strided convolution reads more than one pixel: the average of a
    squeeze-and-excite stage, which is then taken over the dense map, or ResNet's second 3x3 convolution.
    """
    return not layer.options.get("squeeze") and not (layer.block is Residual and not layer.options["bottleneck"])


def rows_until(name: str) -> int:
    """VGG16's wide last rows add nothing to its laws but time."""
    return 17 if name == "vgg16" else len(TABLES[name] if name in TABLES else ZOO[name])


def shrink(table):
    """The same rows with a sixteenth of the channels: the laws do not depend on them."""
    return tuple(layer._replace(channels=layer.channels and max(2, layer.channels // 16)) for layer in table)


def make(name: str, strides: dict | None = None) -> Backbone:
    """A variant with the weights that every variant of this backbone gets here."""
    table = TABLES[name] if name in TABLES else ZOO[name]
    table = shrink(table) if name == "vgg16" else table
    torch.manual_seed(0)
    backbone = Backbone(with_strides(table[: rows_until(name)], strides or {})).eval()
    return with_values(backbone)


def with_values(backbone: Backbone) -> Backbone:
    """Gives it values that reach the last row, and statistics that differ from BatchNorm's defaults."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return backbone


def is_same(result: torch.Tensor, expected: torch.Tensor) -> bool:
    """To 1e-4 of the largest value, however small that is."""
    scale = expected.abs().max().item()
    assert scale > 1e-6, "a map of zeros would prove nothing"
    return result.shape == expected.shape and torch.allclose(result, expected, rtol=0, atol=1e-4 * scale)


def taps_after(row: int, name: str) -> list[int]:
    last = rows_until(name) - 1
    return list(dict.fromkeys([min(row + 1, last), (row + last + 1) // 2, last]))


def maps_of(backbone: Backbone, image: torch.Tensor, taps: list) -> dict:
    """The maps by the taps as a config writes them: rows, or texts such as ``coarse.13``."""
    with torch.no_grad():
        maps = backbone(image, [parse_tap(tap) for tap in taps])
    return {tap: maps[parse_tap(tap)] for tap in taps}


@pytest.mark.parametrize(("name", "row"), STRIDED + ZOO_STRIDED)
def test_surgery_keeps_every_parameters_name_and_shape(name, row):
    plain, changed = make(name), make(name, {row: 1})
    shapes = {key: value.shape for key, value in plain.state_dict().items()}
    assert {key: value.shape for key, value in changed.state_dict().items()} == shapes
    assert changed.channels == plain.channels
    assert changed.reductions[-1] * 2 == plain.reductions[-1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "row"), CONVOLUTIONS)
def test_coarse_path_is_the_unmodified_backbone(name, row, size):
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    taps = taps_after(row, name)
    dual = DualPath(make(name, {row: 1}), split=row)
    plain = maps_of(make(name), image, taps)
    coarse = maps_of(dual, image, [f"coarse.{tap}" for tap in taps])
    for tap in taps:
        assert is_same(coarse[f"coarse.{tap}"], plain[tap])


@pytest.mark.parametrize(("name", "row"), ZOO_STRIDED)
def test_law_of_the_dual_path_holds_unless_pixels_mix_after_the_strided_convolution(name, row):
    image = torch.randn(1, 3, 101, 70, generator=torch.Generator().manual_seed(1))
    taps = [row, *taps_after(row, name)] if row + 1 < len(ZOO[name]) else []
    dual = DualPath(make(name, {row: 1}), split=row)
    plain = maps_of(make(name), image, taps)
    both = maps_of(dual, image, [row, *(f"coarse.{tap}" for tap in taps[1:])])
    coarse = {row: both[row][..., ::2, ::2]} | {tap: both[f"coarse.{tap}"] for tap in taps[1:]}
    for tap in taps:
        assert coarse[tap].shape == plain[tap].shape
        assert is_same(coarse[tap], plain[tap]) is keeps_the_law(ZOO[name][row]), tap


def test_rows_that_break_the_law_are_these():
    broken = [(name, row) for name, row in ZOO_STRIDED if not keeps_the_law(ZOO[name][row])]
    assert [row for name, row in broken if name == "mobilenet_v3_large"] == [4, 13]
    assert [row for name, row in broken if name == "mobilenet_v3_small"] == [1, 4, 9]
    assert [row for name, row in broken if name == "resnet18"] == [4, 6, 8]
    assert {name for name, _ in broken} == {
        *("mobilenet_v3_large", "mobilenet_v3_small", "mobiledet_cpu", "resnet18", "resnet34"),
        *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"),
    }
    assert not [name for name, row in broken if row == 0]  # S1L0 keeps it on every backbone


def test_average_of_squeeze_and_excite_differs_by_nothing_else():
    # where the row's average is that of every second pixel, the law holds there too
    row = 4
    plain, modified = make("mobilenet_v3_large"), make("mobilenet_v3_large", {row: 1})
    squeeze = modified.layers[row].squeeze
    squeeze.forward = lambda x: (
        x * squeeze.gate(squeeze.expand(squeeze.act(squeeze.reduce(x[..., ::2, ::2].mean(dim=(2, 3), keepdim=True)))))
    )
    image = torch.randn(1, 3, 101, 70)
    coarse = maps_of(DualPath(modified, split=row), image, ["coarse.16"])["coarse.16"]
    assert is_same(coarse, maps_of(plain, image, [16])[16])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coarse_copy_is_every_second_pixel_to_the_bit_and_so_is_its_gradient(monkeypatch, dtype):
    dual, seen, row = DualPath(make("mobilenet_v1", {0: 1})).to(dtype), [], parse_tap(0)
    monkeypatch.setattr(dual, "run_coarse", lambda x, taps: seen.append(x) or {})
    image = torch.randn(2, 3, 51, 70, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    expected = dual(image, [row])[row][..., ::2, ::2]
    assert torch.equal(seen[0], expected)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    gradients = [torch.autograd.grad((x * weights).sum(), image, retain_graph=True)[0] for x in (seen[0], expected)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0"])
@pytest.mark.parametrize(("size", "holds"), [((101, 71), True), ((96, 96), False)])
def test_padding_of_tensorflow_keeps_the_law_where_the_rows_map_is_odd(size, holds, name):
    table = BACKBONES[name](width=0.25, same_padding=True)
    image = torch.randn(1, 3, *size)
    torch.manual_seed(0)
    plain = with_values(Backbone(table).eval())
    dual = DualPath(Backbone(with_strides(table, {0: 1})), split=0).eval()
    dual.load_state_dict(plain.state_dict())
    coarse, expected = maps_of(dual, image, ["coarse.16"])["coarse.16"], maps_of(plain, image, [16])[16]
    assert is_same(coarse, expected) is holds


@pytest.mark.parametrize("size", [(96, 96), (100, 70)])
@pytest.mark.parametrize(("name", "row"), POOLS)
def test_max_pooled_coarse_path_is_the_unmodified_backbone(name, row, size):
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    taps = taps_after(row, name)
    plain, coarse = maps_of(make(name), image, taps), [f"coarse.{tap}" for tap in taps]
    maximum = maps_of(DualPath(make(name, {row: 1}), split=row, pool="max"), image, coarse)
    subsampled = maps_of(DualPath(make(name, {row: 1}), split=row), image, coarse)
    for tap in taps:
        assert is_same(maximum[f"coarse.{tap}"], plain[tap])
        assert not torch.equal(subsampled[f"coarse.{tap}"], plain[tap])


@pytest.mark.parametrize("name", TABLES)
def test_fine_path_is_the_modified_backbone(name):
    row = next(row for backbone, row in STRIDED if backbone == name)
    image = torch.randn(2, 3, 64, 48)
    modified, last = make(name, {row: 1}), rows_until(name) - 1
    fine = maps_of(DualPath(modified, split=row), image, [last, 0])
    expected = maps_of(modified, image, [last, 0])
    assert torch.equal(fine[last], expected[last])
    assert torch.equal(fine[0], expected[0])  # a row before the split is tapped once


def test_residual_rows_stay_what_they_were():
    # MobileNetV2's row 4 has stride 2 and no shortcut; at stride 1 it must not grow one
    assert make("mobilenet_v2", {4: 1}).layers[4].residual is False


def test_even_pool_at_stride_one_is_the_identity():
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert torch.equal(MaxPool(1, 1, 1)(x), x)
    assert MaxPool(1, 1, 1, kernel=3)(x)[0, 0].tolist() == [[5, 6, 7, 7], [9, 10, 11, 11], [9, 10, 11, 11]]
    assert MaxPool(1, 1, 3, kernel=3)(x).tolist() == [[[[10]]]]


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ({99: 1}, r"must name rows 0 to 13; got 99; rows with a stride: 0 \(stride 2\), 2 \(stride 2\)"),
        ({"x": 1}, "must name rows 0 to 13; got 'x'"),
        ({0: 0}, r"strides\[0\] must be a whole number from 1; got 0"),
    ],
)
def test_impossible_surgery_is_refused(strides, message):
    with pytest.raises(ValueError, match=message):
        with_strides(TABLES["mobilenet_v1"], strides)


def test_impossible_split_is_refused():
    with pytest.raises(ValueError, match="split must be a row from 0 to 12; got 13"):
        DualPath(make("mobilenet_v1"), split=13)
