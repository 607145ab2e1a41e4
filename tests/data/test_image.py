"""Decoding at a reduced scale: as exact as averaging afterwards, and as strict about what is wrong with a file."""

import cv2
import numpy as np
import pytest

from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.data.image import StoredImage, image_size, read_image
from lib.data.loader import Loader
from lib.data.pixels import block_average

HEIGHT, WIDTH = 245, 403  # no multiples of 8


def photo():
    """(H, W, 3) uint8 with soft and sharp parts and pale colors, as a photograph has them."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    gray = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 40, 190, cv2.NORM_MINMAX)
    for x, y, side in rng.integers((0, 0, 5), (WIDTH, HEIGHT, 60), (12, 3)).tolist():
        cv2.rectangle(gray, (x, y), (x + side, y + side), int(rng.integers(40, 190)), cv2.FILLED)
    tint = cv2.resize(rng.integers(-20, 20, (3, 4, 3)).astype(np.float32), (WIDTH, HEIGHT))
    return np.round(gray[..., None] + tint).astype(np.uint8)


def coco(name, height=HEIGHT, width=WIDTH):
    return {
        "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 20]}],
        "categories": [{"id": 1, "name": "cat"}],
    }


@pytest.fixture
def folder(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), photo(), [cv2.IMWRITE_JPEG_QUALITY, 90])
    cv2.imwrite(str(tmp_path / "a.png"), photo())
    return tmp_path


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_reduced_jpeg_is_within_a_gray_level_of_the_average_over_blocks(folder, shrink):
    full, reduced = read_image(folder / "a.jpg"), read_image(folder / "a.jpg", shrink)
    assert reduced.shape == (-(-HEIGHT // shrink), -(-WIDTH // shrink), 3)
    difference = np.abs(reduced.astype(int) - block_average(full, shrink, shrink))
    assert difference.mean() < 1.0  # on COCO's photographs 0.4, and 2 at the 99th percentile
    assert np.percentile(difference, 99) <= 8


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_other_formats_are_averaged(folder, shrink):
    expected = block_average(photo(), shrink, shrink)
    np.testing.assert_array_equal(read_image(folder / "a.png", shrink), expected)


@pytest.mark.parametrize("block", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (4, 8)])
def test_average_over_blocks_rounds_the_mean_and_repeats_the_edge(block):
    image = np.random.default_rng(0).integers(0, 256, (7, 13, 3), dtype=np.uint8)
    width, height = block
    padded = np.pad(image, ((0, -7 % height), (0, -13 % width), (0, 0)), mode="edge").astype(float)
    rows, columns = padded.shape[0] // height, padded.shape[1] // width
    expected = padded.reshape(rows, height, columns, width, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(block_average(image, width, height), expected, atol=0.51)


@pytest.mark.parametrize("size", [(100, 170), (60, 60), (30, 50)])
def test_reduced_decoding_comes_as_near_to_the_exact_average_as_full_decoding(folder, size):
    full, reduced = (CocoDataset(folder, coco("a.jpg"), decode=mode) for mode in ("full", "reduced"))
    exact = cv2.resize(full.load(0).image.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    transform = build_transform("none", size)
    errors = [np.abs(transform(x.load(0), None).image - exact).mean() for x in (full, reduced)]
    assert errors[1] <= errors[0] + 0.2
    np.testing.assert_array_equal(transform(full.load(0), None).boxes, transform(reduced.load(0), None).boxes)


def test_nothing_changes_where_the_image_is_not_shrunk_by_two(folder):
    transform = build_transform("none", (140, 210))
    images = [
        transform(CocoDataset(folder, coco("a.jpg"), decode=mode).load(0), None).image for mode in ("full", "reduced")
    ]
    np.testing.assert_array_equal(*images)


def test_stored_image_is_decoded_late_and_each_scale_once():
    asked = []

    def read(shrink):
        asked.append(shrink)
        return np.zeros((60 // shrink, 80 // shrink, 3), np.uint8)

    image = StoredImage((60, 80), read)
    assert image.shape == (60, 80, 3) and asked == []
    for shrink in (2, 1, 2):
        assert image.pixels(shrink).shape == (60 // shrink, 80 // shrink, 3)
    assert asked == [2, 1]


def test_image_that_the_cache_holds_is_read_in_full(folder):
    cached = CocoDataset(folder, coco("a.jpg"), decode="reduced", cache_mb=1).load(0)
    assert cached.image.shape == (HEIGHT, WIDTH, 3) and isinstance(cached.image, np.ndarray)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_broken_image_is_named_although_it_is_read_late(folder, num_workers):
    dataset = CocoDataset(folder, coco("a.jpg"), decode="reduced")
    loader = Loader(dataset, build_transform("ssd", (40, 60)), 1, num_workers=num_workers)
    (folder / "a.jpg").write_bytes((folder / "a.jpg").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"^image .*a\.jpg must be readable; it is truncated"):
        list(loader)
    (folder / "a.jpg").unlink()
    with pytest.raises(OSError, match=r"^image .*a\.jpg must be a file"):
        list(loader)


def test_size_of_a_reduced_image_is_checked_to_the_pixel(folder):
    dataset = CocoDataset(folder, coco("a.jpg"), decode="reduced")
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8))  # the header was right at first
    with pytest.raises(ValueError, match=rf"must be as large as .* {WIDTH}x{HEIGHT} .* it has {WIDTH - 1}x{HEIGHT}"):
        build_transform("none", (20, 30))(dataset.load(0), None)


def test_unknown_way_of_decoding_is_refused(folder):
    with pytest.raises(ValueError, match=r"data\.decode must be one of full, reduced; got 'half'"):
        CocoDataset(folder, coco("a.jpg"), decode="half")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_image_size_is_read_from_the_header(suffix, tmp_path):
    cv2.imwrite(str(tmp_path / f"a{suffix}"), np.zeros((37, 91, 3), np.uint8))
    assert image_size(tmp_path / f"a{suffix}") == (37, 91)
