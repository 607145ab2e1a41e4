"""Augmentation: boxes stay on their objects, whatever the chain; crops and colors keep to their rules."""

import cv2
import numpy as np
import pytest

from lib.data.augment.affine import moved, resample
from lib.data.augment.crops import CoverCrop, IouCrop, Tile, crop
from lib.data.augment.geometric import DropSmall, Expand, Flip, FlipVertical, Resize, Turn, ZoomOut, turned
from lib.data.augment.photometric import Photometric
from lib.data.augment.presets import PRESETS, TRANSFORMS, build_transform
from lib.structures import IGNORE, Sample

FILL = (10, 20, 30)


def make_sample(boxes=((30, 20, 70, 60),), labels=None, height=120, width=200):
    """A dark image with a bright filled rectangle at each box."""
    image = np.full((height, width, 3), 40, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 220
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)
    return Sample(image, boxes, labels, 7, (height, width))


def bright_box(image):
    """xyxy around the bright pixels, to a fraction of a pixel by the gray of its edge."""
    share = np.clip((image.mean(axis=2) - 40) / 180, 0, 1)
    rows, columns = share.max(axis=1), share.max(axis=0)
    edges = []
    for profile in (columns, rows):
        inside = np.flatnonzero(profile > 0.05)
        edges.append((inside[0] + 1 - profile[inside[0]], inside[-1] + profile[inside[-1]]))
    return np.array([edges[0][0], edges[1][0], edges[0][1], edges[1][1]])


def others(rng):
    """Another image for the steps that mix, with two objects and no randomness of its own."""
    return make_sample([(20, 30, 60, 50), (90, 60, 100, 70)], height=100, width=150)


class Never:
    """A generator whose coins always fall on the wrong side."""

    def random(self, size=None):
        return 1.0 if size is None else np.ones(size)


@pytest.mark.parametrize("size", [(120, 200), (60, 50), (300, 320), (37, 91)])
def test_box_scales_with_the_image_in_evaluation(size):
    result = build_transform("none", size)(make_sample(), np.random.default_rng(0))
    assert result.image.shape == (*size, 3) and result.image.dtype == np.uint8
    scale = np.array([size[1] / 200, size[0] / 120] * 2)
    np.testing.assert_allclose(result.boxes, [np.array([30, 20, 70, 60]) * scale], rtol=1e-6)
    np.testing.assert_allclose(bright_box(result.image), result.boxes[0], atol=0.6)


