"""The demo's table, chart and pictures."""

import cv2
import numpy as np

from lib.data.dataset import CocoDataset
from lib.evaluation.report.side_by_side import comparison_table, plot_by_size, plot_images
from lib.utils.draw import class_color, draw_boxes


def result(ap, tiny, rest):
    return {
        "metrics": {"AP": ap, "AP50": 0.5, "AP_tiny": tiny, "AP_rest": rest, "AR_tiny": 0.9},
        "counts": {"all": 7, "tiny": 4, "rest": 3},
    }


RESULTS = {"plain": result(0.1, 0.012, None), "S1L0_dual": result(0.25, 0.2, 0.3)}


def test_table_has_a_line_a_detector_and_a_dash_where_no_object_is():
    assert comparison_table(RESULTS).splitlines() == [
        "              AP   AP50  AP_tiny  AP_rest",
        "plain      0.100  0.500    0.012        -",
        "S1L0_dual  0.250  0.500    0.200    0.300",
    ]


def test_results_without_a_mean_over_thresholds_have_a_table_and_a_chart(tmp_path):
    metrics = {"AP25": 0.9, "AP25_tiny": 0.8, "AP50": 0.3, "AP50_tiny": 0.2, "AP50_tiny1": None}
    results = {"plain": {"metrics": metrics, "counts": {"tiny": 4, "tiny1": 0}}}
    assert comparison_table(results).splitlines() == [
        "       AP50_tiny   AP50  AP50_tiny1",
        "plain      0.200  0.300           -",
    ]
    assert plot_by_size(results, tmp_path / "chart.png").is_file()


def test_chart_is_written(tmp_path):
    image = cv2.imread(str(plot_by_size(RESULTS, tmp_path / "chart.png")))
    assert image.shape[0] > 300
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


def test_pictures_show_the_fullest_images_and_what_is_found_in_them(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda _, text, **options: titles.append(text))
    images = [
        {"id": 5, "file_name": "a.png", "width": 60, "height": 40},
        {"id": 9, "file_name": "b.png", "width": 50, "height": 70},
    ]
    boxes = [(5, [2, 2, 9, 9]), (9, [1, 1, 5, 5]), (9, [20, 20, 6, 6])]
    annotations = [
        {"id": i + 1, "image_id": image, "category_id": 3, "bbox": box, "area": 1, "iscrowd": 0}
        for i, (image, box) in enumerate(boxes)
    ]
    for record in images:
        cv2.imwrite(str(tmp_path / record["file_name"]), np.full((record["height"], record["width"], 3), 90, np.uint8))
    dataset = CocoDataset(
        tmp_path, {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "car"}]}
    )
    found = [{"image_id": 9, "category_id": 3, "bbox": [1.0, 1, 5, 5], "score": 0.9}]
    file = plot_images(dataset, {"mine": found, "nothing": []}, tmp_path / "pictures.png", count=2)
    assert cv2.imread(str(file)).shape[0] > 300
    assert titles[:3] == ["ground truth: 2 objects", "mine: 1 detections", "nothing: 0 detections"]


def test_a_box_is_drawn_around_its_object_not_over_it():
    image = np.zeros((40, 60, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[20.0, 15, 30, 25]]), np.array([1]), ["x"])
    assert not image.any()  # the image itself is left alone
    assert not drawn[15:25, 20:30].any()
    assert tuple(drawn[26, 31]) == class_color(1)
    assert (draw_boxes(image, np.zeros((0, 4)), np.zeros(0, int), ["x"]) == image).all()
