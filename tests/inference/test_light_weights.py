"""The weights in experiments/light find what they were trained to find, on images drawn here."""

from pathlib import Path

import numpy as np
import torch

from lib.inference import Predictor
from lib.ops import bbox_overlaps

LIGHT = Path(__file__).resolve().parents[2] / "experiments" / "light"


def drawn_board() -> np.ndarray:
    """(320, 448, 3) dark tracks on white; a bridge between two of them at x 200, a gap in another at x 300."""
    board = np.full((320, 448, 3), 255, np.uint8)
    for top in range(30, 320, 40):
        board[top : top + 16] = 0
    board[86:110, 200:212] = 0
    board[150:166, 300:316] = 255
    return board


def test_a_bridge_is_a_short_and_a_gap_is_open():
    predictor = Predictor(LIGHT / "deeppcb.pth", "cpu", overrides=["postprocess.score_threshold=0.5"])
    found = predictor(drawn_board())
    boxes = {predictor.classes[label - 1]: box for label, box in zip(found.labels, found.boxes, strict=True)}
    truth = {"short": [200.0, 86.0, 212.0, 110.0], "open": [300.0, 150.0, 316.0, 166.0]}
    assert len(found.labels) == 2 and boxes.keys() == truth.keys()
    for name, box in truth.items():  # the boxes of the data have a margin
        assert bbox_overlaps(torch.tensor([box]), boxes[name][None], "iof").item() > 0.95


def test_the_weights_name_their_classes_and_hold_no_path_of_the_machine_that_trained_them():
    expected = {
        "hituav": ("person", "car", "bicycle", "other_vehicle"),
        "deeppcb": ("open", "short", "mousebite", "spur", "copper", "pin-hole"),
    }
    for name, classes in expected.items():
        predictor = Predictor(LIGHT / f"{name}.pth", "cpu")
        assert predictor.classes == classes
        assert predictor.cfg.data.val.annotations.endswith(f"{name}/val.json")
        assert not Path(predictor.cfg.data.val.annotations).is_absolute()
        assert (LIGHT / f"{name}.pth").stat().st_size < 8e6
