"""How an image becomes the network's input, and that its boxes go with it."""

import numpy as np
import pytest
from rectangles import SIZES, sample_with_rectangle, white_box

from lib.data.augment.geometric import Resize
from lib.data.augment.presets import build_transform
from lib.data.fit import FITS, Fit, fit


def test_modes_by_hand():
    assert fit("stretch", (100, 300), (64, 96)) == Fit((64, 96), (100, 300))
    # 300 / 96 is more than 100 / 64, so the width fills the input, and 64 x 3.125 rows of the image would fit
    assert fit("letterbox", (100, 300), (64, 96)) == Fit((64, 96), (200.0, 300.0))
    assert fit("native", (50, 90), (64, 96)) == Fit((64, 96), (64, 96))
    assert fit("native", (50, 90), (640, 960), multiple=32, least=(32, 32)) == Fit((64, 96), (64, 96))
    assert fit("native", (50, 90), (640, 960), multiple=32, least=(64, 128)) == Fit((64, 128), (64, 128))
    assert fit("native", (96, 960), (640, 960), multiple=32, least=(32, 32)) == Fit((96, 960), (96, 960))
    assert fit("native", (700, 960), (640, 960), multiple=32, least=(32, 32)) == fit(
        "letterbox", (700, 960), (640, 960)
    )
    odd = {"size": (108, 192), "multiple": 32, "least": (32, 32)}  # the padding may reach beyond the size
    assert fit("native", (108, 150), **odd) == Fit((128, 160), (128, 160))
    assert fit("native", (20, 20), **odd | {"least": (50, 70)}) == Fit((64, 96), (64, 96))
    assert fit("native", (216, 300), **odd) == Fit((128, 192), (256.0, 384.0))
    twice = {"size": (640, 960), "multiple": 32, "least": (32, 32), "scale": 2.0}
    assert fit("native", (50, 90), **twice) == Fit((128, 192), (64.0, 96.0))
    assert fit("native", (320, 480), **twice) == Fit((640, 960), (320.0, 480.0))
    assert fit("native", (330, 480), **twice) == fit("letterbox", (330, 480), (640, 960))
    assert Resize((640, 960), resize="native", scale=2.0).window == (320, 480)
    assert Resize((640, 960), resize="letterbox").window is None
    with pytest.raises(ValueError, match="input.resize must be one of stretch, letterbox, native; got 'crop'"):
        fit("crop", (50, 90), (64, 96))


@pytest.mark.parametrize("resize", FITS)
@pytest.mark.parametrize("size", SIZES)
def test_boxes_follow_the_pixels(resize, size):
    step = Resize((160, 240), (0, 0, 0), resize, 32, (32, 64))
    result = step(sample_with_rectangle(*size), np.random.default_rng(0))
    assert result.image.shape[:2] == step.fit(size).canvas
    assert np.abs(result.boxes[0] - white_box(result.image)).max() < 0.5


@pytest.mark.parametrize("resize", FITS)
def test_padding_has_the_given_color(resize):
    sample = sample_with_rectangle(50, 120)
    result = Resize((160, 240), (1, 2, 3), resize)(sample, np.random.default_rng(0))
    shown = {"stretch": (160, 240), "letterbox": (100, 240), "native": (50, 120)}[resize]
    assert (result.image[: shown[0], : shown[1]] != (1, 2, 3)).any(axis=2).all()
    padding = result.image.astype(int).copy()
    padding[: shown[0], : shown[1]] = (1, 2, 3)
    assert (padding == (1, 2, 3)).all()


@pytest.mark.parametrize("resize", FITS)
@pytest.mark.parametrize("size", SIZES)
def test_training_shows_boxes_where_the_objects_are(resize, size):
    transform = build_transform([{"type": "flip", "p": 0.5}], (160, 240), resize=resize)
    for seed in range(8):
        result = transform(sample_with_rectangle(*size), np.random.default_rng(seed))
        assert result.image.shape == (160, 240, 3)
        for box in result.boxes:  # a window of a larger image may leave the object out, or cut it
            assert np.abs(box - white_box(result.image)).max() < 0.5
        if size[0] <= 160 and size[1] <= 240:
            assert len(result.boxes) == 1


def test_native_training_keeps_the_pixels():
    transform = build_transform("none", (160, 240), (9, 9, 9), resize="native")
    result = transform(sample_with_rectangle(200, 131), np.random.default_rng(0))
    assert set(np.unique(result.image)) <= {0, 9, 255}  # nothing was interpolated
    assert (result.image == 9).any()
