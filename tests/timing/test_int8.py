"""What fewer bits cost: the verdict, the table, and what becomes of a model that is slower and worse."""

import logging

import numpy as np
import pytest
from torch import nn

from lib.config import load_config
from lib.inference.model_file import Loaded
from lib.inference.tiles import Tiles
from lib.timing import int8
from lib.timing.int8 import Cost, make_int8

AP = {"AP": (0.2, 0.19), "AP_tiny": (0.1, 0.05), "AP_larger": (None, None)}


@pytest.mark.parametrize(
    ("ap", "times", "is_worse", "is_slower"),
    [
        ((0.2, 0.19), {"onnxruntime": (8.0, 20.0), "openvino": (10.0, 7.5)}, True, False),
        ((0.2, 0.19), {"onnxruntime": (8.0, 20.0), "openvino": (10.0, 8.5)}, True, True),
        ((0.2, 0.2), {"onnxruntime": (8.0, 9.0)}, False, True),
        ((None, None), {"onnxruntime": (8.0, 7.0)}, False, False),
    ],
)
def test_each_side_counts_in_its_fastest_backend(ap, times, is_worse, is_slower):
    cost = Cost({"AP": ap}, times)
    assert (cost.is_worse, cost.is_slower) == (is_worse, is_slower)


def test_the_first_ap_is_the_one_that_counts():
    cost = Cost({"AP50_tiny": (0.2, 0.1), "AP50_tiny1": (0.1, 0.2)}, {"onnxruntime": (8.0, 7.0)})
    assert (cost.is_worse, cost.is_ruined) == (True, True)


def test_table_has_both_models_and_the_change():
    lines = str(Cost(AP, {"openvino": (10.0, 7.5)})).splitlines()
    assert [line.split() for line in lines] == [
        ["AP", "AP_tiny", "AP_larger", "openvino,", "ms"],
        ["before", "0.2000", "0.1000", "-", "10.000"],
        ["after", "0.1900", "0.0500", "-", "7.500"],
        ["change", "-5.0", "%", "-50.0", "%", "-", "-25.0", "%"],
    ]


def test_a_model_that_is_slower_and_worse_is_refused_unless_forced(monkeypatch, caplog):
    monkeypatch.setattr(int8, "quantize", lambda content, images: bytes([len(list(images))]))
    images = [np.zeros((50, 70, 3), np.uint8)] * 3
    loaded = Loaded(load_config({"input": {"size": [64, 96]}}), ("disc",), nn.Identity())
    for times, force, is_refused in (((8.0, 9.0), False, True), ((8.0, 9.0), True, False), ((8.0, 7.0), False, False)):
        monkeypatch.setattr(int8, "judge", lambda *_, times=times: Cost(AP, {"openvino": times}))
        caplog.clear()
        with caplog.at_level(logging.INFO):
            if is_refused:
                with pytest.raises(ValueError, match="--int8 must be .* this one is slower and worse: --force"):
                    make_int8(b"model", ".onnx", loaded, images, [0, 1], force)
            else:
                assert make_int8(b"model", ".onnx", loaded, images, [0, 1], force) == b"\x03"
        assert "int8 on 2 images of data.val" in caplog.text and "-50.0 %" in caplog.text
    monkeypatch.delattr(int8, "judge")
    assert make_int8(b"model", ".onnx", loaded, images, None, False) == b"\x03"


def test_a_model_that_lost_its_ap_is_refused_though_it_is_faster(monkeypatch):
    monkeypatch.setattr(int8, "quantize", lambda content, images: b"small")
    monkeypatch.setattr(int8, "judge", lambda *_: Cost({"AP": (0.17, 0.03)}, {"openvino": (73.0, 40.0)}))
    loaded = Loaded(load_config({"input": {"size": [64, 96]}}), ("disc",), nn.Identity())
    with pytest.raises(ValueError, match="this one loses more than a tenth of its AP: --force writes it"):
        make_int8(b"model", ".onnx", loaded, [], [0], force=False)


def test_the_test_cuts_images_as_it_is_told(monkeypatch, tmp_path):
    tiles, options = Tiles(64, 0.25), []
    monkeypatch.setattr(int8, "usable_backends", lambda path: ["onnxruntime"])
    monkeypatch.setattr(int8, "Predictor", lambda *_, **given: options.append(given) or object())
    with pytest.raises(AttributeError, match="prepare"):  # both models are open
        int8.judge(tmp_path / "before.onnx", tmp_path / "after.onnx", [0], tiles)
    assert options == [{"backend": "onnxruntime", "tiles": tiles}] * 2
