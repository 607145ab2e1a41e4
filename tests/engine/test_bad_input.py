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


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_image_is_named(train, broken, workers):
    root, arguments = broken
    path = sorted((root / "train").iterdir())[0]
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=path.name):
        train(*arguments, f"data.workers={workers}")


def test_bad_boxes_are_dropped_and_counted_or_refused(train, broken, caplog):
    root, arguments = broken
    caplog.set_level("INFO")

    def spoil(content):
        for annotation, box in zip(
            content["annotations"], ([500, 500, 5, 5], [3, 3, 0, 4], [1, 2, float("nan"), 4]), strict=False
        ):
            annotation["bbox"] = box

    edit(root / "train.json", spoil)
    with pytest.raises(ValueError, match="set data.bad_boxes=drop"):
        train(*arguments, "data.bad_boxes=refuse", "run.name=refused")
    folder = train(*arguments, "train.epochs=1", "train.eval_every=0")
    assert "dropped" in (folder / "log.txt").read_text()


def test_a_single_class_trains_and_tests(train, test, capsys):
    folder = train("data.classes=[ring]", "train.epochs=1")
    test(f"--checkpoint={folder / 'last.pth'}", "data.classes=null")
    out = capsys.readouterr().out
    assert "ring" in out
    assert "disc" not in out
