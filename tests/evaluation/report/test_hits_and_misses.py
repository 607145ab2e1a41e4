"""What a detector makes of one large image: the boxes by kind, and the picture."""

import cv2
import numpy as np
import pytest

from lib.data.dataset import CocoDataset
from lib.evaluation.report.hits_and_misses import outcome_of, plot_outcome, score_to_count


@pytest.fixture
def dataset(tmp_path):
    """Two images of 120 x 200; the second one holds three trees and a region to ignore."""
    images = [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 120} for i in (4, 7)]
    boxes = [(4, [0, 0, 9, 9], 0), (7, [10, 10, 20, 20], 0), (7, [60, 10, 20, 20], 0), (7, [100, 50, 30, 20], 0)]
    boxes.append((7, [150, 60, 40, 40], 1))
    annotations = [
        {"id": i + 1, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for i, (image, box, crowd) in enumerate(boxes)
    ]
    for record in images:
        cv2.imwrite(str(tmp_path / record["file_name"]), np.full((120, 200, 3), 90, np.uint8))
    categories = [{"id": 1, "name": "Tree"}]
    return CocoDataset(tmp_path, {"images": images, "annotations": annotations, "categories": categories})


def detections(*rows):
    return [{"image_id": image, "category_id": 1, "bbox": box, "score": score} for image, box, score in rows]


RESULTS = detections(
    (4, [0.0, 0, 9, 9], 0.9),
    (7, [11.0, 10, 20, 20], 0.9),  # finds the first tree
    (7, [10.0, 10, 20, 20], 0.5),  # a second box on it: a false positive
    (7, [60.0, 10, 20, 20], 0.2),  # too low a score
    (7, [160.0, 70, 20, 20], 0.8),  # inside the region to ignore
    (7, [0.0, 90, 20, 20], 0.4),
)


def test_boxes_are_sorted_by_what_they_are(dataset):
    outcome = outcome_of(dataset, RESULTS, 0.3, index=1)
    assert outcome.objects.tolist() == [[10, 10, 20, 20], [60, 10, 20, 20], [100, 50, 30, 20]]
    assert outcome.hits.tolist() == [[11, 10, 20, 20]]
    assert outcome.missed.tolist() == [[60, 10, 20, 20], [100, 50, 30, 20]]
    assert outcome.false_positives.tolist() == [[10, 10, 20, 20], [0, 90, 20, 20]]
    assert outcome.num_counted == 3


def test_without_detections_all_are_missed(dataset):
    outcome = outcome_of(dataset, [], 0.3, index=1)
    assert (len(outcome.missed), outcome.num_counted) == (3, 0)


def test_score_to_count_is_that_of_the_highest_f1(dataset):
    # From .9 on: 2 hits of 4 objects, F1 = 4 / 6; from .5, .4 and .2 on: 4 / 7, 4 / 8 and 6 / 9, a tie
    assert score_to_count(dataset, RESULTS) == 0.9
    assert score_to_count(dataset, RESULTS[:1] + RESULTS[3:5]) == 0.2  # 4 / 6 from .2 on, 2 / 5 before
    assert score_to_count(dataset, []) == 0.0


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_picture_has_the_ground_truth_beside_what_is_found(dataset, tmp_path, suffix):
    outcome = outcome_of(dataset, RESULTS, 0.3, index=1)
    file = plot_outcome(dataset.load(1).image, outcome, "trees", tmp_path / f"a{suffix}")
    picture = cv2.imread(str(file))
    height, width = picture.shape[:2]
    assert width == 1810 and 570 < height < 600
    is_yellow = (picture[..., 1] > 200) & (picture[..., 2] > 200) & (picture[..., 0] < 100)
    columns = np.nonzero(is_yellow[60:])[1]
    assert columns.min() > 910 + 11 * 4 and columns.max() < 910 + 33 * 4.5  # the one that is found, on the right only