def test_evaluation_at_the_image_s_own_size_changes_no_pixel():
    sample = make_sample()
    result = build_transform("none", (120, 200))(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(result.image, sample.image)
    np.testing.assert_array_equal(result.boxes, sample.boxes)


@pytest.mark.parametrize("preset", ["ssd", "ssd_lufficc", "ssdlite", "ssd_ancestor", "flip", "aerial", "crops"])
def test_box_stays_on_its_object_through_the_whole_chain(preset):
    steps = [step for step in PRESETS[preset] if step["type"] != "photometric"]
    transform = build_transform(steps, (130, 170), fill=(40, 40, 40))
    seen = 0
    for seed in range(60):
        result = transform(make_sample(), np.random.default_rng(seed))
        if len(result.boxes):
            seen += 1
            np.testing.assert_allclose(bright_box(result.image), result.boxes[0], atol=1.0)
    assert seen > 40


@pytest.mark.parametrize("preset", PRESETS)
def test_same_generator_gives_the_same_sample_and_the_input_is_left_alone(preset):
    transform, sample = build_transform(preset, (60, 80), FILL), make_sample()
    image, boxes = sample.image.copy(), sample.boxes.copy()
    first, second = (transform(sample, np.random.default_rng(5), others) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.boxes, boxes)


@pytest.mark.parametrize("preset", PRESETS)
def test_image_without_objects_passes(preset):
    transform, empty = build_transform(preset, (60, 80), FILL), make_sample(boxes=())
    for seed in range(10):
        result = transform(empty, np.random.default_rng(seed), lambda rng: empty)
        assert result.image.shape == (60, 80, 3)
        assert result.boxes.shape == (0, 4) and result.boxes.dtype == np.float32
        assert result.labels.shape == (0,) and result.labels.dtype == np.int64


@pytest.mark.parametrize("preset", PRESETS)
def test_boxes_lie_inside_the_result_with_a_positive_area(preset):
    boxes = [(0, 0, 200, 120), (3, 4, 9, 11), (150, 90, 199, 119), (60, 0, 61, 120)]
    for seed in range(20):
        transform = build_transform(preset, (60, 80), FILL)
        result = transform(make_sample(boxes), np.random.default_rng(seed), others)
        assert (result.boxes[:, :2] >= 0).all() and (result.boxes[:, 2:] <= (80, 60)).all()
        assert (result.boxes[:, 2:] > result.boxes[:, :2]).all()
        assert (result.layers, result.canvas) == ((), None)


def test_flip_mirrors_boxes_and_pixels_once():
    result = build_transform([{"type": "flip", "p": 1.0}], (120, 200))(make_sample(), np.random.default_rng(0))
    np.testing.assert_array_equal(result.boxes, [[130, 20, 170, 60]])
    np.testing.assert_array_equal(result.image, make_sample().image[:, ::-1])


def test_vertical_flip_mirrors_boxes_and_pixels():
    sample = make_sample()
    result = resample(FlipVertical(p=1.0)(sample, np.random.default_rng(0)), FILL)
    np.testing.assert_array_equal(result.image, sample.image[::-1])
    assert result.boxes.tolist() == [[30, 60, 70, 100]]


def noise(height=37, width=90, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(image, np.array([[10, 5, 30, 9]], np.float32), np.array([1]), 7, (height, width))


# by hand, for the 37 x 90 image: of its corner (10, 5) to (30, 9), turned counterclockwise
@pytest.mark.parametrize(
    ("quarters", "box"), [(0, [10, 5, 30, 9]), (1, [5, 60, 9, 80]), (2, [60, 28, 80, 32]), (3, [28, 10, 32, 30])]
)
def test_turn_is_exact(quarters, box):
    sample = noise()
    result = resample(turned(sample, quarters), FILL)
    np.testing.assert_array_equal(result.image, np.rot90(sample.image, quarters))
    assert result.boxes.tolist() == [box]
    assert result.content == (0, 0, *result.image.shape[1::-1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turn_between_crops_and_flips_is_exact(quarters):
    sample = noise()
    first = crop(sample, np.array([8.0, 2, 68, 33]), 0)  # 60 x 31
    second = turned(Flip(p=1.0)(first, np.random.default_rng(0)), quarters)
    third = FlipVertical(p=1.0)(crop(second, np.array([3.0, 4, 31, 30]), 0), np.random.default_rng(0))
    expected = np.rot90(sample.image[2:33, 8:68][:, ::-1], quarters)[4:30, 3:31][::-1]
    np.testing.assert_array_equal(resample(third, FILL).image, expected)


def test_turn_follows_the_box_where_the_image_is_shrunk():
    """A turned image is shrunk as the image itself: by the same blocks, so that it has the same pixels."""
    sample = make_sample(height=240, width=500)
    upright = Resize((60, 100), FILL)(sample, np.random.default_rng(0))
    for quarters in (1, 2, 3):
        size = (60, 100) if quarters == 2 else (100, 60)
        result = Resize(size, FILL)(turned(sample, quarters), np.random.default_rng(0))
        np.testing.assert_array_equal(result.image, np.rot90(upright.image, quarters))
        np.testing.assert_allclose(bright_box(result.image), result.boxes[0], atol=0.6)


def test_every_quarter_is_as_likely():
    rng = np.random.default_rng(0)
    counts = np.zeros(4, int)
    for _ in range(400):
        x1, y1, _, _ = Turn()(noise(), rng).boxes[0].tolist()
        counts[[(10, 5), (5, 60), (60, 28), (28, 10)].index((x1, y1))] += 1
    assert counts.min() > 75


def test_zoom_out_shows_an_image_smaller_where_the_input_would_enlarge_it():
    sample, rng = make_sample(), np.random.default_rng(0)
    step = ZoomOut(p=1.0, min_scale=0.5)
    step.input_size = (240, 400)  # twice the image's sides
    scales = [400 / step(sample, rng).canvas[1] for _ in range(200)]
    assert 0.5 <= min(scales) < 0.53 and 1.8 < max(scales) <= 2
    step.input_size = (60, 100)
    assert step(sample, rng).canvas == (120, 200)


def test_steps_that_do_not_apply_change_nothing():
    sample = make_sample()
    for step in (Flip(), Expand(), Photometric()):
        assert step(sample, Never()) is sample


def test_expand_keeps_the_object_s_size_and_fills_around_the_image():
    sample = Expand(p=1.0, max_scale=3.0)(make_sample(), np.random.default_rng(1))
    height, width = sample.canvas
    assert width / height == pytest.approx(200 / 120)
    assert 1 < width / 200 < 3
    np.testing.assert_allclose(sample.boxes[0, 2:] - sample.boxes[0, :2], [40, 40], rtol=1e-5)
    result = Resize((90, 150), FILL)(sample, None)
    left, top, right, bottom = result.content
    assert right - left == pytest.approx(150 * 200 / width, abs=1)
    outside = np.ones((90, 150), bool)
    outside[top:bottom, left:right] = False
    assert (result.image[outside] == FILL).all()
    assert (result.image[~outside] >= 39).all()


def test_stretched_canvas_is_never_smaller_than_the_image():
    for seed in range(50):
        height, width = Expand(p=1.0, max_stretch=2.0)(make_sample(), np.random.default_rng(seed)).canvas
        assert height >= 120 and width >= 200
        assert 0.5 <= (width / 200) / (height / 120) <= 2


def test_crop_keeps_objects_by_their_centre_and_clips_them():
    sample = make_sample([(10, 10, 30, 30), (40, 40, 80, 80), (100, 10, 120, 30)])
    result = crop(sample, np.array([21.0, 15.0, 111.0, 70.0]))  # centers at (20, 20), (60, 60), (110, 20)
    np.testing.assert_array_equal(result.boxes, [[19, 25, 59, 55], [79, 0, 90, 15]])
    assert result.canvas == (55.0, 90.0)


def test_what_was_cropped_away_stays_away_on_a_larger_canvas():
    sample = make_sample(boxes=())
    cropped = crop(sample, np.array([50.0, 20.0, 150.0, 100.0]))
    result = Resize((160, 300), FILL)(moved(cropped, (1, 1), (30, 40), (160, 300)), None)
    assert result.content == (30, 40, 130, 120)
    assert (result.image[40:120, 30:130] == 40).all()
    assert (result.image == FILL).all(axis=2).sum() == 160 * 300 - 80 * 100


def test_crop_keeps_any_part_of_a_region_to_ignore():
    sample = make_sample([(10, 10, 30, 30), (0, 0, 200, 120), (150, 100, 160, 110)], [1, IGNORE, IGNORE])
    result = crop(sample, np.array([25.0, 5.0, 85.0, 65.0]))
    np.testing.assert_array_equal(result.boxes, [[0, 0, 60, 60]])
    assert result.labels.tolist() == [IGNORE]


def test_region_to_ignore_never_steers_the_crop():
    boxes = [(30, 20, 70, 60), (90, 90, 120, 110)]
    with_region = make_sample([*boxes, (0, 0, 200, 120)], [1, 1, IGNORE])
    for seed in range(20):
        first = IouCrop()(make_sample(boxes), np.random.default_rng(seed))
        second = IouCrop()(with_region, np.random.default_rng(seed))
        assert first.canvas == second.canvas
        np.testing.assert_array_equal(first.boxes, second.boxes[second.labels != IGNORE])


@pytest.mark.parametrize(("rule", "reached"), [("any", max), ("every", min)])
def test_crop_reaches_the_least_iou(rule, reached):
    boxes = [(0, 0, 120, 110), (60, 10, 190, 115)]
    step = IouCrop(min_ious=[0.5], rule=rule)
    step.modes = (0.5,)  # that bound alone, neither "keep" nor "any crop"
    done = 0
    for seed in range(40):
        sample = make_sample(boxes)
        result = step(sample, np.random.default_rng(seed))
        if result is sample:
            continue
        done += 1
        height, width = result.canvas
        left, top = -result.layers[0].matrix[:, 2]
        overlaps = []
        for x1, y1, x2, y2 in boxes:
            is_inside = left < (x1 + x2) / 2 < left + width and top < (y1 + y2) / 2 < top + height
            shared_x = max(min(x2, left + width) - max(x1, left), 0)
            shared = shared_x * max(min(y2, top + height) - max(y1, top), 0)
            iou = shared / (width * height + (x2 - x1) * (y2 - y1) - shared)
            overlaps += [iou] if is_inside or rule == "every" else []
        assert reached(overlaps) >= 0.5
        assert len(result.boxes) > 0
        assert 0.5 <= width / height <= 2 and width >= 60 and height >= 36
    assert done > 5


def test_small_boxes_are_dropped_by_their_share_of_the_canvas():
    sample = make_sample([(0, 0, 4, 30), (0, 0, 30, 2), (0, 0, 4, 3)])
    result = DropSmall(share=0.02)(sample, None)  # 4 of 200, 2.4 of 120
    np.testing.assert_array_equal(result.boxes, [[0, 0, 4, 30], [0, 0, 4, 3]])


@pytest.mark.parametrize(
    ("boxes", "labels", "expected"),
    [
        ([(500, 700, 505, 705)], [1], [(150, 210, 151.5, 211.5)]),
        ([(500, 700, 505, 705), (100, 100, 300, 400)], [1, IGNORE], [(150, 210, 151.5, 211.5), (30, 30, 90, 120)]),
        ([(500, 700, 505, 705), (100, 100, 300, 400)], [1, 1], [(30, 30, 90, 120)]),
        ([(500, 700, 505, 705)], [IGNORE], []),
    ],
)
def test_image_whose_objects_are_all_too_small_is_used_as_loaded(boxes, labels, expected):
    sample = make_sample(boxes, labels, height=1000, width=1000)
    steps = [{"type": "flip", "p": float(len(expected) == len(boxes))}, {"type": "drop_small"}]
    result = build_transform(steps, (300, 300))(sample, np.random.default_rng(0))
    np.testing.assert_allclose(result.boxes.reshape(-1, 4), np.reshape(expected, (-1, 4)), atol=1e-4)


def test_boxes_and_pixels_go_to_the_same_place_after_several_steps():
    sample = moved(make_sample(), (2, 3), (5, -7), (360, 420))
    sample = moved(sample, (-1, 1), (420, 0), (360, 420))
    np.testing.assert_array_equal(sample.boxes, [[275, 53, 355, 173]])
    np.testing.assert_array_equal(sample.layers[0].matrix, [[-2, 0, 415], [0, 3, -7]])


def test_resampling_equals_a_slow_bilinear_one():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), (0, 0), 1)
    scale, shift = np.array([1.7, 0.8]), np.array([-3.4, 1.3])
    sample = moved(make_sample(boxes=())._replace(image=image), scale, shift, (16, 40))
    result, content = resample(sample, FILL).image, resample(sample, FILL).content
    assert content == (0, 1, 40, 16)
    for row, column in ((1, 0), (5, 17), (15, 39), (9, 20)):
        x, y = (np.array([column, row]) + 0.5 - shift) / scale - 0.5
        x, y = np.clip(x, 0, 29), np.clip(y, 0, 19)
        x0, y0 = min(int(x), 28), min(int(y), 18)
        block = image[y0 : y0 + 2, x0 : x0 + 2].astype(float)
        weights = np.outer([1 - (y - y0), y - y0], [1 - (x - x0), x - x0])[..., None]
        np.testing.assert_allclose(result[row, column], (block * weights).sum(axis=(0, 1)), atol=3)
    assert (result[0] == FILL).all()


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("extra", [0, 1])
def test_shrinking_averages_instead_of_skipping(factor, extra):
    height, width = 30 * factor + extra, 40 * factor + extra
    image = np.zeros((height, width, 3), np.uint8)
    image[::factor] = 255  # lines that skipping would show fully or not at all
    result = Resize((30, 40))(make_sample(boxes=())._replace(image=image), None).image
    assert abs(int(result.mean()) - 255 / factor) < 12
    if not extra:
        np.testing.assert_allclose(result.astype(float), 255 / factor, atol=1)


def test_image_that_lies_wholly_outside_leaves_only_filling():
    sample = resample(moved(make_sample(), (1, 1), (500, 0), (30, 40)), FILL)
    assert sample.content == (0, 0, 0, 0)
    assert (sample.image == FILL).all()
    assert Photometric(p=1.0)(sample, np.random.default_rng(0)) is sample


def test_one_part_of_the_colors_at_a_time_stays_in_its_range():
    image = np.random.default_rng(0).integers(60, 180, (8, 9, 3), dtype=np.uint8)
    sample = make_sample(boxes=())._replace(image=image)
    nothing = {"p": 1.0, "brightness": 0, "contrast": [1, 1], "saturation": [1, 1], "hue": 0}

    def changed(seed, **options):
        return Photometric(**{**nothing, **options})(sample, np.random.default_rng(seed)).image

    for seed in range(8):
        shift = changed(seed, brightness=32, saturation=[1, 1]).astype(int) - image
        assert np.ptp(shift) <= 6 and np.abs(shift).max() <= 36  # HSV in 8 bits rounds
        factor = changed(seed, contrast=[0.5, 1.5]) / image
        assert factor.min() > 0.45 and factor.max() < 1.55 and np.ptp(factor) < 0.12
        saturated = changed(seed, saturation=[0.5, 1.5])
        np.testing.assert_array_equal(saturated.max(axis=2), image.max(axis=2))  # the value of HSV stays
        turned = changed(seed, hue=18)
        np.testing.assert_allclose(turned.max(axis=2), image.max(axis=2), atol=1)
        np.testing.assert_allclose(turned.min(axis=2), image.min(axis=2), atol=3)


def test_bright_and_dark_change_places_and_gamma_bends_the_gray_levels():
    levels = np.arange(0, 252, 7, dtype=np.uint8).reshape(4, 9)
    sample = make_sample(boxes=())._replace(image=np.stack([levels] * 3, axis=2))

    def changed(seed, **options):
        return Photometric(p=0.0, **options)(sample, np.random.default_rng(seed)).image[..., 0]

    inverted = [changed(seed, invert=0.5) for seed in range(40)]
    counts = [sum(np.array_equal(image, each) for image in inverted) for each in (levels, 255 - levels)]
    assert sum(counts) == 40 and min(counts) > 10
    np.testing.assert_array_equal(changed(0, gamma=[2, 2]), np.round(levels.astype(float) ** 2 / 255))
    np.testing.assert_array_equal(changed(0, invert=1.0, gamma=[2, 2]), np.round((255.0 - levels) ** 2 / 255))
    at_119 = [changed(seed, gamma=[0.5, 2])[1, 8] for seed in range(200)]  # 119 = 255 * 0.467
    assert min(at_119) == pytest.approx(255 * 0.467**2, abs=3) and max(at_119) == pytest.approx(255 * 0.467**0.5, abs=3)
    assert np.median(at_119) == pytest.approx(119, abs=12)  # even by logarithm


def gray_or_color(pixel, seed, **options):
    """A pixel (3,) after Photometric."""
    sample = make_sample(boxes=())._replace(image=np.full((1, 1, 3), pixel, np.uint8))
    return Photometric(**options)(sample, np.random.default_rng(seed)).image[0, 0].tolist()


def test_gain_is_a_factor_of_the_gray_levels_where_brightness_acts():
    alone = {"brightness": 0, "contrast": [1, 1], "saturation": [1, 1], "hue": 0}
    assert gray_or_color((100, 100, 100), 0, p=1.0, gain=[1.1, 1.1], **alone) == [110, 110, 110]
    assert gray_or_color((240, 240, 240), 0, p=1.0, gain=[1.1, 1.1], **alone) == [255, 255, 255]
    assert gray_or_color((100, 100, 100), 0, p=0.0, gain=[1.1, 1.1], **alone) == [100, 100, 100]
    grays = [gray_or_color((200, 200, 200), seed, p=1.0, gain=[0.875, 1.125], **alone)[0] for seed in range(200)]
    assert 175 <= min(grays) < 178 and 222 < max(grays) <= 225


def test_permute_gives_the_channels_each_order_alike():
    orders = [tuple(gray_or_color((10, 20, 30), seed, p=0.0, permute=0.5)) for seed in range(600)]
    counts = {order: orders.count(order) for order in set(orders)}
    assert len(counts) == 6
    assert counts.pop((10, 20, 30)) == pytest.approx(350, abs=40)  # 1/2, and a sixth of the rest
    assert list(counts.values()) == pytest.approx([50] * 5, abs=25)


def test_gain_and_permute_that_are_off_leave_the_colors_of_a_seed_as_they_were():
    always, usual = ([gray_or_color((50, 100, 150), seed, p=p) for seed in range(3)] for p in (1.0, 0.5))
    assert always == [[83, 184, 240], [5, 59, 127], [108, 129, 192]]
    assert usual == [[12, 117, 197], [69, 109, 150], [69, 110, 192]]


def test_presets_of_torchvision_and_lufficc_permute_channels_and_the_default_does_not():
    distort = {name: PRESETS[name][0] for name in ("ssd", "ssd_torchvision", "ssd_lufficc")}
    assert distort == {
        "ssd": {"type": "photometric"},
        "ssd_torchvision": {"type": "photometric", "brightness": 0.0, "gain": [0.875, 1.125], "permute": 0.5},
        "ssd_lufficc": {"type": "photometric", "permute": 0.5},
    }
    assert PRESETS["ssd_lufficc"][2]["min_ious"] == [0.1, 0.3, 0.7, 0.9]


def test_hue_turns_a_pure_color_by_the_stated_degrees():
    sample = make_sample(boxes=())._replace(image=np.full((4, 4, 3), (0, 0, 200), np.uint8))  # red
    options = {"p": 1.0, "brightness": 0, "contrast": [1, 1], "saturation": [1, 1], "hue": 60}
    for seed in range(8):
        turn = np.random.default_rng(seed)
        turn.random(4), turn.uniform(), turn.uniform(), turn.uniform()
        degrees = turn.uniform(-60, 60)
        expected = 200 * abs(degrees) / 60  # red to yellow by green, to magenta by blue
        pixel = Photometric(**options)(sample, np.random.default_rng(seed)).image[0, 0]
        assert pixel[1 if degrees > 0 else 0] == pytest.approx(expected, abs=6)
        assert pixel[2] == 200


def test_filling_keeps_its_color():
    steps = [{"type": "expand", "p": 1.0, "max_scale": 4.0}, {"type": "photometric", "p": 1.0}]
    result = build_transform(steps, (60, 80), FILL)(make_sample(), np.random.default_rng(3))
    left, top, right, bottom = result.content
    outside = np.ones((60, 80), bool)
    outside[top:bottom, left:right] = False
    assert outside.any() and (result.image[outside] == FILL).all()


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("sdd", r"data\.augment must be one of none, .*; got 'sdd' \(did you mean 'ssd'\?\)"),
        ([{"type": "flipp"}], r"data\.augment\[0\]\.type must be one of .*did you mean 'flip'"),
        ([{"type": "flip"}, {"type": "expand", "maxscale": 2}], r"data\.augment\[1\]\.maxscale.*max_scale"),
        ([{"type": "flip", "p": 2}], r"flip\.p must be from 0 to 1; got 2"),
        ([{"type": "tile", "size": [512]}], r"tile\.size must be \[height, width\].*got \[512\]"),
        ([{"type": "cover_crop", "area": [0, 1]}], r"cover_crop\.area must be \[least, greatest\] from 0\.01"),
        ([{"type": "photometric", "contrast": [1.5, 0.5]}], r"photometric\.contrast must be \[least, greatest\]"),
    ],
)
def test_wrong_option_is_named(augment, message):
    with pytest.raises(ValueError, match=message):
        build_transform(augment, (60, 80))


