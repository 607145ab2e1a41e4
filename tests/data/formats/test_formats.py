"""Data sets of others, read and written without losing a box."""

import json

import cv2
import numpy as np
import pytest

from lib.data.dataset import CocoDataset
from lib.data.formats.coco_json import read_results
from lib.data.formats.folder import image_ids
from lib.data.formats.registry import guess_format, read_content, read_dataset, write_dataset
from lib.data.formats.xml_file import parse_xml
from lib.structures import IGNORE

CLASSES = ["pedestrian", "people", "bicycle", "car"]


def random_coco(rng, num_images=6):
    images = [
        {"id": index, "file_name": f"part{index % 2}/im {index}.jpg", "height": 48 + index, "width": 64}
        for index in range(1, num_images + 1)
    ]
    annotations = []
    for image in images[1:]:  # the first image has no object
        for _ in range(rng.integers(1, 5)):
            box = rng.choice([rng.integers(0, 40, 4) + 1.0, rng.uniform(0.5, 40, 4)]).tolist()
            annotations.append(
                {
                    **{"id": len(annotations) + 1, "image_id": image["id"], "bbox": box},
                    **{"category_id": int(rng.integers(1, 5)), "area": box[2] * box[3], "iscrowd": 0},
                }
            )
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_images(coco, folder):
    for record in coco["images"]:
        path = folder / record["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((record["height"], record["width"], 3), np.uint8))


def boxes_by_image(coco):
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found = {record["file_name"].rsplit("/")[-1]: [] for record in coco["images"]}
    files = {record["id"]: record["file_name"].rsplit("/")[-1] for record in coco["images"]}
    for annotation in coco["annotations"]:
        found[files[annotation["image_id"]]].append((names[annotation["category_id"]], *annotation["bbox"]))
    return found


def assert_same_boxes(one, other):
    one, other = boxes_by_image(one), boxes_by_image(other)
    assert one.keys() == other.keys()
    for name in one:
        assert [row[0] for row in one[name]] == [row[0] for row in other[name]]
        rows = [[row[1:] for row in found[name]] for found in (one, other)]
        np.testing.assert_allclose(*rows, rtol=1e-9)


@pytest.mark.parametrize("name", ["voc", "yolo", "visdrone"])
@pytest.mark.parametrize("seed", range(3))
def test_no_box_is_lost_there_and_back(name, seed, tmp_path):
    coco = random_coco(np.random.default_rng(seed))
    write_images(coco, tmp_path / "images")
    write_dataset(coco, tmp_path, name)
    assert guess_format(tmp_path) == name
    again = read_dataset(tmp_path)
    assert_same_boxes(coco, again)
    sizes = [
        {record["file_name"]: (record["height"], record["width"]) for record in found["images"]}
        for found in (coco, again)
    ]
    assert sizes[0] == sizes[1]


def test_yolo_labels_beside_their_yaml_are_found_for_images_elsewhere(tmp_path):
    coco = random_coco(np.random.default_rng(5))
    write_images(coco, tmp_path / "photos")
    write_dataset(coco, tmp_path / "out", "yolo")
    assert_same_boxes(coco, read_dataset(tmp_path / "out" / "data.yaml", tmp_path / "photos"))


def test_yolo_labels_beside_their_yaml_win_over_others_beside_the_images(tmp_path):
    coco = random_coco(np.random.default_rng(5))
    write_images(coco, tmp_path / "images")
    write_dataset(random_coco(np.random.default_rng(6)), tmp_path, "yolo")
    write_dataset(coco, tmp_path / "out", "yolo")
    (tmp_path / "out" / "labels" / "part1" / "im 1.txt").unlink()  # the image without objects
    assert_same_boxes(coco, read_dataset(tmp_path / "out" / "data.yaml", tmp_path / "images"))


def test_yolo_labels_beside_their_yaml_that_are_of_other_images_are_passed_over(tmp_path):
    coco = random_coco(np.random.default_rng(5))
    write_images(coco, tmp_path / "more" / "images")
    write_dataset(coco, tmp_path / "more", "yolo")
    write_dataset(coco, tmp_path, "yolo")
    (tmp_path / "labels").rename(tmp_path / "train")
    (tmp_path / "labels").mkdir()
    (tmp_path / "train").rename(tmp_path / "labels" / "train")
    assert_same_boxes(coco, read_dataset(tmp_path / "data.yaml", tmp_path / "more" / "images"))


@pytest.mark.parametrize("name", ["voc", "yolo", "visdrone"])
def test_stray_files_do_not_change_the_format(name, tmp_path):
    coco = random_coco(np.random.default_rng(0))
    write_images(coco, tmp_path / "images")
    write_dataset(coco, tmp_path, name)
    for path in ["images/part0/im 2.jpg.aux.xml", *(["Annotations/part0/im 2.aux.xml"] if name == "voc" else [])]:
        (tmp_path / path).write_text("<PAMDataset/>")
    (tmp_path / "README.txt").write_text("Cars, from above")
    (tmp_path / "a.xml").write_text("<metadata/>")
    assert guess_format(tmp_path) == name
    assert_same_boxes(coco, read_dataset(tmp_path))


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"a.txt": "Cars, from above", "b.txt": "0 0.5 0.5 0.1 0.1"}, "yolo"),
        ({"a.txt": "see b.txt", "b.txt": "1,2,3,4,1,1,0,0"}, "visdrone"),
        ({"a.xml": "<html/>", "b.txt": "0 0.5 0.5 0.1 0.1"}, "yolo"),
        ({"a.xml": "<html/>", "b.txt": "1 2 3 4", "c.xml": "<!-- 1 -->\n<annotation/>"}, "voc"),
    ],
)
def test_the_format_is_that_of_the_files_that_have_one(files, name, tmp_path):
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    assert guess_format(tmp_path) == name


