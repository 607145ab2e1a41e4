"""The embedded data set: reproducible, sound as COCO data, its boxes tight around what shows."""

import json

import numpy as np
import pytest

from lib.data.dataset import CocoDataset
from lib.data.synthetic.dataset import MARKER, generate
from lib.data.synthetic.scenes import Canvas, SceneOptions, draw_scene
from lib.data.synthetic.shapes import CLUTTER, SHAPES, TEXTURES, Patch, pose, render
from tools.make_synthetic import main

SMALL = {"num_train": 4, "num_val": 2, "image_sizes": (64, 96), "object_sizes": (6, 40), "progress": False}
SCENE = {"num_classes": 8, "image_sizes": (240, 480), "object_sizes": (6, 150), "objects": (14, 14), "clutter": (4, 8)}


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def square_patch(left, top, side):
    return Patch(np.full((side, side, 3), 200, np.float32), np.ones((side, side), np.float32), left, top)


def test_same_seed_gives_same_files_to_the_bit(tmp_path):
    first, second = generate(tmp_path / "a", **SMALL), generate(tmp_path / "b", **SMALL)
    assert contents(first) == contents(second)
    assert len(contents(first)) == 4 + 2 + 3


def test_another_seed_gives_other_images(tmp_path):
    first, second = generate(tmp_path / "a", **SMALL), generate(tmp_path / "b", seed=1, **SMALL)
    assert (first / "train/000001.jpg").read_bytes() != (second / "train/000001.jpg").read_bytes()


def test_training_and_validation_images_differ(tmp_path):
    root = generate(tmp_path / "a", **SMALL)
    assert (root / "train/000001.jpg").read_bytes() != (root / "val/000001.jpg").read_bytes()


def test_image_does_not_depend_on_how_many_there_are(tmp_path):
    few, more = generate(tmp_path / "a", **SMALL), generate(tmp_path / "b", **{**SMALL, "num_train": 6})
    assert (few / "train/000004.jpg").read_bytes() == (more / "train/000004.jpg").read_bytes()


def test_nothing_is_done_where_the_data_lies_already(tmp_path):
    root = generate(tmp_path, **SMALL)
    (root / "train/000001.jpg").write_bytes(b"touched")
    generate(tmp_path, **SMALL)
    assert (root / "train/000001.jpg").read_bytes() == b"touched"


def test_half_written_data_is_made_anew(tmp_path):
    root = generate(tmp_path, **SMALL)
    whole = contents(root)
    marker = json.loads((root / MARKER).read_text())
    (root / MARKER).write_text(json.dumps({**marker, "complete": False}))
    (root / "train/000002.jpg").unlink()
    (root / "val.json").unlink()
    generate(tmp_path, **SMALL)
    assert contents(root) == whole


def test_other_parameters_replace_the_data(tmp_path):
    generate(tmp_path, **SMALL)
    generate(tmp_path, **{**SMALL, "num_train": 2})
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["000001.jpg", "000002.jpg"]


def test_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        generate(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "wrong", [{"num_classes": 11}, {"num_train": 0}, {"object_sizes": (40, 6)}, {"image_sizes": (8, 96)}]
)
def test_impossible_parameters_are_named(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generate(tmp_path, **{**SMALL, **wrong})


def test_result_is_a_coco_data_set_without_problems(tmp_path):
    root = generate(tmp_path, num_classes=6, **SMALL)
    dataset = CocoDataset(root / "train", root / "train.json", bad_boxes="refuse")
    assert dataset.classes == ("disc", "ring", "triangle", "cross", "star", "square")
    assert not dataset.problems
    assert len({dataset.load(index).image.shape for index in range(len(dataset))}) > 1
    for annotation in dataset.ground_truth["annotations"]:
        assert annotation["area"] == round(annotation["bbox"][2] * annotation["bbox"][3], 2)


def test_most_objects_are_small_and_some_are_large():
    scenes = [draw_scene(np.random.default_rng(seed), SceneOptions(**SCENE)) for seed in range(12)]
    boxes = np.concatenate([scene.boxes for scene in scenes])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert 0.65 < (sides < 32).mean() < 0.95
    assert sides.min() < 8
    assert sides.max() > 80
    assert set(np.concatenate([scene.labels for scene in scenes])) == set(range(1, 9))


def test_boxes_lie_inside_their_image():
    for seed in range(6):
        scene = draw_scene(np.random.default_rng(seed), SceneOptions(**SCENE))
        height, width = scene.image.shape[:2]
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] <= (width, height)).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()


