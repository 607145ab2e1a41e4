"""Drawing: boxes beside their objects, labels where they hide least."""

import numpy as np
import torch

from lib.structures import Detections
from lib.utils import draw
from lib.utils.draw import class_color, draw_boxes, draw_detections

NAMES = ["disc", "ring"]


def changed(before, after):
    """Rows and columns that differ."""
    return np.nonzero((before != after).any(axis=2))


def test_object_of_three_pixels_is_left_as_it_is():
    image = np.full((100, 200, 3), 50, np.uint8)
    image[40:43, 80:83] = 200
    drawn = draw_boxes(image, np.array([[80.0, 40, 83, 43]]), np.array([1]), NAMES, np.array([0.9]))
    assert (drawn[40:43, 80:83] == 200).all()
    assert tuple(drawn[38, 80]) == class_color(1)
    assert (image == 50).sum() > (drawn == 50).sum()


def test_label_stays_inside_the_image_at_every_border():
    image = np.zeros((80, 200, 3), np.uint8)
    for box in ([0, 0, 10, 10], [190, 0, 200, 10], [0, 70, 10, 80], [190, 70, 200, 80]):
        drawn = draw_boxes(image, np.array([box], float), np.array([2]), NAMES, np.array([0.5]))
        rows, _ = changed(image, drawn)
        assert len(rows) > 400  # the plate is there as a whole


def test_label_moves_away_from_other_boxes():
    image = np.zeros((100, 300, 3), np.uint8)
    boxes = np.array([[100.0, 50, 150, 80], [100, 30, 220, 47]])  # the second lies where the first one's label would be
    drawn = draw_boxes(image, boxes, np.array([1, 2]), NAMES)
    inside_second = drawn[33:44, 103:150]
    assert not (inside_second == class_color(1)).all(axis=2).any()


def test_labels_give_way_in_a_crowd_but_boxes_do_not():
    image = np.zeros((60, 60, 3), np.uint8)
    boxes = np.array([[x, y, x + 3, y + 3] for x in range(2, 56, 6) for y in range(2, 56, 6)], float)
    drawn = draw_boxes(image, boxes, np.ones(len(boxes), int), NAMES, np.ones(len(boxes)))
    assert all(tuple(drawn[int(y2) + 1, int(x1)]) != (0, 0, 0) for x1, _, _, y2 in boxes)


def test_a_single_class_has_no_names_but_a_count_in_the_corner():
    image = np.zeros((700, 900, 3), np.uint8)
    box = np.array([[400.0, 300, 440, 330]])
    frame = draw_boxes(image, box, np.array([1]), ["tree"], np.array([0.9]))
    rows, columns = changed(image, frame)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (298, 331, 398, 441)
    found = Detections(torch.from_numpy(box), torch.tensor([0.9]), torch.tensor([1]))
    rows, columns = changed(frame, draw_detections(image, found, ["tree"]))
    assert rows.max() < 20 and columns.max() < 80 and len(rows) > 300
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert draw_detections(image, nothing, ["tree"])[0, 0].tolist() == list(class_color(1))


def test_small_picture_is_enlarged():
    image = np.zeros((100, 150, 3), np.uint8)
    found = Detections(torch.tensor([[10.0, 10, 20, 20]]), torch.tensor([0.2]), torch.tensor([1]))
    assert draw_detections(image, found, NAMES).shape == (600, 900, 3)
    large = np.zeros((700, 900, 3), np.uint8)
    assert draw_detections(large, found, NAMES).shape == (700, 900, 3)
    for line, shape in (((2, 6000), (2, 6000, 3)), ((4480, 32), (4480, 32, 3)), ((30, 1000), (120, 4000, 3))):
        assert draw_detections(np.zeros((*line, 3), np.uint8), found, NAMES).shape == shape


def test_names_are_drawn_in_letters_that_opencv_has():
    assert draw._drawable(["car", "Fußgänger", "行人", "véhicule"]) == ["car", "Fussganger", "class 3", "vehicule"]
    image, box = np.zeros((100, 200, 3), np.uint8), np.array([[80.0, 40, 110, 60]])
    drawn = [draw_boxes(image, box, np.array([1]), [name, "b"]) for name in ("行人", "class 1")]
    np.testing.assert_array_equal(*drawn)


def test_thousands_of_boxes_have_colors_instead_of_names(monkeypatch):
    image = np.zeros((600, 900, 3), np.uint8)
    x, y = np.meshgrid(np.arange(30, 870, 80.0), np.arange(30, 570, 60.0))
    boxes = np.stack([x.ravel(), y.ravel(), x.ravel() + 5, y.ravel() + 5], axis=1)
    named = draw_boxes(image, boxes, np.ones(len(boxes), int), NAMES)
    monkeypatch.setattr(draw, "MOST_NAMED", len(boxes) - 1)
    plain = draw_boxes(image, boxes, np.ones(len(boxes), int), NAMES)
    assert np.count_nonzero(named) > 3 * np.count_nonzero(plain) > 0