@pytest.mark.parametrize("suffix", ["jfif", "gif", "avif", "jp2", "j2k", "pnm", "pbm", "pgm", "PPM", "pfm"])
@pytest.mark.parametrize(("folder", "line"), [("labels", "0 .5 .5 .1 .1"), ("annotations", "1,2,3,4,1,1,0,0")])
def test_images_of_all_formats_are_seen(folder, line, suffix, tmp_path):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.txt").write_text(line)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"a.{suffix}").write_bytes(b"P5\n60 40\n255\n" + bytes(2400))  # the content tells the format
    assert [record["file_name"] for record in read_dataset(tmp_path)["images"]] == [f"a.{suffix}"]


def test_a_set_without_any_text_file_of_labels_is_noted(tmp_path):
    write_images(random_coco(np.random.default_rng(5), 2), tmp_path / "images")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nnames: [cat]\n")
    notes = read_content(tmp_path / "data.yaml").problems
    assert notes["images without a label file (no image of this data set has one)"] == [
        "part0/im 2.jpg",
        "part1/im 1.jpg",
    ]


def test_coco_is_written_and_read_as_it_is(tmp_path):
    coco = random_coco(np.random.default_rng(7))
    write_dataset(coco, tmp_path / "new" / "a.json", "coco")
    assert read_dataset(tmp_path / "new" / "a.json") == coco


VOC = """<annotation><filename>000001.jpg</filename><size><width>64</width><height>48</height></size>
<object><name>dog</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>5</ymin><xmax>64</xmax><ymax>48</ymax>
</bndbox></object></annotation>"""


def test_voc_boxes_count_pixels_from_one_and_include_both_ends(tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "000001.xml").write_text(VOC)
    coco = read_dataset(tmp_path)
    (annotation,) = coco["annotations"]
    assert annotation["bbox"] == [0, 4, 64, 44]  # the whole width of the image
    assert (annotation["difficult"], coco["categories"][annotation["category_id"] - 1]["name"]) == (1, "dog")
    assert len(coco["categories"]) == 20  # VOC's own list, in its order


def test_voc_keeps_masks_areas_crowds_and_regions(tmp_path):
    coco = random_coco(np.random.default_rng(2))
    coco["annotations"][0] |= {"area": 7.25, "iscrowd": 1, "ignored_region": 1}
    write_dataset(coco, tmp_path, "voc")
    again = read_dataset(tmp_path)["annotations"][0]
    assert (again["area"], again["iscrowd"], again["ignored_region"]) == (7.25, 1, 1)


