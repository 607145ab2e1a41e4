"""Pictures of samples, priors and matches: what they show, and that the tool writes them."""

import json

import cv2
import numpy as np
import pytest
import torch

from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.data.sample_sheet import drawn_samples, sample_sheet
from lib.multibox.matcher import IoUMatcher
from lib.multibox.pictures import match_picture, prior_pictures
from lib.multibox.priors import PriorGenerator
from lib.structures import Target
from lib.utils.draw import class_color
from lib.utils.sheet import GAP, STRIP, fitted, picture_grid, titled
from tools.show import main


@pytest.fixture
def folder(tmp_path):
    """Three images, 60 high and 90 wide, the last without objects."""
    (tmp_path / "images").mkdir()
    for name in "abc":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((60, 90, 3), 90, np.uint8))
    return tmp_path


@pytest.fixture
def content():
    boxes = [(1, [5, 5, 30, 20], 0), (1, [40, 30, 20, 20], 1), (2, [50, 10, 12, 40], 0)]
    return {
        "images": [{"id": i, "file_name": f"{n}.jpg", "width": 90, "height": 60} for i, n in enumerate("abc", start=1)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": crowd}
            for i, (image, box, crowd) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }


def test_sheet_is_a_grid_of_equal_cells():
    pictures = [np.full((4, 7, 3), gray, np.uint8) for gray in (10, 20, 30)]
    sheet = picture_grid(pictures, columns=2)
    assert sheet.shape == (2 * (4 + GAP) + GAP, 2 * (7 + GAP) + GAP, 3)
    assert [sheet[GAP + r * (4 + GAP), GAP + c * (7 + GAP), 0] for r, c in ((0, 0), (0, 1), (1, 0))] == [10, 20, 30]
    assert (sheet[4 + 2 * GAP :, 7 + 2 * GAP :] == 255).all()


def test_picture_is_fitted_without_changing_its_aspect_and_titled_above():
    picture, scale = fitted(np.zeros((20, 40, 3), np.uint8), (100, 100))
    assert picture.shape == (50, 100, 3) and scale == 2.5
    assert titled(picture, "a title").shape == (50 + STRIP, 100, 3)
    assert (titled(picture, "")[STRIP:] == 0).all()


@pytest.mark.parametrize("decode", ["full", "reduced"])
def test_sample_sheet_shows_images_before_and_after(folder, content, decode):
    dataset = CocoDataset(folder / "images", content, decode=decode)
    transform = build_transform("mobile", (40, 60))
    sheet = sample_sheet(dataset, transform, seed=0, count=2)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * (480 + STRIP + GAP) + GAP, 2 * (720 + GAP) + GAP, 3)
    np.testing.assert_array_equal(sheet, sample_sheet(dataset, transform, seed=0, count=2))
    assert (sheet != sample_sheet(dataset, transform, seed=1, count=2)).any()


def test_no_more_images_are_drawn_than_there_are_and_none_is_refused(folder, content):
    dataset, transform = CocoDataset(folder / "images", content), build_transform("flip", (40, 60))
    assert len(drawn_samples(dataset, transform, 0, 100)) == 3
    with pytest.raises(ValueError, match="must be 1 or more; got 0"):
        drawn_samples(dataset, transform, 0, 0)


def test_priors_have_a_picture_a_level():
    generator = PriorGenerator([16, 32, 48], [[2], [2, 3]])
    maps, size = [(6, 8), (3, 4)], (60, 80)
    image = np.zeros((*size, 3), np.uint8)
    pictures = prior_pictures(image, generator(maps, size), maps, generator.boxes_per_cell)
    assert [picture.shape for picture in pictures] == [(480 + STRIP, 640, 3)] * 2
    center = (6 // 2 * 8 + 4) * 4  # the first prior of the cell in the middle of level 0
    x1, y1, _, _ = (generator(maps, size)[center] * 8).round().int().tolist()
    assert tuple(pictures[0][STRIP + y1, x1 + 4]) == class_color(0)


def test_matches_are_drawn_in_a_color_for_each_object():
    priors = torch.tensor([[10.0, 10, 30, 30], [11, 11, 31, 31], [50, 20, 70, 40], [0, 40, 10, 50]])
    target = Target(torch.tensor([[[10.0, 10, 30, 30], [50, 20, 70, 40], [0, 0, 0, 0]]]), torch.tensor([[1, 2, 0]]))
    matches = IoUMatcher()(priors, target)
    picture = match_picture(np.zeros((60, 80, 3), np.uint8), priors, target, matches)[STRIP:]
    assert tuple(picture[88, 150]) == class_color(0) and tuple(picture[160, 480]) == class_color(1)
    assert not (picture == class_color(0)).all(axis=2)[:, 400:].any()


def test_image_without_objects_has_no_match():
    target = Target(torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.int64))
    priors = torch.tensor([[10.0, 10, 30, 30]])
    picture = match_picture(np.zeros((60, 80, 3), np.uint8), priors, target, IoUMatcher()(priors, target))
    assert (picture[STRIP:] == 0).all()


def test_tool_writes_the_pictures(folder, content, capsys):
    (folder / "a.json").write_text(json.dumps(content))
    data = [f"data.train.images={folder / 'images'}", f"data.train.annotations={folder / 'a.json'}"]
    cfg = "experiments/mobilenet_v1/plain.yml"
    main([f"--cfg={cfg}", "--count=2", f"--out={folder / 'out'}", *data])
    files = [folder / "out" / f"{what}.png" for what in ("samples", "priors", "matches")]
    assert capsys.readouterr().out.split() == [str(file) for file in files]
    assert all(cv2.imread(str(file)).size > 100_000 for file in files)