@pytest.mark.parametrize("augment", [["flip"], [{"type": "flip", "p": "half"}]])
def test_option_of_another_type_is_named(augment):
    with pytest.raises(TypeError, match=r"data\.augment\[0\]"):
        build_transform(augment, (60, 80))


def test_every_transform_is_used_by_a_preset():
    assert {step["type"] for steps in PRESETS.values() for step in steps} == set(TRANSFORMS)


def shares_left(boxes, window):
    """Share of each box (x1, y1, x2, y2) inside a window, one by one."""
    shares = []
    for x1, y1, x2, y2 in boxes:
        width = max(min(x2, window[2]) - max(x1, window[0]), 0)
        height = max(min(y2, window[3]) - max(y1, window[1]), 0)
        shares.append(width * height / ((x2 - x1) * (y2 - y1)))
    return shares


def window_of(result):
    """(left, top, right, bottom) in the image that a crop shows."""
    left, top = -result.layers[0].matrix[:, 2]
    return left, top, left + result.canvas[1], top + result.canvas[0]


def test_cover_crop_shows_the_share_that_it_promises_and_keeps_what_is_visible_enough():
    boxes = [(10, 10, 60, 60), (90, 20, 140, 110), (150, 5, 195, 50)]
    bounds = []
    for seed in range(60):
        step = CoverCrop(p=1.0, min_coverages=[0.7], keep=0.3)
        result = step(make_sample(boxes), np.random.default_rng(seed))
        if result.canvas is None:
            continue
        shares = shares_left(boxes, window_of(result))
        bounds.append(max(shares))
        assert len(result.boxes) == sum(share >= 0.3 for share in shares)
        height, width = result.canvas
        assert 0.1 <= height * width / (120 * 200) <= 1 and 0.749 <= width / height <= 1.334
    assert len(bounds) > 50 and min(bounds) >= 0.7 and max(bounds) == 1


