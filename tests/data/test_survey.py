"""Each fault of a data set is named as what it is."""

import cv2
import numpy as np
import pytest

from lib.data.survey import survey

BOX = [10, 20, 30, 12]


def coco(*annotations, **image):
    rows = [
        {"id": index, "image_id": 1, "category_id": 1, "bbox": BOX, "area": 360, **change}
        for index, change in enumerate(annotations, 1)
    ]
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 90, **image}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "cat"}],
    }


def test_a_sound_set_has_no_problem_and_its_numbers():
    found = survey(coco({}, {"bbox": [50, 1, 8, 8], "area": 40}))
    assert found.problems == {}
    assert (found.num_images, found.num_empty, found.classes) == (1, 0, {"cat": 2})
    assert found.boxes.tolist() == [[10, 20, 40, 32], [50, 1, 58, 9]]
    assert found.sizes.tolist() == [[60, 90]] * 2
    assert found.areas.tolist() == [360, 40]


@pytest.mark.parametrize(
    ("annotations", "kind"),
    [
        ([{"bbox": [1, 1, 0, 5]}], "boxes of no area"),
        ([{"bbox": [1, 1, float("nan"), 5]}], "boxes that are not four finite numbers"),
        ([{"bbox": [1, 1, 5]}], "boxes that are not four finite numbers"),
        ([{"bbox": [95, 1, 5, 5]}], "boxes outside their image"),
        ([{"bbox": [80, 1, 20, 5]}], "boxes partly outside their image"),
        ([{}, {}], "duplicate boxes"),
        ([{"id": 7}, {"id": 7, "bbox": [1, 1, 9, 9], "area": 81}], "annotation ids that are missing, 0 or duplicate"),
        ([{"image_id": 5}], "annotations of an unknown image_id"),
        ([{"category_id": 5}], "annotations of an unknown category_id"),
        ([{"area": None}], "annotations without area (the box's is taken)"),
        ([{"area": 999}], "areas larger than their box"),
        ([], "classes without an object"),
    ],
)
def test_a_fault_of_an_annotation_is_named(annotations, kind):
    assert kind in survey(coco(*annotations)).problems


def test_crowds_are_no_objects():
    found = survey(coco({"iscrowd": 1}))
    assert (len(found.areas), found.num_empty) == (0, 1)


def test_crowds_are_named_where_they_are_most_boxes():
    crowd, region = {"iscrowd": 1}, {"iscrowd": 1, "ignored_region": 1, "bbox": [1, 1, 5, 5], "area": 25}
    kind = "crowds, more than half of all boxes (CVAT exports masks as crowds: set iscrowd to 0 if they are objects)"
    assert survey(coco(crowd, {"bbox": [1, 1, 9, 9], "area": 81}, region)).problems == {}
    assert survey(coco(crowd)).problems[kind] == ["annotation 1 of a.png: [10, 20, 30, 12]"]


def test_a_box_that_leaves_the_image_is_clipped():
    assert survey(coco({"bbox": [80, -5, 20, 10], "area": 200})).boxes.tolist() == [[80, 0, 90, 5]]


def test_faults_of_files_are_named(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 90, 3), np.uint8))
    assert survey(coco({}), tmp_path).problems == {}
    assert survey(coco({}, height=61), tmp_path).problems == {
        "images whose size differs from the annotations (width x height)": [
            "a.png: 90x61 in the annotations, 90x60 in the file"
        ]
    }
    assert list(survey(coco({}, file_name="b.png"), tmp_path).problems) == ["image files that are missing"]
    (tmp_path / "c.jpg").write_bytes(b"no image")
    assert list(survey(coco({}, file_name="c.jpg"), tmp_path).problems) == ["image files that cannot be read"]


def test_a_truncated_image_is_found_by_opening_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    assert survey(coco({}), tmp_path).problems == {}
    assert "image files that cannot be read" in survey(coco({}), tmp_path, open_images=True).problems


def test_a_name_of_two_images_is_named():
    content = coco({})
    content["images"].append({**content["images"][0], "id": 2})
    assert survey(content).problems == {"image files listed more than once (joined)": ["a.png"]}


def test_sizes_that_only_the_files_tell_are_measured(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 90, 3), np.uint8))
    content = coco({}, {"bbox": [95, 1, 5, 5]}, height=None, width=None)
    content["images"].append({"id": 2, "file_name": "b.png"})
    content["annotations"].append({"id": 3, "image_id": 2, "category_id": 1, "bbox": BOX, "area": 360})
    (tmp_path / "b.png").write_bytes(b"no image")
    found = survey(content, tmp_path)
    assert list(found.problems) == ["image files that cannot be read", "boxes outside their image"]
    assert found.sizes.tolist() == [[60, 90], [np.inf, np.inf]]
    assert np.isinf(survey(content).sizes).all()
