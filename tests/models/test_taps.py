"""Taps: text and value, and what a backbone says of them."""

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.models.backbones import BACKBONES
from lib.models.backbones.base import Backbone
from lib.models.dual_path import DualPath
from lib.models.taps import Tap, parse_tap, parse_taps
from tests.small_config import SMALL


@pytest.mark.parametrize(
    ("text", "tap"),
    [
        (13, Tap(13)),
        ("13", Tap(13)),
        ("13.expand", Tap(13, "expand")),
        ("coarse.13", Tap(13, is_coarse=True)),
        ("coarse.9.expand", Tap(9, "expand", True)),
        ("13+coarse.11", Tap(13, joined=(Tap(11, is_coarse=True),))),
        ("5+6.expand+7", Tap(5, joined=(Tap(6, "expand"), Tap(7)))),
    ],
)
def test_text_and_value_are_one(text, tap):
    assert parse_tap(text) == tap
    assert str(tap) == str(text)
    assert [str(part) for part in tap.parts] == str(text).split("+")


@pytest.mark.parametrize("text", ["last", "13.", "13.2", "fine.13", "13+", "-1", "", None, 1.5, [11]])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="model.neck.taps must be rows such as 11 or coarse.13; got"):
        parse_tap(text)


def test_options_of_a_neck_hold_taps_as_values():
    neck = {"type": "extras", "taps": [11, "13.expand"], "source": 13, "extras": []}
    options = parse_taps(neck)
    assert options == {"type": "extras", "taps": [Tap(11), Tap(13, "expand")], "source": Tap(13), "extras": []}
    assert parse_taps({"taps": [11]}) == {"taps": [Tap(11)]}
    assert neck["taps"] == [11, "13.expand"]


def test_joined_maps_are_read_in_the_order_in_which_they_are_written():
    maps = {Tap(1): torch.ones(1, 1, 2, 3), Tap(0, is_coarse=True): torch.zeros(1, 2, 2, 3)}
    assert parse_tap("1+coarse.0").read(maps)[0, :, 0, 0].tolist() == [1, 0, 0]
    assert parse_tap("1").read(maps) is maps[Tap(1)]


def test_maps_of_different_sizes_are_not_joined():
    features = {Tap(5): torch.empty(1, 4, 6, 8, device="meta"), Tap(11): torch.empty(1, 4, 3, 4, device="meta")}
    with pytest.raises(ValueError, match=r"those of '5\+11' in model.neck are 3x4, 6x8: choose rows with no stride"):
        parse_tap("5+11").read(features)


def test_the_last_path_is_the_coarse_one_unless_maps_are_joined():
    assert parse_tap("13.expand").on_last_path(True) == Tap(13, "expand", True)
    assert parse_tap("13").on_last_path(False) == Tap(13)
    assert parse_tap("13+coarse.11").on_last_path(True) == parse_tap("13+coarse.11")


def test_channels_of_taps():
    plain = Backbone(BACKBONES["mobilenet_v2"](width=0.25)[:6])
    dual = DualPath(plain, split=0)
    texts = ["5", "5.expand", "coarse.5", "5+coarse.4", "5.expand+4.depthwise"]
    assert [dual.tap_channels(parse_tap(text)) for text in texts] == [8, 48, 8, 16, 96]
    with pytest.raises(ValueError, match=r"'coarse.5' of model.neck needs model.dual_path, which is null"):
        plain.tap_channels(parse_tap("coarse.5"))
    with pytest.raises(
        ValueError, match="'coarse.0' of model.neck must be of a row after 0, .* such as coarse.1, or 0"
    ):
        dual.tap_channels(parse_tap("5+coarse.0"))
    with pytest.raises(ValueError, match="the stage of row 0 in the tap '0.conv' must be one of"):
        plain.tap_channels(parse_tap("0.conv"))


@pytest.mark.parametrize(("taps", "is_unread"), [("[11, 13]", True), ("[11, coarse.13]", False)])
def test_a_coarse_path_that_no_tap_reads_is_told(taps, is_unread, caplog):
    neck = f"model.neck={{type: pyramid, taps: {taps}, width: 16, extras: [[16, 2]]}}"
    build_detector(load_config(SMALL, [neck, "model.dual_path={split: 0}"]))
    assert ("model.neck reads no map of the coarse path" in caplog.text) is is_unread
    assert ("such as coarse.13" in caplog.text) is is_unread
