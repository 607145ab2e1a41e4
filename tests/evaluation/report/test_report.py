"""The report is one file that needs nothing else, and holds for sets without objects or detections."""

import base64
import html.parser
import re

import cv2
import numpy as np
import pytest
from random_sets import random_set

from lib.evaluation import evaluate, make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.report.evaluation import build_report, small_side
from lib.evaluation.report.gallery import SIDE, SUBJECT, Exhibit, draw_gallery


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
    assert "no detection nearby" in page


def test_galleries_of_false_positives_tell_what_is_on_nothing_from_what_is_on_objects(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((160, 200, 3), 90, np.uint8))
    coco = {
        "images": [{"id": 1, "width": 200, "height": 160, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400}],
    }
    boxes = {0.7: [10, 10, 20, 20], 0.9: [150, 100, 20, 20], 0.8: [20, 10, 20, 20]}
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for score, box in boxes.items()]
    page = report_of(coco, results, folder=tmp_path)
    assert "The costliest kind of error by range, in AP50: all: inaccurate box (0.167);" in " ".join(page.split())
    sections = dict(re.findall(r"<section><h2>(.*?)</h2>(.*?)</section>", page, re.S))
    captions = {name: re.findall(r"<figcaption>(.*?)</figcaption>", text) for name, text in sections.items()}
    assert captions["False positives on background"] == ["cat 0.90, 20 px: no labeled object here. a.png"]
    assert captions["False positives on objects"] == ["cat 0.80, 20 px: inaccurate box, IoU 0.33. a.png"]
    assert "No object of this size was missed." in sections["Small objects that were missed"]


def test_names_in_other_scripts_are_text_in_figures_and_stand_only_in_captions_of_pictures(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("lib.evaluation.report.gallery._write", lambda picture, text, x, y: written.append(text))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((160, 200, 3), 90, np.uint8))
    box = [10, 10, 20, 20]
    coco = {
        "images": [{"id": 1, "width": 200, "height": 160, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "自行车"}, {"id": 2, "name": "bus"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 400}],
    }
    results = [
        {"image_id": 1, "category_id": category, "bbox": box, "score": score}
        for category, score in ((2, 0.9), (1, 0.8))
    ]
    page = report_of(coco, results, folder=tmp_path)
    assert ">自行车</text>" in page
    assert "<figcaption>bus 0.90, 20 px: wrong class: this is 自行车, IoU 1.00. a.png</figcaption>" in page
    assert set(written) == {"0.80", "bus 0.90"}


def test_the_subject_of_a_picture_has_an_orange_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((160, 200, 3), 90, np.uint8))
    truth = make_ground_truth({**random_set(7)[0], "annotations": []}, make_protocol())
    exhibit = Exhibit(0, np.array([80.0, 60.0, 49.0, 20.0]), "why")  # one pixel of the image is one of the picture
    files = {int(truth.image_ids[0]): "a.png"}
    source = draw_gallery(truth, make_detections([], truth), [exhibit], files, tmp_path)[0].source
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    x, y = SIDE // 2 - 24, SIDE // 2 - 10  # of the frame's corner
    assert picture.shape == (SIDE, SIDE, 3)
    np.testing.assert_allclose(picture[y, x + 10 : x + 40], [SUBJECT] * 30, atol=40)
    np.testing.assert_allclose(picture[y + 10, x + 10 : x + 40], [[90] * 3] * 30, atol=10)


def test_gallery_shows_no_picture_from_outside_of_the_folder(tmp_path):
    cv2.imwrite(str(tmp_path / "private.png"), np.full((160, 200, 3), 90, np.uint8))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "private.png")
    truth = make_ground_truth(random_set(7)[0], make_protocol())
    image_id = int(truth.image_ids[truth.image[0]])

    def picture(name, links=False):
        found = make_detections([], truth)
        exhibits = [Exhibit(int(truth.image[0]), truth.xywh[0], "why")]
        return draw_gallery(truth, found, exhibits, {image_id: name}, tmp_path / "images", links)[0]

    for name in ("../private.png", str(tmp_path / "private.png"), "link.png"):
        assert picture(name).source is None and "is outside of the image folder" in picture(name).fault
    assert picture("link.png", links=True).source.startswith("data:image/jpeg")
    assert picture("../private.png", links=True).source is None


def test_small_is_the_bound_of_the_ranges_at_or_below_32_pixels():
    truth = make_ground_truth(random_set(0)[0], make_protocol())
    found = make_detections([], truth)
    for ranges, side in ((None, 32), ({"dot": [0, 100], "blob": [100, None]}, 10), ({"big": [0, 9999]}, 32)):
        assert small_side(evaluate(truth, found, make_protocol("coco", ranges))) == side
