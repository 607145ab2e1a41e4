"""Tiles of a data set: objects land in the tiles that show them, with their place in these."""

import errno
import json
import os

import cv2
import numpy as np
import pytest

from lib.data.dataset import CocoDataset
from lib.evaluation.arrays import REGION, make_ground_truth
from lib.evaluation.protocols import make_protocol
from lib.inference import Tiles, tile_dataset
from lib.inference.tile_dataset import clip_to_window, write_tiles
from lib.structures import IGNORE
from tools import make_tiles


@pytest.fixture
def dataset(tmp_path):
    """One image of 100 x 160 with an object at its left and one over the border of two tiles."""
    (tmp_path / "images").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (100, 160, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
    boxes = [[10, 20, 30, 10], [70, 50, 20, 20]]
    annotations = [
        {"id": i + 1, "image_id": 7, "category_id": 3, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, box in enumerate(boxes)
    ]
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 100, "width": 160}],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "disc"}],
    }
    return CocoDataset(tmp_path / "images", content)


def test_boxes_are_clipped_and_their_shares_told():
    boxes = np.array([[10, 10, 30, 30], [40, 0, 60, 10], [90, 90, 99, 99]], np.float32)
    found, labels, shares = clip_to_window(boxes, np.array([1, 2, 3]), np.array([20, 0, 50, 40]))
    assert found.tolist() == [[0, 10, 10, 30], [20, 0, 30, 10]]
    assert labels.tolist() == [1, 2]
    assert shares.tolist() == [0.5, 0.5]


def test_tiles_hold_the_pixels_and_the_objects(dataset, tmp_path):
    write_tiles(dataset, tmp_path / "out", Tiles(80, 0.0), least_share=0.5)
    tiles = CocoDataset(tmp_path / "out" / "images", tmp_path / "out" / "annotations.json")
    image = cv2.imread(str(tmp_path / "images" / "a.png"))
    by_name = {name: index for index, name in enumerate(tiles.files)}
    assert set(by_name) == {f"7_a_{x}_{y}.png" for x in (0, 80) for y in (0, 20)}
    left = tiles.load(by_name["7_a_0_20.png"])
    assert (left.image == image[20:100, 0:80]).all()
    assert left.boxes.tolist() == [[10, 0, 40, 10], [70, 30, 80, 50]]
    assert left.labels.tolist() == [1, 1]


def test_object_with_too_little_left_is_ignored_and_empty_tiles_are_left_out(dataset, tmp_path):
    write_tiles(dataset, tmp_path / "out", Tiles(80, 0.0), least_share=0.6)
    tiles = CocoDataset(tmp_path / "out" / "images", tmp_path / "out" / "annotations.json")
    assert set(tiles.files) == {"7_a_0_0.png", "7_a_0_20.png"}
    assert sorted(tiles.objects(1)[1].tolist()) == [IGNORE, 1]


def test_a_region_of_no_class_stays_one(tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 60, 3), np.uint8))
    box = {"image_id": 1, "area": 100, "iscrowd": 1}
    annotations = [
        {**box, "id": 1, "category_id": 2, "bbox": [0, 0, 10, 10], "iscrowd": 0},
        {**box, "id": 2, "category_id": 1, "bbox": [20, 20, 10, 10], "ignored_region": 1},
    ]
    images = [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}]
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "van"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(content))
    written = write_tiles(CocoDataset(tmp_path / "images", tmp_path / "a.json"), tmp_path / "out", Tiles(60))
    regions = [(row["category_id"], row["iscrowd"], row.get("ignored_region")) for row in written["annotations"]]
    assert regions == [(2, 0, None), (1, 1, 1)]
    truth = make_ground_truth(written, make_protocol())
    assert truth.category.tolist() == [1, REGION]


def test_a_failure_leaves_no_folder(dataset, tmp_path, monkeypatch):
    def full(path, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(tile_dataset, "write_picture", full)
    with pytest.raises(OSError, match="out could not be written: the disk is full"):
        write_tiles(dataset, tmp_path / "out", Tiles(80, 0.0))
    assert not list(tmp_path.glob("out*"))


def test_folder_with_files_is_refused(dataset, tmp_path):
    with pytest.raises(FileExistsError, match="OUT must be new"):
        write_tiles(dataset, tmp_path, Tiles(80))


def test_the_script_reads_images_by_the_settings_and_reports(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full((64, 96), 2048, np.uint16))
    boxes = [[10, 10, 8, 8], [90, 10, 20, 8], [200, 10, 8, 8]]
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes, 1)]
    images = [{"id": 1, "file_name": "a.png", "height": 64, "width": 96}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}]}
    (tmp_path / "ann.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    given = [str(tmp_path / "images"), str(tmp_path / "ann.json"), str(out), "--tiles=64,0", "input.depth=[0,4096]"]
    make_tiles.main(given)
    assert cv2.imread(str(out / "images" / "1_a_0_0.png"))[0, 0].tolist() == [128, 128, 128]
    report = capsys.readouterr().out
    assert "boxes partly outside their image, clipped: 1" in report and "dropped: 1" in report
    assert f"{out}: 2 tiles, 2 boxes of 1 images" in report
