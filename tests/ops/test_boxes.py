import torch

from lib.ops import boxes as ops

BOX = torch.tensor([[10.0, 20, 30, 80]])


def test_forms_of_a_box_by_hand():
    assert ops.xyxy_to_cxcywh(BOX).tolist() == [[20, 50, 20, 60]]
    assert ops.xyxy_to_xywh(BOX).tolist() == [[10, 20, 20, 60]]
    assert ops.cxcywh_to_xyxy(ops.xyxy_to_cxcywh(BOX)).tolist() == BOX.tolist()


def test_area_is_zero_where_a_side_is_not_positive():
    boxes = torch.tensor([[[0.0, 0, 3, 4], [3, 0, 0, 4], [3, 4, 0, 0], [1, 1, 1, 5]]])
    assert ops.box_area(boxes).tolist() == [[12, 0, 0, 0]]


def test_clip_keeps_height_and_width_apart():
    boxes = torch.tensor([[-5.0, -5, 500, 500]])
    assert ops.clip_boxes(boxes, (100, 200)).tolist() == [[0, 0, 200, 100]]


def test_scale_takes_a_size_for_each_image():
    boxes = torch.ones(2, 3, 4)
    scaled = ops.scale_boxes(boxes, (10, 20), torch.tensor([[[30, 40]], [[10, 10]]]))
    assert scaled[:, 0].tolist() == [[2, 3, 2, 3], [0.5, 1, 0.5, 1]]


def test_empty_boxes_keep_their_shape():
    empty = torch.zeros(2, 0, 4)
    for function in (ops.xyxy_to_cxcywh, ops.cxcywh_to_xyxy, ops.xyxy_to_xywh):
        assert function(empty).shape == (2, 0, 4)
    assert ops.box_area(empty).shape == (2, 0)
    assert ops.clip_boxes(empty, (10, 20)).shape == (2, 0, 4)
