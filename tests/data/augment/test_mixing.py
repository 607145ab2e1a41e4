"""Mosaic, mixup and copy-paste: objects of all images stay in their boxes, pixels are touched once."""

import cv2
import numpy as np
import pytest

from lib.data.augment.affine import moved
from lib.data.augment.geometric import Resize, turned
from lib.data.augment.mixing import CopyPaste, Mixup, Mosaic, OtherSamples
from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.data.loader import Loader
from lib.structures import IGNORE, Sample

FILL = (10, 20, 30)
BOX = (30, 20, 60, 45)


def make_sample(boxes=(BOX,), labels=None, gray=40, height=120, width=200, color=220):
    """A plain image with a filled rectangle, bright or of another color, at each box."""
    image = np.full((height, width, 3), gray, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = color
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)
    return Sample(image, boxes, labels, 7, (height, width))


def shown(sample, size=(120, 200)):
    return Resize(size, FILL)(sample, None)


def parts_of(image, color):
    """(N, 4) xyxy around each connected part that is nearer to a color than to the ground."""
    is_part = np.abs(image.astype(int) - color).max(axis=2) < 90
    _, _, stats, _ = cv2.connectedComponentsWithStats(is_part.astype(np.uint8))
    return np.concatenate([stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]], axis=1)


def source(*samples):
    """``others`` that gives these samples in turn."""
    left = iter(samples * 100)
    return lambda rng: next(left)


def test_mosaic_shows_four_images_that_meet_in_one_point():
    others = source(*(make_sample((), gray=gray) for gray in (80, 120, 160)))
    for seed in range(20):
        step = Mosaic(p=1.0, scale=(1.0, 1.0))
        image = shown(step(make_sample((), gray=40), np.random.default_rng(seed), others)).image[..., 0]
        corners = [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]]
        assert sorted(corners) == [40, 80, 120, 160]
        x, y = np.count_nonzero(image[0] == image[0, 0]), np.count_nonzero(image[:, 0] == image[0, 0])
        assert 50 <= x <= 150 and 30 <= y <= 90
        for part, gray in zip((image[:y, :x], image[:y, x:], image[y:, :x], image[y:, x:]), corners, strict=True):
            assert (part == gray).all()


def test_mosaic_is_of_the_sample_and_leaves_the_sources_as_they_are():
    sample, others = make_sample(), [make_sample(height=90, width=70) for _ in range(3)]
    result = Mosaic(p=1.0)(sample, np.random.default_rng(3), source(*others))
    assert (result.image_id, result.size, result.canvas) == (7, (120, 200), (120, 200))
    assert all(any(layer.image is s.image for s in (sample, *others)) for layer in result.layers)


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "mosaic", "p": 1.0}],
        [{"type": "mosaic", "p": 1.0, "scale": [0.8, 2.0]}, {"type": "iou_crop"}, {"type": "flip"}],
        [{"type": "mosaic", "p": 1.0}, {"type": "expand", "p": 1.0}, {"type": "cover_crop", "keep": 0.01}],
        [{"type": "copy_paste", "p": 1.0, "p_other": 0.0}, {"type": "iou_crop"}, {"type": "flip"}],
        [{"type": "copy_paste", "p": 1.0}, {"type": "mosaic", "p": 1.0, "scale": [0.7, 0.7]}],
        [{"type": "mosaic", "p": 1.0}, {"type": "turn"}, {"type": "cover_crop"}, {"type": "flip_vertical"}],
    ],
)
def test_boxes_stay_on_their_objects(steps):
    colors = [(220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40)]  # one a source: objects may touch
    boxes = [(100, 70, 125, 95), BOX, (50, 60, 75, 85), (5, 8, 30, 33)]
    sample, *others = (
        make_sample([box], [label], color=color, width=150 + 10 * label)
        for label, (box, color) in enumerate(zip(boxes, colors, strict=True), start=1)
    )
    transform, seen = build_transform(steps, (240, 400), (40, 40, 40)), 0
    for seed in range(40):
        result = transform(sample, np.random.default_rng(seed), source(*others))
        for box, label in zip(result.boxes, result.labels, strict=True):
            if (box[2:] - box[:2]).min() > 8:
                seen += 1
                parts = parts_of(result.image, colors[label - 1])
                assert np.abs(parts - box).max(axis=1).min() < 2.6  # an edge that fades in looks narrower
    assert seen >= 30


