"""The laws of stride surgery and of the dual path, for every backbone and every row with a stride."""

import pytest
import torch

from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone, with_strides
from lib.models.blocks import MaxPool
from lib.models.dual_path import DualPath

TABLES = {
    "mobilenet_v1": BACKBONES["mobilenet_v1"](width=0.25),
    "mobilenet_v2": BACKBONES["mobilenet_v2"](width=0.25),
    "vgg16": BACKBONES["vgg16"](),
}
STRIDED = [
    (name, row) for name, table in TABLES.items() for row, layer in enumerate(table) if layer.stride > 1
]
CONVOLUTIONS = [(name, row) for name, row in STRIDED if TABLES[name][row].block is not MaxPool]
POOLS = [(name, row) for name, row in STRIDED if TABLES[name][row].block is MaxPool]
SIZES = [(96, 96), (101, 70), (64, 131)]


def rows_until(name: str) -> int:
    """VGG16's wide last rows add nothing to its laws but time."""
    return 17 if name == "vgg16" else len(TABLES[name])


def shrink(table):
    """The same rows with a sixteenth of the channels: the laws do not depend on them."""
    return tuple(layer._replace(channels=layer.channels and max(2, layer.channels // 16)) for layer in table)


def make(name: str, strides: dict | None = None) -> Backbone:
    """A variant with the weights that every variant of this backbone gets here."""
    table = TABLES[name] if name != "vgg16" else shrink(TABLES[name])
    torch.manual_seed(0)
    backbone = Backbone(with_strides(table[: rows_until(name)], strides or {})).eval()
    for module in backbone.modules():  # statistics that differ from BatchNorm's defaults
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return backbone


def taps_after(row: int, name: str) -> list[str]:
    last = rows_until(name) - 1
    return [str(tap) for tap in dict.fromkeys([min(row + 1, last), (row + last + 1) // 2, last])]


@pytest.mark.parametrize(("name", "row"), STRIDED)
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
    with torch.no_grad():
        plain = make(name)(image, taps)
        coarse = dual(image, [f"coarse.{tap}" for tap in taps])
    for tap in taps:
        torch.testing.assert_close(coarse[f"coarse.{tap}"], plain[tap], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(96, 96), (100, 70)])
@pytest.mark.parametrize(("name", "row"), POOLS)
def test_max_pooled_coarse_path_is_the_unmodified_vgg(name, row, size):
    if TABLES[name][row].options["ceil"]:
        size = (96, 64)  # the row's map must be even: the coarse copy has no incomplete windows
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    taps = taps_after(row, name)
    with torch.no_grad():
        plain = make(name)(image, taps)
        maximum = DualPath(make(name, {row: 1}), split=row, pool="max")(
            image, [f"coarse.{tap}" for tap in taps]
        )
        subsampled = DualPath(make(name, {row: 1}), split=row)(image, [f"coarse.{tap}" for tap in taps])
    for tap in taps:
        torch.testing.assert_close(maximum[f"coarse.{tap}"], plain[tap], rtol=1e-5, atol=1e-5)
        assert not torch.equal(subsampled[f"coarse.{tap}"], plain[tap])


@pytest.mark.parametrize("name", TABLES)
def test_fine_path_is_the_modified_backbone(name):
    row = next(row for backbone, row in STRIDED if backbone == name)
    image = torch.randn(2, 3, 64, 48)
    modified, last = make(name, {row: 1}), str(rows_until(name) - 1)
    with torch.no_grad():
        fine = DualPath(modified, split=row)(image, [last, "0"])
        expected = modified(image, [last, "0"])
    assert torch.equal(fine[last], expected[last])
    assert torch.equal(fine["0"], expected["0"])  # a row before the split is tapped once


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