def test_cover_crop_acts_with_its_probability_and_keeps_regions_to_ignore():
    sample = make_sample([(0, 0, 200, 120)], [IGNORE])
    acted = [step is not sample for step in (CoverCrop(p=0.5)(sample, np.random.default_rng(s)) for s in range(200))]
    assert 80 < sum(acted) < 120
    assert CoverCrop(p=1.0)(sample, np.random.default_rng(0)).labels.tolist() == [IGNORE]


def test_tile_has_its_size_in_pixels_of_the_image_and_stays_inside():
    for seed in range(40):
        result = Tile(size=(50, 70), p_object=0.5)(make_sample(), np.random.default_rng(seed))
        left, top, right, bottom = window_of(result)
        assert result.canvas == pytest.approx((50, 70))
        assert left >= -1e-9 and top >= -1e-9 and right <= 200 + 1e-9 and bottom <= 120 + 1e-9


@pytest.mark.parametrize("p_object", [0.0, 1.0])
def test_the_pixels_of_a_tile_are_those_of_the_image(p_object):
    image = np.arange(90 * 120 * 3, dtype=np.int64).astype(np.uint8).reshape(90, 120, 3)
    image[..., 0], image[..., 1] = np.arange(90)[:, None], np.arange(120)  # each pixel tells its place
    sample = make_sample()._replace(image=image, size=(90, 120))
    for seed in range(5):
        tile = Tile((50, 70), p_object)(sample, np.random.default_rng(seed))
        shown = Resize((50, 70), FILL)(tile, None).image
        top, left = shown[0, 0, :2].tolist()
        np.testing.assert_array_equal(shown, image[top : top + 50, left : left + 70])


def test_tile_around_an_object_shows_its_centre():
    sample = make_sample([(180, 100, 190, 110), (5, 5, 15, 15)])
    hits = {seed: len(Tile((40, 40), 1.0)(sample, np.random.default_rng(seed)).boxes) for seed in range(30)}
    assert set(hits.values()) == {1}
    misses = [len(Tile((40, 40), 0.0)(sample, np.random.default_rng(seed)).boxes) for seed in range(30)]
    assert misses.count(0) > 10


def test_image_smaller_than_a_tile_lies_somewhere_in_it():
    corners = set()
    for seed in range(10):
        result = Resize((300, 250), FILL)(Tile((300, 250))(make_sample(), np.random.default_rng(seed)), None)
        left, top, right, bottom = result.content
        assert (right - left, bottom - top) == (200, 120)
        np.testing.assert_allclose(bright_box(result.image[top:bottom, left:right]), [30, 20, 70, 60], atol=1)
        np.testing.assert_allclose(result.boxes[0], [30 + left, 20 + top, 70 + left, 60 + top], atol=0.51)
        corners.add((left, top))
    assert len(corners) > 5