@pytest.mark.parametrize(
    "attack",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_a_document_type_is_refused_before_it_grows(attack, encoding, tmp_path):
    (tmp_path / "a.xml").write_bytes(attack.encode(encoding))
    with pytest.raises(ValueError, match="must be plain XML; it declares a document type"):
        parse_xml(tmp_path / "a.xml")


def test_visdrone_keeps_ignored_regions_and_others(tmp_path):
    (tmp_path / "annotations").mkdir()
    lines = "10,20,30,40,0,0,0,0\n1,2,3,4,1,4,1,2\n5,6,7,8,0,11,0,0\n"
    (tmp_path / "annotations" / "a.txt").write_text(lines)
    write_images({"images": [{"file_name": "a.jpg", "height": 50, "width": 70}]}, tmp_path / "images")
    coco = read_dataset(tmp_path)
    region, car, others = coco["annotations"]
    assert (region["iscrowd"], region["ignored_region"]) == (1, 1)
    assert (car["category_id"], car["truncated"], car["occluded"]) == (4, 1, 2)
    assert (others["category_id"], others["ignore"]) == (11, 1)
    write_dataset(coco, tmp_path / "again", "visdrone")
    assert (tmp_path / "again" / "annotations" / "a.txt").read_text() == lines


def test_an_ignored_region_gets_no_class_in_other_formats(tmp_path, caplog):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.txt").write_text("10,20,30,20,0,0,0,0\n1,2,3,4,1,1,0,0\n")
    write_images({"images": [{"file_name": "a.jpg", "height": 50, "width": 70}]}, tmp_path / "images")
    coco = read_dataset(tmp_path)
    write_dataset(coco, tmp_path, "yolo")
    assert (tmp_path / "labels" / "a.txt").read_text().split()[::5] == ["11", "0"]
    assert "1 ignored regions became boxes of a class 'ignored regions'" in caplog.text
    assert "flags_lost" not in caplog.text
    write_dataset(coco, tmp_path / "voc", "voc")
    xml = (tmp_path / "voc" / "Annotations" / "a.xml").read_text()
    assert [line.strip() for line in xml.splitlines() if "<name>" in line or "difficult" in line] == [
        *("<name>ignored regions</name>", "<difficult>1</difficult>"),
        *("<name>pedestrian</name>", "<difficult>0</difficult>"),
    ]
    for path in (tmp_path / "data.yaml", tmp_path / "voc"):
        objects = read_content(path, tmp_path / "images").objects
        assert [entry.get("ignored_region", 0) for entry in objects] == [1, 0]
        dataset = CocoDataset(tmp_path / "images", path)
        assert "ignored regions" not in dataset.classes
        assert sorted(dataset.objects(0)[1].tolist()) == [IGNORE, 1 + dataset.classes.index("pedestrian")]


def test_yolo_polygons_become_boxes_and_empty_images_stay(tmp_path):
    write_images(
        {"images": [{"file_name": f"{name}.png", "height": 50, "width": 100} for name in "ab"]}, tmp_path / "images"
    )
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.1 0.2 0.3 0.2 0.3 0.6\n\n0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    coco = read_dataset(tmp_path)
    assert [annotation["bbox"] for annotation in coco["annotations"]] == [
        pytest.approx([10, 10, 20, 20]),
        pytest.approx([45, 22.5, 10, 5]),
    ]
    assert [category["name"] for category in coco["categories"]] == ["cat", "dog"]
    assert len(coco["images"]) == 2


def test_names_do_not_lead_out_of_the_folder(tmp_path):
    coco = random_coco(np.random.default_rng(0))
    coco["images"][0]["file_name"] = "../../etc/a.jpg"
    with pytest.raises(ValueError, match="must be a path below the image folder; got '../../etc/a.jpg'"):
        write_dataset(coco, tmp_path, "voc")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"labels/a.txt": "0 0.5 0.5 0.1"}, r"a.txt, line 1 must be 5 or more numbers; got '0 0.5 0.5 0.1': fix the l"),
        ({"labels/a.txt": "0 0.5 0.5 0.1 0.1 0.9"}, "detections have a score more"),
        ({"labels/a.txt": "x 0.5 0.5 0.1 0.1"}, "line 1 must be 5 or more numbers; .* fix the line, or, as class name"),
        ({"labels/a.txt": "1 2 3 4 5 6 7 8 plane 0"}, "line 1 must be 5 or more numbers; .* of DOTA and KITTI, are"),
        ({"annotations/a.txt": "1,2,3,4,1,1,0"}, r"line 1 must be 8 numbers; got '1,2,3,4,1,1,0': fix the line$"),
        ({"annotations/s.txt": "1,0,1,2,3,4,1,4,0,0"}, r"files of VisDrone-DET, .*; got 10 numbers, .*: convert them"),
        (
            {"labels/b.txt": "0 0.5 0.5 0.1 0.1"},
            "must have its image .*; 1 of 1 have none, such as .*b.txt: set data.train.images or .* HEIC .* be removed",
        ),
        ({"annotations/a.txt": "1,2,3,4,1,12,0,0"}, "the category must be 0 to 11; got 12: fix"),
        (
            {"annotations/b.txt": "1,2,3,4,1,1,0,0"},
            "must have its image in .*; 1 of 1 have none, such as .*b.txt: set data.train.images or .*, or --images",
        ),
        (
            {"a.xml": "<annotation><size>"},
            r"must be an XML file; it is not valid XML \(.*\): correct it, or export or download it again",
        ),
        ({"a.xml": "<html/>", "b.xml": "<annotation/>"}, "a.xml must be an annotation of VOC; its element is html"),
        (
            {"a.xml": "<annotation><size><width>x</width></size></annotation>"},
            "a.xml: size/width must be a number; got",
        ),
        ({"a.json": "[]"}, "must be a COCO file"),
        ({"readme.md": ""}, "must contain annotation files, .*; it contains none: for COCO, give the JSON file itself"),
    ],
)
def test_broken_files_are_named(files, message, tmp_path):
    write_images({"images": [{"file_name": "a.png", "height": 9, "width": 9}]}, tmp_path / "images")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    path = tmp_path / "a.json" if "a.json" in files else tmp_path
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_dataset(path)


