"""Pictures of maps: a row a tap, the fine path beside the coarse one."""

import cv2
import numpy as np
import pytest
import torch

from lib.build import build_detector
from lib.checkpoint import save_checkpoint
from lib.config import load_config
from lib.inference.map_pictures import heat_picture, map_sheet, taps_by_row
from lib.inference.model_file import Loaded
from lib.utils.sheet import GAP, SIDE, STRIP
from lib.utils.yaml_files import to_plain
from tools.show_maps import main

DUAL = ["model.dual_path={split: 0}", "model.backbone.type=mobilenet_v1_S1L0", "model.neck.taps=[5, 11]"]


def loaded(*overrides) -> Loaded:
    source = {
        "input": {"size": [64, 96]},
        "model": {
            "num_classes": 2,
            "backbone": {"type": "mobilenet_v1", "width": 0.25},
            "neck": {"taps": [5, 11], "extras": [[32, 2]]},
            "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
        },
    }
    cfg = load_config(source, overrides)
    torch.manual_seed(0)
    return Loaded(cfg, ("tree",), build_detector(cfg).eval())


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_cells_are_rectangles_from_dark_to_bright():
    picture = heat_picture(np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), (20, 30))
    assert picture.shape == (20, 30, 3)
    assert (picture[:10, :10] == picture[0, 0]).all() and (picture[10:, 20:] == picture[-1, -1]).all()
    assert tuple(picture[0, 0]) == (84, 1, 68)  # of viridis, the first color and the last, BGR
    assert tuple(picture[-1, -1]) == (37, 231, 253)


def test_an_even_map_has_one_color():
    assert (heat_picture(np.ones((2, 3)), (4, 6)) == heat_picture(np.zeros((2, 3)), (4, 6))).all()


def test_rows_of_both_paths_stand_side_by_side_and_taps_of_both_make_one_row():
    assert [[str(tap) for tap in row] for row in taps_by_row(loaded().detector)] == [["5"], ["11"]]
    dual = loaded(*DUAL)
    assert [[str(tap) for tap in row] for row in taps_by_row(dual.detector)] == [["5", "coarse.5"], ["11", "coarse.11"]]
    early = loaded("model.dual_path={split: 6}", "model.neck.taps=[5, 11, coarse.11]", "model.neck.extras=[]")
    assert [[str(tap) for tap in row] for row in taps_by_row(early.detector)] == [["5"], ["11", "coarse.11"]]


def test_the_coarse_column_is_the_picture_of_the_plain_network(image):
    plain, dual = loaded(), loaded(*DUAL)
    dual.detector.backbone.load_state_dict(plain.detector.backbone.state_dict())
    cell = (SIDE + STRIP, SIDE * 96 // 64)
    sheets = [map_sheet(each, image) for each in (plain, dual)]
    assert [sheet.shape for sheet in sheets] == [
        (2 * (cell[0] + GAP) + GAP, columns * (cell[1] + GAP) + GAP, 3) for columns in (2, 3)
    ]
    top, width = GAP + STRIP, cell[1] + GAP
    expected = sheets[0][top : top + SIDE, GAP + width : GAP + width + cell[1]].astype(int)
    coarse = sheets[1][top : top + SIDE, GAP + 2 * width : GAP + 2 * width + cell[1]]
    assert np.abs(coarse - expected).max() <= 8  # a level of the color map more or less, by rounding


def test_tool_writes_one_picture(image, tmp_path, capsys):
    dual = loaded(*DUAL)
    content = {"config": to_plain(dual.cfg), "classes": ["tree"], "category_ids": [1]}
    save_checkpoint(tmp_path / "dual.pth", {"model": dual.detector.state_dict(), **content})
    cv2.imwrite(str(tmp_path / "a.png"), image)
    main([str(tmp_path / "a.png"), f"--checkpoint={tmp_path}/dual.pth", f"--out={tmp_path}/maps.png"])
    assert capsys.readouterr().out == f"{tmp_path}/maps.png\n"
    assert (cv2.imread(str(tmp_path / "maps.png")) == map_sheet(dual, image)).all()