def test_mosaic_takes_regions_to_ignore_along():
    others = source(make_sample([(0, 0, 200, 120)], [IGNORE], gray=220))
    result = shown(Mosaic(p=1.0, scale=(1.0, 1.0))(make_sample(()), np.random.default_rng(0), others))
    assert result.labels.tolist() == [IGNORE] * 3
    covered = np.zeros((120, 200), bool)
    for x1, y1, x2, y2 in np.round(result.boxes).astype(int):
        covered[y1:y2, x1:x2] = True
    np.testing.assert_array_equal(covered, result.image[..., 0] == 220)


def test_mixup_blends_pixels_and_keeps_the_boxes_of_both():
    other = make_sample([(10, 10, 30, 30)], [2], gray=200, height=60, width=50)  # becomes 120 x 100
    result = Mixup(p=1.0, alpha=1000)(make_sample(), np.random.default_rng(0), source(other))
    left, top, right, bottom = np.round(result.layers[1].content).astype(int)
    assert (right - left, bottom - top) == (100, 120)
    opacity = result.layers[1].opacity
    assert opacity == pytest.approx(0.5, abs=0.1)
    drawn = shown(result)
    assert drawn.labels.tolist() == [1, 2]
    np.testing.assert_allclose(drawn.boxes, [BOX, (left + 20, 20, left + 60, 60)], atol=0.51)
    np.testing.assert_allclose(drawn.image[100, left + 5 : right - 5], 40 + opacity * 160, atol=1)
    outside = [x for x in range(200) if not left - 1 <= x <= right]
    assert (drawn.image[100, outside] == 40).all()


def test_copy_paste_adds_small_objects_at_free_places():
    boxes = [(30, 20, 50, 36), (80, 30, 150, 110), (0, 90, 40, 120)]
    sample = make_sample(boxes, [1, 2, IGNORE])
    sizes = set()
    for seed in range(30):
        step = CopyPaste(p=1.0, count=2, p_other=0.0)
        result = step(sample, np.random.default_rng(seed), None)
        np.testing.assert_array_equal(result.boxes[:3], boxes)
        new, image = result.boxes[3:], shown(result).image
        assert set(result.labels[3:].tolist()) <= {1}
        for box in new:
            x1, y1, x2, y2 = np.round(box).astype(int)
            assert (image[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] > 200).all()
            sizes.add(round(float(box[2] - box[0]), 1))
            for old in boxes:
                shared = np.minimum(box[2:], old[2:]) - np.maximum(box[:2], old[:2])
                assert np.maximum(shared, 0).prod() <= 0.05 * 1.5 * 1.5 * (box[2:] - box[:2]).prod()
    assert len(sizes) > 5 and min(sizes) >= 16 and max(sizes) <= 24  # 20 times 0.8 .. 1.2


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_pastes_and_mixed_images_turn_with_the_rest(quarters):
    rng = np.random.default_rng(5)
    sample, other = make_sample(), make_sample(gray=90)
    pasted = CopyPaste(p=1.0)(sample, rng, source(other, other))
    mixed = Mixup(p=1.0)(pasted, rng, source(other))
    upright, size = shown(mixed), (120, 200) if quarters == 2 else (200, 120)
    np.testing.assert_array_equal(shown(turned(mixed, quarters), size).image, np.rot90(upright.image, quarters))


def test_paste_fades_in_over_its_margin():
    other = make_sample([(100, 50, 120, 70)], gray=100)
    step = CopyPaste(p=1.0, count=1, p_other=1.0, scale=(1.0, 1.0))
    result = step(make_sample(()), np.random.default_rng(0), source(other))
    (box,) = result.boxes
    x1, y1, x2, y2 = box.tolist()
    row = shown(result).image[round((y1 + y2) / 2), :, 0].astype(int)
    before, inside = row[round(x1) - 5 : round(x1)], row[round(x1) + 1 : round(x2) - 1]
    assert (np.diff(before) >= 0).all() and before[0] <= 55 and before[-1] > 70
    assert row[round(x1) - 7] == 40 and (inside == 220).all()


def test_large_objects_and_regions_to_ignore_are_not_pasted():
    sample = make_sample([(80, 30, 150, 110), (0, 90, 20, 110)], [2, IGNORE])
    assert CopyPaste(p=1.0, p_other=0.0)(sample, np.random.default_rng(0), None) is sample


class FewImages:
    """A data set of 37 images: 36 with a small object of class 1 or 2 (32 and 4), one with a large one and a region."""

    def __init__(self):
        wide = [(10 + index, 20, 30 + index, 40) for index in range(36)]
        self.samples = [make_sample([box], [1 if index < 32 else 2], gray=index) for index, box in enumerate(wide)]
        self.samples.append(make_sample([(80, 30, 150, 110), (0, 90, 20, 110)], [3, IGNORE]))

    def __len__(self):
        return len(self.samples)

    def objects(self, index):
        return self.samples[index].boxes, self.samples[index].labels

    def load(self, index):
        return self.samples[index]


