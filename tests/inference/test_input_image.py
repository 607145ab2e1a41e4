"""What may be given as an image: what comes out of it, and the code to write for what may not."""

import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lib.data.image import Reading
from lib.inference import Predictor
from lib.inference.input_image import as_array


@pytest.mark.parametrize(
    ("mode", "color", "pixel"),
    [
        ("RGB", (1, 2, 3), [3, 2, 1]),
        ("RGBA", (1, 2, 3, 4), [3, 2, 1]),
        ("L", 7, [7, 7, 7]),
        ("LA", (7, 9), [7, 7, 7]),
        ("1", 1, [255, 255, 255]),
        ("CMYK", (255, 0, 0, 0), [255, 255, 0]),
    ],
)
def test_images_of_pil_have_their_colors_whatever_their_mode(mode, color, pixel):
    assert as_array(Image.new(mode, (2, 1), color), Reading()).tolist() == [[pixel, pixel]]


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9])
def test_images_of_pil_are_seen_upright(orientation):
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))[..., ::-1]
    np.testing.assert_array_equal(as_array(picture, Reading()), expected)


def test_an_image_of_pil_is_the_same_as_its_file(checkpoint, images, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    predictor, picture = Predictor(checkpoint, "cpu"), Image.open(tmp_path / "a.png")
    expected = predictor(tmp_path / "a.png")
    for found in (predictor(picture), predictor([picture])[0]):
        assert all(torch.equal(value, other) for value, other in zip(found, expected, strict=True))


def test_an_image_of_pil_of_16_bits_is_refused():
    with pytest.raises(ValueError, match="must have 8 bits; got the mode 'I;16', .* give the path of the file"):
        as_array(Image.new("I;16", (2, 1), 1000), Reading())


def test_pil_is_not_imported_for_other_images(monkeypatch):
    monkeypatch.delitem(sys.modules, "PIL.Image")
    as_array(np.zeros((1, 2, 3), np.uint8), Reading())
    with pytest.raises(TypeError, match="an image of PIL, or the path of a file; got NoneType"):
        as_array(None, Reading())
    assert "PIL.Image" not in sys.modules


COLORS = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)  # (1, 2, 3)
AT_LEAST_5 = np.tile(COLORS, (5, 3, 1))  # no side of it can be taken for its channels


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (COLORS[..., 0], [10, 10, 10]),
        (COLORS[..., :1], [10, 10, 10]),
        (np.dstack([COLORS, COLORS[..., :1]]), [10, 20, 30]),
        (COLORS.astype(np.float32), [10, 20, 30]),
        (COLORS / 255, [10, 20, 30]),
        (COLORS[..., 0] / 255, [10, 10, 10]),
        (COLORS.astype(np.uint16) * 257, [10, 20, 30]),
        (COLORS.astype(np.int64), [10, 20, 30]),
        (COLORS > 15, [0, 255, 255]),
        (AT_LEAST_5.transpose(2, 0, 1), [10, 20, 30]),
        (AT_LEAST_5.transpose(2, 0, 1)[:1] / 255, [10, 10, 10]),
        (torch.from_numpy(AT_LEAST_5.transpose(2, 0, 1) / 255), [10, 20, 30]),
        (torch.from_numpy(AT_LEAST_5).requires_grad_(False), [10, 20, 30]),
        (torch.from_numpy(AT_LEAST_5 / 255).requires_grad_(), [10, 20, 30]),
    ],
)
def test_the_message_has_the_code_that_makes_an_image(image, pixel):
    with pytest.raises((ValueError, TypeError), match=r"must be \(H, W, 3\) uint8 in BGR; got .*: write ") as error:
        as_array(image, Reading())
    code = str(error.value).split(": write ")[1].split(", and [...")[0].split(", or cv2.")[0]
    made = as_array(eval(code, {"image": image, "np": np, "cv2": cv2}), Reading())
    assert made[0, 0].tolist() == pixel


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"got \(5, 5\) uint8: write cv2.cvtColor\(image, cv2.COLOR_GRAY2BGR\)$"),
        (
            np.zeros((5, 5, 3), np.float32),
            r"got \(5, 5, 3\) float32: write .*, and \[\.\.\., ::-1\] behind it if it is RGB",
        ),
        (np.zeros((5, 5, 4), np.uint8), "COLOR_BGRA2BGR.*, or cv2.COLOR_RGBA2BGR if it is RGBA"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\) uint8: it has no pixels"),
        (np.zeros(5, np.uint8), "give a gray image"),
        (np.zeros((5, 5, 7), np.uint8), "choose the channels for blue, green and red"),
        (torch.zeros(2, 3, 5, 5), r"got a tensor \(2, 3, 5, 5\) torch.float32: give several images as a list"),
        (None, "got NoneType"),
        (3, "got int"),
    ],
)
def test_what_is_no_image_is_refused(checkpoint, image, message):
    predictor = Predictor(checkpoint, "cpu")
    for images in (image, [image]):
        with pytest.raises((ValueError, TypeError), match=message):
            predictor(images)
