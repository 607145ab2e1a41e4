"""Tiles: where they lie, and what becomes of boxes that several of them show."""

import numpy as np
import pytest
import torch

from lib.inference import Tiles
from lib.inference.tiles import check_tiles, detect_in_tiles, parse_tiles, tile_windows
from lib.structures import Detections


def detections(*rows):
    """(x1, y1, x2, y2, score, label) rows."""
    values = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].long())


def squares(images):
    """A perfect detector of white rectangles, one an image; a part of one scores .9, higher than the .8 of the
    whole, as a careless detector might have it."""
    for image in images:
        rows, columns = np.nonzero(image[..., 0])
        if not len(rows):
            yield detections()
            continue
        x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        touches = x1 == 0 or y1 == 0 or x2 == image.shape[1] or y2 == image.shape[0]
        yield detections((x1, y1, x2, y2, 0.9 if touches else 0.8, 1))


def canvas(*boxes):
    image = np.zeros((200, 300, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def test_windows_are_equal_inside_the_image_and_overlap_enough():
    windows = tile_windows((200, 300), 100, 0.25)
    assert windows[:3].tolist() == [[0, 0, 100, 100], [67, 0, 167, 100], [133, 0, 233, 100]]
    assert windows[-1].tolist() == [200, 100, 300, 200]
    assert len(windows) == 3 * 4
    for size, side, overlap in (((1000, 77), 64, 0.3), ((333, 500), 90, 0.0), ((91, 90), 90, 0.9)):
        boxes = tile_windows(size, side, overlap)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= (size[1], size[0])).all()
        for axis in (0, 1):
            starts = np.unique(boxes[:, axis])
            assert (np.diff(starts) <= np.ceil(side * (1 - overlap))).all()


def test_image_smaller_than_a_tile_is_one_window():
    assert tile_windows((50, 30), 100, 0.25).tolist() == [[0, 0, 30, 50]]


def test_object_in_several_tiles_is_found_once_at_its_place():
    found = detect_in_tiles(squares, canvas((150, 90, 160, 105)), Tiles(100, whole=False))
    assert found.boxes.tolist() == [[150, 90, 160, 105]]
    assert found.scores.tolist() == pytest.approx([0.8])


def test_whole_box_wins_over_its_parts_though_they_score_higher():
    image = canvas((60, 20, 80, 40))  # the tile that begins at 67 cuts it
    found = detect_in_tiles(squares, image, Tiles(100, whole=False))
    assert found.boxes.tolist() == [[60, 20, 80, 40]]


def test_object_larger_than_any_tile_comes_from_the_whole_image():
    image = canvas((10, 10, 290, 190))
    assert detect_in_tiles(squares, image, Tiles(100)).boxes.tolist() == [[10, 10, 290, 190]]


def test_fusion_joins_the_parts_of_an_object_that_no_window_shows_whole():
    image = canvas((80, 20, 160, 40))  # 80 wide, the tiles at 67 and 133 show 80..160 and 133..160
    found = detect_in_tiles(squares, image[:100, :240], Tiles(90, 0.5, "fusion", whole=False))
    assert [80, 20, 160, 40] in found.boxes.tolist()


def test_boxes_of_one_window_and_of_other_classes_are_left_alone():
    def two(images):
        for _ in images:
            yield detections((10, 10, 50, 50, 0.9, 1), (12, 12, 50, 50, 0.8, 1), (10, 10, 50, 50, 0.7, 2))

    found = detect_in_tiles(two, canvas()[:100, :100], Tiles(100))
    assert found.labels.tolist() == [1, 1, 2]


def test_nothing_found_is_no_detections():
    found = detect_in_tiles(squares, canvas(), Tiles(100))
    assert found.boxes.shape == (0, 4)
    assert found.labels.dtype == torch.int64


def test_tiles_are_cut_as_they_are_needed():
    seen = []

    def detect(images):
        for number, _ in enumerate(images):
            seen.append(number)
            yield detections()

    detect_in_tiles(detect, np.broadcast_to(np.uint8(0), (40_000, 40_000, 3)), Tiles(1000))  # 4.8 GB if it were copied
    assert len(seen) == 1 + 53 * 53


def test_flag_is_read_and_checked():
    assert parse_tiles("512") == Tiles(512)
    assert parse_tiles("256,0.3,fusion") == Tiles(256, 0.3, "fusion")
    for text in ("big", "512,x", "8", "512,0.95", "512,0.2,mean"):
        with pytest.raises(ValueError, match="tiles must"):
            parse_tiles(text)
    check_tiles(Tiles(16, 0.0))