def test_rare_classes_are_pasted_more_often():
    others, rng = OtherSamples(FewImages()), np.random.default_rng(0)
    step = CopyPaste(p=1.0, count=1, rare=True, scale=(1.0, 1.0))
    labels = [step(make_sample(()), rng, others).labels.tolist() for _ in range(400)]
    counts = {label: labels.count([label]) for label in (1, 2)}
    assert sum(counts.values()) == 400
    assert counts[2] / counts[1] == pytest.approx(np.sqrt(32 / 4), rel=0.3)  # 4 objects against 32
    sample, box = others.with_rare(32, rng)
    assert box.tolist() in sample.boxes.tolist() and others.with_rare(5, rng) is None
    assert CopyPaste(p=1.0, rare=True, max_side=5)(sample, rng, others) is sample
    large = {others.with_rare(1000, rng)[0].labels[0] for _ in range(50)}
    assert large == {1, 2, 3}  # and never the region to ignore


def test_nothing_is_pasted_where_no_place_is_free():
    crowd = make_sample([BOX, (0, 0, 200, 120)], [1, IGNORE])
    result = CopyPaste(p=1.0, p_other=0.0)(crowd, np.random.default_rng(0), None)
    np.testing.assert_array_equal(result.boxes, crowd.boxes)


@pytest.mark.parametrize("step", [Mosaic(p=0.0), Mixup(p=0.0), CopyPaste(p=0.0)])
def test_step_that_does_not_act_loads_no_other_image(step):
    sample = make_sample()
    assert step(sample, np.random.default_rng(0), None) is sample


def test_layers_that_a_crop_does_not_show_are_not_drawn():
    def unread(shrink):
        raise AssertionError("decoded for nothing")

    class Unread:
        shape = (120, 200, 3)
        pixels = staticmethod(unread)

    transform = build_transform([{"type": "mosaic", "p": 1.0}], (60, 100))
    sample = moved(make_sample(())._replace(image=Unread()), (1, 1), (500, 0), (120, 200))
    assert (Resize((60, 100), FILL)(sample, None).image == FILL).all()
    with pytest.raises(AssertionError, match="for nothing"):
        transform(make_sample(), np.random.default_rng(0), source(make_sample(())._replace(image=Unread())))


class Numbered:
    """Images that differ; image i has i % 4 boxes of 20 pixels."""

    def __len__(self):
        return 9

    def load(self, index):
        return make_sample([(10 + 40 * k, 10 * index, 30 + 40 * k, 10 * index + 15) for k in range(index % 4)])


@pytest.mark.parametrize("preset", ["mobile", "small", "tiles"])
def test_number_of_workers_changes_nothing_where_images_are_mixed(preset):
    batches = []
    for num_workers in (0, 2):
        options = {"seed": 3, "num_workers": num_workers}
        batches.append(list(Loader(Numbered(), build_transform(preset, (60, 80)), 3, **options)))
    for first, second in zip(*batches, strict=True):
        assert first.images.equal(second.images)
        assert first.target.boxes.equal(second.target.boxes)
        assert first.target.labels.equal(second.target.labels)


def test_broken_image_that_is_mixed_in_is_named(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))
    content = {
        "images": [{"id": i, "file_name": f"{n}.png", "width": 60, "height": 40} for i, n in ((1, "a"), (2, "b"))],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    dataset = CocoDataset(tmp_path, content)
    (tmp_path / "b.png").write_bytes(b"")
    dataset.load = lambda index, load=dataset.load: load(min(index, 0) if not calls.pop() else 1)
    calls = [True, False]  # first the sample itself, then the other, which is the broken one
    with pytest.raises(ValueError, match=r"^image .*b\.png must be readable; it is empty: replace the file$"):
        list(Loader(dataset, build_transform([{"type": "mixup", "p": 1.0}], (24, 32)), 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "mosaic", "scale": [1.0, 0.5]}, r"mosaic\.scale must be \[least, greatest\] from 0.1 to 10"),
        ({"type": "mixup", "alpha": 0}, r"mixup\.alpha must be from 0.01 to 1000; got 0"),
        ({"type": "copy_paste", "p_other": 2}, r"copy_paste\.p_other must be from 0 to 1; got 2"),
        ({"type": "copy_paste", "side": 2}, r"got data\.augment\[0\]\.side"),
    ],
)
def test_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_transform([options], (60, 80))