def test_classes_that_visdrone_does_not_have_are_refused(tmp_path):
    coco = random_coco(np.random.default_rng(0))
    coco["categories"][0]["name"] = "whale"
    coco["annotations"][0]["category_id"] = 1
    with pytest.raises(ValueError, match="classes of VisDrone are .*; got whale"):
        write_dataset(coco, tmp_path, "visdrone")


def test_ids_are_the_numbers_that_names_are():
    assert image_ids(["000007", "a/000003"]) == [7, 3]
    assert image_ids(["000007", "a/7"]) == [1, 2]
    assert image_ids(["b", "000003"]) == [1, 2]
    assert image_ids(["9223372036854775807", "7"]) == [9223372036854775807, 7]
    assert image_ids(["20240101123045123456", "7"]) == [1, 2]


def test_detections_may_name_images_and_classes(tmp_path):
    coco = {"images": [{"id": 4, "file_name": "a/b.jpg"}, {"id": 5, "file_name": "c.png"}]}
    coco["categories"] = [{"id": 8, "name": "cat"}]
    names = ["a/b.jpg", "b", "b.jpg", "c", 5]
    (tmp_path / "dt.json").write_text(json.dumps([{"image_id": name} for name in names]))
    assert [entry["image_id"] for entry in read_results(tmp_path / "dt.json", coco)] == [4, 4, 4, 5, 5]
    coco["images"].append({"id": 6, "file_name": "d/c.png"})
    for name in ("x", "c"):  # unknown, and the name of two images
        (tmp_path / "dt.json").write_text(json.dumps([{"image_id": name}]))
        with pytest.raises(ValueError, match=rf"image_id .* a name of the ground truth; got {name} \(1 unknown"):
            read_results(tmp_path / "dt.json", coco)
    (tmp_path / "dt.json").write_text('[{"image_id": "b", "category_id": "cat"}, {"image_id": 5, "category_id": 8}]')
    expected = [{"image_id": 4, "category_id": 8}, {"image_id": 5, "category_id": 8}]
    assert read_results(tmp_path / "dt.json", coco) == expected