def test_image_without_objects_has_empty_boxes():
    scene = draw_scene(np.random.default_rng(0), SceneOptions(**{**SCENE, "objects": (0, 0)}))
    assert scene.boxes.shape == (0, 4)
    assert scene.labels.shape == (0,)


def test_drawn_square_lies_where_its_outline_does():
    square, to_plane = SHAPES["square"].outline, np.eye(2, 3)
    patch = render([square[0] * 3], to_plane, "plain", np.zeros(3), np.zeros(3), np.array([10.5, 20.25]))
    assert (patch.left, patch.top) == (7, 17)
    assert patch.alpha.shape == (7, 7)
    assert patch.alpha[3, 3] == 1
    np.testing.assert_allclose(patch.alpha[3, [0, -1]], 0.5, atol=0.2)
    np.testing.assert_allclose(patch.alpha[[0, -1], 3], [0.75, 0.25], atol=0.3)
    rows, columns = np.mgrid[17.5:24, 7.5:14]
    center = [(patch.alpha * axis).sum() / patch.alpha.sum() for axis in (columns, rows)]
    np.testing.assert_allclose(center, [10.5, 20.25], atol=0.15)


@pytest.mark.parametrize("name", SHAPES)
def test_object_has_the_wanted_size_and_box(name):
    outline, to_plane = pose(SHAPES[name].outline, 24.0, np.random.default_rng(3))
    points = np.concatenate(outline) + (50.3, 40.6)
    canvas = Canvas(np.zeros((80, 100, 3), np.uint8))
    patch = render(outline, to_plane, SHAPES[name].texture, np.zeros(3), np.ones(3), np.array([50.3, 40.6]))
    assert canvas.try_put(patch, is_object=True)
    true_box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    assert (true_box[2:] - true_box[:2]).max() == pytest.approx(24)
    np.testing.assert_allclose(canvas.box(0), true_box, atol=1.0)  # a sharp tip is thinner than a pixel


@pytest.mark.parametrize("covering_is_object", [True, False])
def test_box_surrounds_only_what_shows(covering_is_object):
    canvas = Canvas(np.zeros((40, 60, 3), np.uint8))
    assert canvas.try_put(square_patch(10, 10, 20), is_object=True)
    cover = square_patch(24, 5, 30)
    assert canvas.try_put(cover, covering_is_object)
    np.testing.assert_array_equal(canvas.box(0), [10, 10, 24, 30])


def test_object_is_never_hidden_too_much():
    canvas = Canvas(np.zeros((40, 60, 3), np.uint8))
    assert canvas.try_put(square_patch(10, 10, 20), is_object=True)
    assert not canvas.try_put(square_patch(20, 5, 30), is_object=False)  # half of it
    assert not canvas.try_put(square_patch(50, 0, 20), is_object=True)  # half of itself is outside
    assert canvas.try_put(square_patch(50, 0, 20), is_object=False)


def test_every_texture_and_clutter_can_be_drawn_at_the_least_size():
    rng = np.random.default_rng(0)
    for texture in TEXTURES:
        for make in CLUTTER.values():
            outline, to_plane = pose(make(rng), 4.0, rng)
            patch = render(outline, to_plane, texture, np.zeros(3), np.full(3, 255.0), np.array([8.2, 9.7]))
            assert patch.alpha.max() > 0
            assert 0 <= patch.color.min() <= patch.color.max() <= 255


def test_command_writes_the_data_and_names_a_wrong_option(tmp_path, capsys):
    main([str(tmp_path / "out"), "--train", "1", "--val", "1", "--image-size", "64", "80", "--object-size", "6", "30"])
    assert "1 training and 1 validation" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"num_classes \(--classes\) must be 1 .. 10; got 12"):
        main([str(tmp_path / "other"), "--classes", "12"])
