"""What users get wrong ends in a message that names the file, the image or the key, and says what to do."""

import json

import pytest

from lib.data.synthetic.dataset import generate


@pytest.fixture
def broken(tmp_path):
    """A data set of its own to break: the folder, and the arguments that make train.py use it."""
    root = generate(
        tmp_path / "broken", 8, 2, num_classes=2, image_sizes=(64, 80), object_sizes=(8, 30), progress=False
    )
    paths = {
        f"data.{part}.{key}": root / f"{part}{end}"
        for part in ("train", "val")
        for key, end in (("images", ""), ("annotations", ".json"))
    }
    return root, [f"{key}={path}" for key, path in paths.items()]


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def first_image(root):
    return sorted((root / "train").iterdir())[0]


def test_missing_image_is_named(train, broken):
    root, arguments = broken
    name = first_image(root).name
    first_image(root).unlink()
    with pytest.raises(FileNotFoundError, match=rf"must hold the 8 images .* 1 are missing \({name}\)"):
        train(*arguments)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", "truncated"])
def test_unreadable_image_is_named(train, broken, content, workers):
    root, arguments = broken
    path = first_image(root)
    path.write_bytes(path.read_bytes()[:-200] if content == "truncated" else content)
    with pytest.raises(ValueError, match=path.name):
        train(*arguments, f"data.workers={workers}")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"images": []}', "{}"])
def test_file_that_is_no_coco_json_is_named(train, broken, text):
    root, arguments = broken
    (root / "train.json").write_text(text)
    with pytest.raises(ValueError, match="train.json"):
        train(*arguments)


def test_data_set_without_images_is_refused(train, broken):
    root, arguments = broken
    edit(root / "train.json", lambda content: content.update(images=[], annotations=[]))
    with pytest.raises(ValueError, match="train.json"):
        train(*arguments)


def test_unknown_class_is_named_with_its_neighbor(train, broken):
    with pytest.raises(ValueError, match=r"rinng.*did you mean 'ring'"):
        train(*broken[1], "data.classes=[disc, rinng]")


def test_unknown_category_of_an_annotation_is_named(train, broken):
    root, arguments = broken
    edit(root / "train.json", lambda content: content["annotations"][0].update(category_id=77))
    with pytest.raises(ValueError, match="77"):
        train(*arguments)


def test_bad_boxes_are_dropped_and_counted_or_refused(train, broken, caplog):
    root, arguments = broken
    caplog.set_level("INFO")

    def spoil(content):
        for annotation, box in zip(
            content["annotations"], ([500, 500, 5, 5], [3, 3, 0, 4], [1, 2, float("nan"), 4]), strict=False
        ):
            annotation["bbox"] = box

    edit(root / "train.json", spoil)
    with pytest.raises(ValueError, match="set bad_boxes to drop"):
        train(*arguments, "data.bad_boxes=refuse", "run.name=refused")
    folder = train(*arguments, "train.epochs=1", "train.eval_every=0")
    assert "dropped" in (folder / "log.txt").read_text()


def test_a_single_class_trains_and_tests(train, test, capsys):
    folder = train("data.classes=[ring]", "train.epochs=1")
    test(f"--checkpoint={folder / 'last.pth'}", "data.classes=null")
    out = capsys.readouterr().out
    assert "ring" in out
    assert "disc" not in out
