"""The report is one file that needs nothing else, and holds for sets without objects or detections."""

import html.parser
import re

import cv2
import numpy as np
import pytest
from random_sets import random_set

from lib.evaluation import evaluate, make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.report.evaluation import build_report, small_side
from lib.evaluation.report.gallery import Miss, draw_gallery


def report_of(coco, results, protocol="coco", folder=None):
    protocol = make_protocol(protocol)
    truth = make_ground_truth(coco, protocol)
    found = make_detections(results, truth)
    result = evaluate(truth, found, protocol)
    return build_report("<b>a & b", result, truth, found, coco["images"], folder)


class Tags(html.parser.HTMLParser):
    """Counts open elements."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def assert_sound(page):
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)  # nothing is fetched
    assert "<script" not in page
    assert "&lt;b&gt;a &amp; b" in page  # text of others is no HTML
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S)


@pytest.mark.parametrize("protocol", ["coco", "tinyperson", "voc12"])
def test_report_is_one_sound_file(protocol):
    assert_sound(report_of(*random_set(5), protocol))


def test_report_without_a_detection_is_sound():
    assert_sound(report_of(random_set(6)[0], []))


def test_report_without_an_object_is_sound():
    coco, results = random_set(6)
    assert_sound(report_of({**coco, "annotations": []}, results))


def test_gallery_shows_missed_small_objects(tmp_path):
    coco, _ = random_set(7)
    for record in coco["images"][:-1]:
        record["file_name"] = f"{record['id']}.png"
        cv2.imwrite(str(tmp_path / record["file_name"]), np.full((160, 200, 3), 90, np.uint8))
    page = report_of(coco, [], folder=tmp_path)
    assert page.count("data:image/jpeg;base64,") >= 1
    assert "nothing near" in page


def test_gallery_shows_no_picture_from_outside_of_the_folder(tmp_path):
    cv2.imwrite(str(tmp_path / "private.png"), np.full((160, 200, 3), 90, np.uint8))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "private.png")
    truth = make_ground_truth(random_set(7)[0], make_protocol())
    image_id = int(truth.image_ids[truth.image[0]])

    def picture(name, links=False):
        found = make_detections([], truth)
        return draw_gallery(truth, found, [Miss(0, "why")], {image_id: name}, tmp_path / "images", links)[0]

    for name in ("../private.png", str(tmp_path / "private.png"), "link.png"):
        assert picture(name).source is None and "is outside of the image folder" in picture(name).fault
    assert picture("link.png", links=True).source.startswith("data:image/jpeg")
    assert picture("../private.png", links=True).source is None


def test_small_is_the_bound_of_the_ranges_at_or_below_32_pixels():
    truth = make_ground_truth(random_set(0)[0], make_protocol())
    found = make_detections([], truth)
    for ranges, side in ((None, 32), ({"dot": [0, 100], "blob": [100, None]}, 10), ({"big": [0, 9999]}, 32)):
        assert small_side(evaluate(truth, found, make_protocol("coco", ranges))) == side
