"""A file that is read in pieces gives what the whole file gives."""

import json

import numpy as np
import pytest

from lib.data.formats import coco_stream
from lib.data.formats.coco_json import open_coco
from lib.data.formats.coco_stream import NotStreamed, stream_coco
from lib.data.formats.content import Collector, content_of


def random_content(rng):
    names = ["a.jpg", 'q"}, {"x.jpg', "b},{c.jpg", "é/ü.png", "plain.jpg", "back\\slash.jpg"]
    images = [{"id": i, "file_name": f"{i} {rng.choice(names)}", "height": 50, "width": 40} for i in range(1, 9)]
    annotations = []
    for index in range(int(rng.integers(0, 60))):
        entry = {"id": index + 1, "image_id": int(rng.integers(1, 9)), "category_id": int(rng.integers(1, 3))}
        entry["bbox"] = rng.uniform(0, 30, 4).round(2).tolist()
        entry |= {"iscrowd": int(rng.integers(0, 2)), "segmentation": [rng.uniform(0, 30, 8).round(1).tolist()]}
        if rng.random() < 0.2:
            entry["segmentation"] = {"counts": [1, 2], "size": [50, 40]}
        if rng.random() < 0.2:
            entry["attributes"] = [{"a": 1}, {"b": {"c": []}}, "}, {"]
        if rng.random() < 0.8:
            entry["area"] = float(rng.integers(0, 90))
        if rng.random() < 0.1:
            entry.pop("bbox")
        annotations.append({key: entry[key] for key in rng.permutation(list(entry))})
    content = {"info": {"a": [{}, {}], "text": '"}'}, "licenses": [{"id": 1}], "images": images}
    content |= {"annotations": annotations, "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}], "n": 1}
    return {key: content[key] for key in rng.permutation(list(content))}


def assert_read_alike(content, path, **options):
    """Whether a file is read in pieces as its content is as a whole; both are given."""
    path.write_text(json.dumps(content, **options))
    pieces, whole = open_coco(path), content_of(content, str(path))
    assert pieces.images == whole.images and pieces.categories == whole.categories
    assert pieces.problems == whole.problems
    for mine, other in zip(pieces.objects.columns, whole.objects.columns, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype


@pytest.mark.parametrize("piece", [64, 400, 2**23])
@pytest.mark.parametrize("seed", range(6))
def test_pieces_are_the_whole(seed, piece, tmp_path, monkeypatch):
    monkeypatch.setattr(coco_stream, "PIECE", piece)
    content = random_content(np.random.default_rng(seed))
    assert_read_alike(content, tmp_path / "a.json", indent=[None, 1][seed % 2], ensure_ascii=seed % 3 == 0)


@pytest.mark.parametrize(
    "odd",
    [
        *({}, {"iscrowd": 1}, {"iscrowd": True}, {"ignore": 1}, {"difficult": "no"}, {"uncertain": 1.0}),
        *({"area": 7}, {"area": -1}, {"area": "7"}, {"area": None}, {"id": 2**63}, {"id": 7.0}, {"id": "x"}),
        *({"bbox": [1, 2, True, 4]}, {"bbox": [1, 2, 3]}, {"bbox": ["1", 2, 3, 4]}, {"bbox": [1, 2, 10**30, 4]}),
        *({"bbox": None, "segmentation": [[1, 1, 9, 1, 9, 9]]}, {"image_id": 2.0}, {"category_id": "1"}),
    ],
)
def test_annotations_that_are_nearly_plain_are_read_as_odd_ones(odd, tmp_path):
    plain = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2.5, 3, 4], "area": 9.5, "iscrowd": 0}
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 50, "width": 40} for i in (1, 2)]
    content = {"images": images, "annotations": [plain, {**plain, "id": 2} | odd]}
    assert_read_alike(content | {"categories": [{"id": 1, "name": "x"}]}, tmp_path / "a.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("iscrowd", 2, "annotations.1..iscrowd must be 0 or 1"), ("image_id", 3, "each annotation must name one of")],
)
def test_annotations_that_are_nearly_plain_are_refused_as_odd_ones(key, value, message, tmp_path):
    plain = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 9, "iscrowd": 0}
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [plain, {**plain, "id": 2, key: value}]}
    (tmp_path / "a.json").write_text(json.dumps(content | {"categories": [{"id": 1, "name": "x"}]}))
    with pytest.raises(ValueError, match=message):
        open_coco(tmp_path / "a.json")


def test_a_plain_file_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_stream, "PIECE", 4096)
    content = random_content(np.random.default_rng(1))
    (tmp_path / "a.json").write_text(json.dumps(content))
    stream_coco(tmp_path / "a.json", collector := Collector("a.json"))
    assert collector.num_annotations == len(content["annotations"]) > 9


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"images": []', '{"images": [{"id": 1}], "images": []}', '{"images": [NaN]}', '{"images": {}}', "{}"],
)
def test_what_is_broken_or_odd_is_left_to_the_slow_reader(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(NotStreamed):
        stream_coco(tmp_path / "a.json", Collector("a.json"))
