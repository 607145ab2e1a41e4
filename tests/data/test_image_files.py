"""Orientation, depth, bands and headers: every kind of file becomes the picture that its maker meant, or one error."""

import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from lib.data import depth as depth_module
from lib.data import image as image_module
from lib.data.dataset import CocoDataset
from lib.data.formats.convert import convert
from lib.data.header import file_header
from lib.data.image import ImageError, ImageFile, Reading, image_size, read_image
from lib.data.survey import survey
from lib.data.truth import picture_reader, read_truth
from tests.data.image_files import exif, joined_tiffs, jpeg, tiff, with_exif

BAND5 = np.random.default_rng(0).integers(0, 2**16, (6, 9, 5)).astype(np.uint16)


def scene():
    """(40, 60, 3) uint8 BGR: a red square at x 8 to 24, y 4 to 14 on gray."""
    image = np.full((40, 60, 3), 60, np.uint8)
    image[4:14, 8:24] = (0, 0, 255)
    return image


def stored(upright, orientation):
    """How a camera stores what ``orientation`` turns into ``upright``, by definition of EXIF."""
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    return np.ascontiguousarray(turned[orientation])


def coco(name, box=(8, 4, 16, 10), **size):
    return {
        "images": [{"id": 1, "file_name": name, **size}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": list(box), "area": 160}],
        "categories": [{"id": 1, "name": "red"}],
    }


def is_red_inside(sample):
    """Whether the box is full of red and its frame outside is not."""
    x1, y1, x2, y2 = sample.boxes[0].astype(int)
    red = (sample.image[..., 2] > 200) & (sample.image[..., 0] < 60)
    return red[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all() and red.sum() < 1.2 * (x2 - x1) * (y2 - y1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_pictures_are_those_of_pillow(orientation, order, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(stored(scene(), orientation), orientation, order))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))[..., ::-1]
    assert np.abs(read_image(path).astype(int) - expected).max() <= 2  # two decoders
    assert np.abs(read_image(path).astype(int) - scene()).mean() < 5
    assert image_size(path) == (40, 60)
    assert read_image(path, upright=False).shape[:2] == image_size(path, upright=False)
    np.testing.assert_array_equal(read_image(path, upright=False), cv2.imdecode(np.fromfile(path, np.uint8), 129))


@pytest.mark.parametrize("kind", [".png", ".webp", ".tif"])
def test_orientation_is_read_in_other_formats(kind, tmp_path):
    path, upright = tmp_path / f"a{kind}", scene()
    if kind == ".tif":
        path.write_bytes(tiff(stored(upright, 6)[..., ::-1], orientation=6))
    else:
        image = Image.fromarray(np.ascontiguousarray(stored(upright, 6)[..., ::-1]))
        image.save(path, exif=b"Exif\0\0" + exif(6), **({"lossless": True} if kind == ".webp" else {}))
    assert file_header(path).orientation == 6
    np.testing.assert_array_equal(read_image(path), upright)
    np.testing.assert_array_equal(read_image(path, upright=False), stored(upright, 6))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_reduced_blocks_begin_at_the_upright_corner(orientation, shrink, tmp_path):
    upright = np.repeat(np.linspace(0, 250, 61).astype(np.uint8)[None, :, None], 43, 0).repeat(3, 2)
    (tmp_path / "a.jpg").write_bytes(jpeg(stored(upright, orientation), orientation))
    expected = image_module.block_average(upright, shrink, shrink).astype(int)
    assert np.abs(read_image(tmp_path / "a.jpg", shrink) - expected).max() <= 6


@pytest.mark.parametrize("decode", ["full", "reduced"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_in_annotations_decide(orientation, decode, tmp_path):
    pixels = stored(scene(), orientation)
    (tmp_path / "a.jpg").write_bytes(jpeg(pixels, orientation))
    upright = CocoDataset(tmp_path, coco("a.jpg", height=40, width=60), orientation="upright", decode=decode)
    sample = upright.load(0)
    sample = sample if decode == "full" else sample._replace(image=sample.image.pixels())
    assert is_red_inside(sample)
    if orientation < 5:
        return
    told = CocoDataset(tmp_path, coco("a.jpg", height=40, width=60), orientation="as_stored").load(0)
    assert is_red_inside(told) and told.size == (40, 60)
    ys, xs = np.nonzero((pixels == (0, 0, 255)).all(axis=2))
    box = xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1
    box = [int(value) for value in box]
    assert is_red_inside(CocoDataset(tmp_path, coco("a.jpg", box, height=60, width=40), orientation="upright").load(0))


def test_formats_decide_where_sizes_do_not(tmp_path):
    for folder, orientation in (("images", 6), ("half", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_bytes(jpeg(stored(scene(), orientation), orientation))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(f"0 {16 / 60} {9 / 40} {16 / 60} {10 / 40}\n")
    assert is_red_inside(CocoDataset(tmp_path / "images", tmp_path).load(0))
    assert is_red_inside(CocoDataset(tmp_path / "half", tmp_path).load(0))
    assert is_red_inside(CocoDataset(tmp_path / "images", coco("a.jpg")).load(0))
    sized = CocoDataset(tmp_path / "half", coco("a.jpg", height=40, width=60))
    assert not is_red_inside(sized.load(0))
    assert "EXIF orientation, read as stored (see data.orientation): 1 (a.jpg)" in sized.report()
    assert CocoDataset(tmp_path / "images", tmp_path, orientation="as_stored").load(0).size == (60, 40)
    with pytest.raises(ValueError, match=r"data\.orientation must be one of as_stored, upright; got 'turned'"):
        CocoDataset(tmp_path / "images", tmp_path, orientation="turned")


@pytest.mark.parametrize("open_images", [False, True])
def test_the_doctor_names_images_with_an_orientation(open_images, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(stored(scene(), 6), 6))
    problems = survey(coco("a.jpg", height=40, width=60), tmp_path, open_images).problems
    assert problems == {"images with an orientation in their EXIF data": ["a.jpg: 6, read upright"]}
    problems = survey(coco("a.jpg", height=60, width=40), tmp_path, open_images).problems
    assert problems == {"images with an orientation in their EXIF data": ["a.jpg: 6, read as stored"]}


def test_broken_exif_data_are_passed_over(tmp_path):
    for data in (b"", b"MM\0*", exif(6)[:-10], exif(9), exif(6).replace(b"MM\0*", b"XX\0*"), exif(0)):
        (tmp_path / "a.jpg").write_bytes(with_exif(jpeg(scene()), data))
        assert read_image(tmp_path / "a.jpg").shape == (40, 60, 3)


def test_16_bit_images_are_scaled_by_the_full_range_or_as_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(image_module, "_warnings", set())
    values = np.linspace(0, 4095, 6 * 9).reshape(6, 9).astype(np.uint16)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 1], np.rint(values / 257))
    read_image(tmp_path / "b.png")
    warnings = [record.getMessage() for record in caplog.records if "input.depth" in record.getMessage()]
    assert len(warnings) == 1 and f"{tmp_path / 'a.png'} uses under a tenth of the range" in warnings[0]
    spread = read_image(tmp_path / "a.png", reading=Reading((0, 4095)))
    np.testing.assert_array_equal(spread[..., 2], np.rint(values / 4095 * 255))
    spread = read_image(tmp_path / "a.png", reading=Reading("percentile"))
    assert spread.min() == 0 and spread.max() == 255 and spread.shape == (6, 9, 3)
    assert (
        "under a tenth of their range (see input.depth): 1 (a.png)"
        in CocoDataset(tmp_path, coco("a.png", (1, 1, 4, 4))).report()
    )
    problems = survey(coco("a.png"), tmp_path, True).problems
    assert problems["images of more than 8 bits that use under a tenth of their range (see input.depth)"] == ["a.png"]


@pytest.mark.parametrize(
    ("low", "high", "is_named"), [(0.02, 0.05, True), (0, 0.5, False), (90, 100, True), (0, 99, False)]
)
def test_floats_that_use_under_a_tenth_of_their_range_are_named_too(tmp_path, low, high, is_named):
    cv2.imwrite(str(tmp_path / "a.tif"), np.linspace(low, high, 54, dtype=np.float32).reshape(6, 9))
    assert any("tenth of their range" in kind for kind in survey(coco("a.tif"), tmp_path, True).problems) == is_named


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 16), (".pgm", 16), (".ppm", 16), (".jp2", 16), (".pfm", 32)])
def test_depth_reaches_every_format(suffix, bits, tmp_path):
    path, values = tmp_path / f"a{suffix}", np.tile(np.array([1000, 1500, 2500, 3000], np.uint16), (32, 8))
    values = np.stack([values] * 3, axis=2) if suffix == ".ppm" else values
    cv2.imwrite(str(path), values.astype(np.float32) if suffix == ".pfm" else values)
    assert file_header(path).bits == bits
    for depth in ((1000.0, 3000.0), "percentile"):
        read = read_image(path, reading=Reading(depth))
        assert read.shape == (32, 32, 3) and read[5, :4, 1].tolist() == [0, 64, 191, 255]
    file = ImageFile(path)
    if suffix == ".pfm":
        with pytest.raises(ImageError, match=r"floating-point numbers in 0 \.\. 1 or 0 \.\. 255; got 1000 to 3000"):
            file.pixels()
    else:
        assert file.pixels()[5, :4, 1].tolist() == [4, 6, 10, 12] and file.is_dark


@pytest.mark.parametrize("bits", [10, 12])
def test_the_full_range_of_an_avif_is_that_of_its_bits(bits, tmp_path):
    most = 2**bits - 1
    values = np.tile(np.array([0, most // 4, most // 2, most], np.uint16)[:, None, None], (8, 32, 3))
    options = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100]
    try:
        cv2.imwrite(str(tmp_path / "a.avif"), values, options)
    except cv2.error:
        pytest.skip("this OpenCV cannot write it")
    assert file_header(tmp_path / "a.avif").bits == bits
    for depth in ("full", (0.0, most)):
        read = read_image(tmp_path / "a.avif", reading=Reading(depth))
        np.testing.assert_allclose(read[:4, 0, 0], [0, 64, 127, 255], atol=1)
    read = read_image(tmp_path / "a.avif", reading=Reading((0.0, most / 2)))
    np.testing.assert_allclose(read[:4, 0, 0], [0, 127, 255, 255], atol=1)


def test_8_bit_images_are_not_scaled(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene())
    for depth in ("percentile", (0.0, 100.0)):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png", reading=Reading(depth)), scene())


def test_floats_are_scaled_where_their_range_is_known(tmp_path):
    values = np.linspace(0, 1, 54, dtype=np.float32).reshape(6, 9)
    for factor, scale in ((1, 255), (200, 1)):
        (tmp_path / "a.tif").write_bytes(tiff(values * factor))
        np.testing.assert_allclose(read_image(tmp_path / "a.tif")[..., 0], np.rint(values * factor * scale), atol=1)
    (tmp_path / "a.tif").write_bytes(tiff(values * 100 + 250))
    with pytest.raises(ImageError, match=r"a\.tif must have floating-point numbers in .* got 250 to 350: choose input"):
        read_image(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif", reading=Reading((250, 350)))
    np.testing.assert_allclose(read[..., 0], np.rint(values * 255), atol=1)
    holes = (values * 100).astype(np.float32)
    holes[0, :3] = np.nan, np.inf, -np.inf
    (tmp_path / "a.tif").write_bytes(tiff(holes))
    assert read_image(tmp_path / "a.tif", reading=Reading("percentile"))[0, :3, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
def test_bands_are_chosen(planar, order, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(BAND5, planar=planar, order=order, orientation=6))
    with pytest.raises(ImageError, match=r"1, 3 or 4 bands; it has 5: choose .* input\.bands=\[3, 2, 1\]"):
        read_image(path)
    with pytest.raises(ImageError, match=r"bands of input\.bands, \[6, 2, 1\]; it has 5"):
        read_image(path, reading=Reading(bands=(6, 2, 1)))
    expected = np.rint(BAND5 / 257)
    read = read_image(path, upright=False, reading=Reading(bands=(5, 3, 1)))
    np.testing.assert_array_equal(read, expected[..., [0, 2, 4]])
    np.testing.assert_array_equal(read_image(path, reading=Reading(bands=(5, 3, 1))), np.rot90(read, -1))
    gray = read_image(path, upright=False, reading=Reading(bands=(2,)))
    np.testing.assert_array_equal(gray, expected[..., [1, 1, 1]])


@pytest.mark.parametrize("planar", [1, 2])
def test_three_bands_are_colors_although_the_file_calls_them_gray(planar, tmp_path):
    pixels = np.tile(np.array([200, 100, 10], np.uint8), (6, 9, 1))
    (tmp_path / "a.tif").write_bytes(tiff(pixels, planar=planar, photometric=1))
    assert read_image(tmp_path / "a.tif")[3, 5].tolist() == [10, 100, 200]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_a_fourth_band_is_never_multiplied_into_colors(extra, dtype, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 250, (6, 9, 4)).astype(dtype) * (257 if dtype == np.uint16 else 1)
    (tmp_path / "a.tif").write_bytes(tiff(pixels, extra=[extra]))
    expected = np.rint(pixels / (257 if dtype == np.uint16 else 1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected[..., 2::-1])
    infrared = read_image(tmp_path / "a.tif", reading=Reading(bands=(4, 1, 2)))
    np.testing.assert_array_equal(infrared, expected[..., [1, 0, 3]])


def test_two_bands_need_a_choice_and_gray_with_transparency_does_not(tmp_path):
    pixels = np.arange(108, dtype=np.uint8).reshape(6, 9, 2)
    (tmp_path / "a.tif").write_bytes(tiff(pixels))
    with pytest.raises(ImageError, match="it has 2: choose"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(tiff(pixels, extra=[2]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels[..., [0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("bands", [3, 4])
def test_compressed_bands_with_differences_are_added_up(bands, compression, dtype, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2**16, (50, 30, bands)).astype(dtype)
    pixels = pixels if dtype == np.uint16 else pixels / np.float32(2**16)
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, 2]
    cv2.imwrite(str(tmp_path / "a.tif"), pixels, options + [cv2.IMWRITE_TIFF_ROWSPERSTRIP, 8])
    read = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, np.rint(pixels[..., :3] * (1 / 257 if dtype == np.uint16 else 255)))


def test_bands_of_a_png_and_of_a_jpeg_are_counted_in_their_order(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    read = read_image(tmp_path / "a.png", reading=Reading(bands=(4, 2, 1)))  # of red, green, blue, transparency
    np.testing.assert_array_equal(read, image[..., [2, 1, 3]])
    (tmp_path / "a.jpg").write_bytes(jpeg(image[..., 0]))
    with pytest.raises(ImageError, match="it has 1"):
        read_image(tmp_path / "a.jpg", reading=Reading(bands=(3, 2, 1)))


def png_of_size(width, height, data=b""):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bmp_of_size(width, height):
    start = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)
    return start + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def jpeg_of_size(width, height):
    content = bytearray(jpeg(scene()))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def avif_of_size(width, height):
    parts = box(b"ispe", struct.pack(">III", 0, 3, 2)) + box(b"ispe", struct.pack(">III", 0, width, height))
    return box(b"ftyp", b"avif" + bytes(8)) + box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", parts)))


def jp2_of_size(width, height):
    stream = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII16xHB", 41, 0, width + 5, height + 7, 5, 7, 1, 7)
    return box(b"jP  ", b"\r\n\x87\n") + box(b"jp2c", stream)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (png_of_size(2**31 - 1, 1), "at most 268435456 pixels; its header says 2147483647x1"),
        (png_of_size(65535, 30000), "at most 268435456 pixels; its header says 65535x30000"),
        (png_of_size(16000, 16000), "header says 16000x16000, more than .* bytes can hold"),
        (bmp_of_size(137, -922746729), "at most 268435456 pixels"),
        (bmp_of_size(9000, 9000), "more than 54 bytes can hold"),
        (jpeg_of_size(40000, 40000), "at most 268435456 pixels; its header says 40000x40000"),
        (jpeg_of_size(12000, 12000), "more than .* bytes can hold"),
        (png_of_size(40, 60)[:-12], "truncated"),
        (png_of_size(0, 60), "no whole image in one of the formats JPEG, PNG"),
        (png_of_size(40, 60), "no whole image in one of the formats JPEG, PNG"),
        (tiff(np.zeros((1, 1), np.uint8))[:60], "no whole image in one of the formats JPEG, PNG"),
        (b"GIF89a" + struct.pack("<HH", 65535, 65534) + b"\xf7\0\0", "at most .* pixels; its header says 65535x65534"),
        (avif_of_size(70000, 50000), "at most 268435456 pixels; its header says 70000x50000"),
        (jp2_of_size(80000, 60000), "at most 268435456 pixels; its header says 80000x60000"),
        (jp2_of_size(80000, 60000)[20:], "at most 268435456 pixels; its header says 80000x60000"),
        (b"P5\n# a camera\n90000 40000\n255\n", "at most 268435456 pixels; its header says 90000x40000"),
        (b"GIF89a\x09", "no whole image in one of the formats"),
        (avif_of_size(9, 9).replace(b"ispe", b"free"), "no whole image in one of the formats"),
        (b"#?RADIANCE\n\n-Y 90000 +X 90000\n", "no whole image in one of the formats"),
        (b"RIFF\4\0\0\0WAVE", "no whole image in one of the formats"),
        (
            tiff(np.zeros((1, 2), np.uint8)).replace(b"\0\1\3\0\1\0\0\0\2\0", b"\0\1\4\0\1\0\0\0\0\xff"),
            "65280x1, more than .* bytes can hold",
        ),
    ],
)
def test_header_is_looked_at_before_anything_is_decoded(content, rule, tmp_path, capfd):
    (tmp_path / "a.img").write_bytes(content)
    with pytest.raises(ImageError, match=rf"^image .*a\.img must .*{rule}") as error:
        read_image(tmp_path / "a.img")
    assert "\n" not in str(error.value) and capfd.readouterr().err.count("OpenCV") == 0


def test_the_limit_of_pixels_is_a_setting(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene())
    assert read_image(tmp_path / "a.png", reading=Reading(max_pixels=2400)).shape == (40, 60, 3)
    with pytest.raises(ImageError, match=r"at most 2399 pixels; its header says 60x40 .* input\.max_pixels"):
        read_image(tmp_path / "a.png", reading=Reading(max_pixels=2399))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
def test_plain_images_are_decoded_to_the_bit_as_by_opencv(suffix, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)
    for pixels in (image, image[..., 0]):
        cv2.imwrite(str(tmp_path / f"a{suffix}"), pixels)
        expected = cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), expected)
        assert image_size(tmp_path / f"a{suffix}") == (37, 91)


@pytest.mark.parametrize("suffix", [".gif", ".avif", ".jp2", ".ppm", ".pgm", ".pbm"])
def test_sizes_of_rare_formats_are_known_before_they_are_decoded(suffix, tmp_path):
    path, image = tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)
    if not cv2.imencode(suffix, image[..., 0] if suffix in (".pgm", ".pbm") else image)[0]:
        pytest.skip("this OpenCV cannot write it")
    cv2.imwrite(str(path), image[..., 0] if suffix in (".pgm", ".pbm") else image)
    assert file_header(path).size == (37, 91)
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path)))
    with pytest.raises(ImageError, match="at most 3000 pixels; its header says 91x37"):
        read_image(path, reading=Reading(max_pixels=3000))


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("planar", [1, 2])
def test_numbers_of_any_type_are_those_of_the_file(planar, dtype, tmp_path):
    values = (np.arange(270).reshape(6, 9, 5) * 7).astype(dtype)
    (tmp_path / "a.tif").write_bytes(tiff(values, planar=planar))
    read = read_image(tmp_path / "a.tif", reading=Reading((0.0, 2550.0), (4, 2, 1)))
    np.testing.assert_array_equal(read, np.rint(values[..., [0, 1, 3]] / 10.0))


def test_the_full_range_of_signed_numbers_has_zero_in_its_middle(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[-32768, 0, 32767]], np.int16)))
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 128, 255]


def test_pictures_of_a_report_have_the_pixels_that_boxes_count(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(stored(scene(), 6), 6))
    for size, shape in ((None, (40, 60, 3)), ((40, 60), (40, 60, 3)), ((60, 40), (60, 40, 3))):
        record = coco("a.jpg") if size is None else coco("a.jpg", height=size[0], width=size[1])
        (tmp_path / "ann.json").write_text(json.dumps(record))
        read = picture_reader(read_truth(tmp_path / "ann.json", tmp_path), tmp_path)
        assert read("a.jpg").shape == shape and read("b.jpg") is None


def test_pictures_of_a_report_show_what_uses_little_of_16_bits(tmp_path):
    levels = np.linspace(7000, 7400, 40 * 60).round().astype(np.uint16).reshape(40, 60)  # a thermal camera's
    cv2.imwrite(str(tmp_path / "a.png"), levels)
    (tmp_path / "ann.json").write_text(json.dumps(coco("a.png", height=40, width=60)))
    pixels = picture_reader(read_truth(tmp_path / "ann.json", tmp_path), tmp_path)("a.png")
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[-1, -1].tolist() == [255, 255, 255]
    assert abs(int(pixels[20, 0, 0]) - 128) <= 1


def test_a_converted_set_tells_the_sizes_of_upright_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(jpeg(stored(scene(), 6), 6))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(f"0 {16 / 60} {9 / 40} {16 / 60} {10 / 40}\n")
    convert(tmp_path, tmp_path / "out.json", "coco")
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["images"][0]["height"], record["images"][0]["width"]) == (40, 60) and "upright" not in record
    assert is_red_inside(CocoDataset(tmp_path / "images", tmp_path / "out.json").load(0))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("source", ["as_stored", "upright", "without_sizes"])
@pytest.mark.parametrize("target", ["coco", "voc", "yolo", "visdrone"])
def test_a_converted_box_marks_the_same_pixels(target, source, orientation, tmp_path):
    (tmp_path / "images").mkdir()
    pixels = stored(scene(), orientation)
    (tmp_path / "images/a.jpg").write_bytes(jpeg(pixels, orientation))
    content, way = coco("a.jpg", height=40, width=60), "upright"
    if source == "as_stored":
        ys, xs = np.nonzero((pixels == (0, 0, 255)).all(axis=2))
        box = [int(value) for value in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)]
        content, way = coco("a.jpg", box, height=pixels.shape[0], width=pixels.shape[1]), None
    elif source == "without_sizes":
        content, way = coco("a.jpg"), None
    content["categories"][0]["name"] = "car"
    (tmp_path / "ann.json").write_text(json.dumps(content))
    convert(tmp_path / "ann.json", tmp_path / "out", target, images=tmp_path / "images", orientation=way)
    out = tmp_path / ("out/data.yaml" if target == "yolo" else "out")
    assert is_red_inside(CocoDataset(tmp_path / "images", out).load(0))


def test_pages_after_the_first_are_told_but_copies_and_masks_are_none(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(image_module, "_warnings", set())
    page, other = np.full((6, 9), 7, np.uint8), np.full((6, 9), 200, np.uint8)
    copy, mask = tiff(other[:3, :4], more={254: [1]}), tiff(other, more={254: [4]})
    files = {"one": (tiff(page),), "map": (tiff(page), copy, mask), "stack": (tiff(page), copy, tiff(other))}
    for name, parts in files.items():
        (tmp_path / f"{name}.tif").write_bytes(joined_tiffs(*parts))
        assert read_image(tmp_path / f"{name}.tif")[0, 0].tolist() == [7, 7, 7]
        assert file_header(tmp_path / f"{name}.tif").has_pages == (name == "stack")
    told = f"image {tmp_path}/stack.tif has several pages, of which only the first is read: split it"
    assert [record.getMessage().startswith(told) for record in caplog.records] == [True]
    kind = "images of several pages, of which only the first is read"
    record = coco("stack.tif", box=(1, 1, 3, 3), height=6, width=9)
    assert survey(record, tmp_path).problems[kind] == ["stack.tif"]
    assert f"{kind}: 1 (stack.tif)" in CocoDataset(tmp_path, record).report()


def test_a_chain_of_pages_that_never_ends_is_left(tmp_path):
    content = bytearray(tiff(np.zeros((3, 4), np.uint8)))
    directory = struct.unpack_from("<I", content, 4)[0]
    fields = struct.unpack_from("<H", content, directory)[0]
    struct.pack_into("<I", content, directory + 2 + 12 * fields, directory)  # the directory follows itself
    (tmp_path / "a.tif").write_bytes(content)
    assert read_image(tmp_path / "a.tif").shape == (3, 4, 3)


def test_the_thumbnail_of_a_camera_raw_is_no_picture(tmp_path):
    raw = tiff(np.zeros((6, 9, 3), np.uint8), more={254: [1], 330: [8]})
    (tmp_path / "a.dng").write_bytes(raw)
    with pytest.raises(ImageError, match=r"a\.dng must begin with a whole picture; its first one is a small copy"):
        read_image(tmp_path / "a.dng")


@pytest.mark.parametrize(("dtype", "nothing"), [(np.float32, "-9999"), (np.int16, "-32768"), (np.float32, "nan")])
def test_the_number_for_nothing_is_black_and_does_not_count(dtype, nothing, tmp_path):
    heights = np.linspace(100, 130, 54).reshape(6, 9).astype(dtype)
    heights[0, 0] = float(nothing)
    (tmp_path / "a.tif").write_bytes(tiff(heights, text={42113: nothing}))
    pixels = read_image(tmp_path / "a.tif", reading=Reading("percentile"))[..., 0]
    assert pixels[0, 0] == 0 and pixels[0, 1] <= 5 and pixels[-1, -1] == 255
    assert abs(int(pixels[3, 0]) - 130) <= 6
    if dtype == np.int16:
        dark = ImageFile(tmp_path / "a.tif")
        assert dark.pixels()[0, 0, 0] == 0 and dark.is_dark


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bands", [None, (1, 2, 3), (2,)])
def test_a_pixel_is_empty_where_all_its_bands_are_the_number_for_nothing(bands, planar, dtype, tmp_path):
    most = np.iinfo(dtype).max
    colors = np.full((6, 9, 3), most, dtype)
    colors[0, 1:] = [0, most, most // 5]  # the green band alone is the number
    (tmp_path / "a.tif").write_bytes(tiff(colors, planar=planar, text={42113: str(most)}))
    pixels = read_image(tmp_path / "a.tif", reading=Reading(bands=bands))
    assert not pixels[1:].any() and not pixels[0, 0].any()
    assert pixels[0, 1].tolist() == ([255] * 3 if bands == (2,) else [51, 255, 0])


@pytest.mark.parametrize(("nothing", "value"), [("7", 0), ("-249", 7), ("263", 7), ("nan", 7)])
def test_gray_of_8_bits_is_black_where_it_is_the_number_for_nothing(nothing, value, tmp_path):
    gray = np.full((6, 9), 50, np.uint8)
    gray[0, 0] = 7
    (tmp_path / "a.tif").write_bytes(tiff(gray, text={42113: nothing}))
    pixels = read_image(tmp_path / "a.tif")
    assert pixels[0, 0].tolist() == [value] * 3 and (pixels[1:] == 50).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "nothing"),
    [
        (np.uint16(55537), "-9999"),
        (np.uint16(0), "nan"),
        (np.int16(-1), "65535"),
        (np.float32(np.finfo(np.float32).max), "-1.797e308"),
    ],
)
def test_a_number_for_nothing_outside_of_the_type_marks_no_pixel(value, nothing, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.full((6, 9), value), text={42113: nothing}))
    low = float(value) - max(abs(float(value)), 1)
    assert (read_image(tmp_path / "a.tif", reading=Reading((low, float(value)))) == 255).all()


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    with (tmp_path / "a.tif").open("wb") as file:
        file.write(
            tiff(np.zeros((6, 9), np.uint8)).replace(
                struct.pack("<HHIHH", 257, 3, 1, 6, 0), b"\1\1\3\0\1\0\0\0\xff\xff\0\0"
            )
        )
        file.truncate(2**40)
    with (tmp_path / "scan.las").open("wb") as file:
        file.write(b"LASF")
        file.truncate(2**40)
    monkeypatch.setattr(np, "fromfile", None)
    with pytest.raises(ImageError, match="at most 1000 pixels; its header says 9x65535"):
        read_image(tmp_path / "a.tif", reading=Reading(max_pixels=1000))
    with pytest.raises(ImageError, match="its 1099511627776 bytes are no whole image"):
        read_image(tmp_path / "scan.las")


def test_formats_that_are_not_supported_are_named(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(ImageError, match="it is a HEIC picture, which is not supported: export it as JPEG"):
        read_image(tmp_path / "a.heic")
    content = tiff(np.zeros((6, 9), np.uint16)).replace(
        struct.pack("<HHIHH", 259, 3, 1, 1, 0), struct.pack("<HHIHH", 259, 3, 1, 50000, 0)
    )
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageError, match="a TIFF of compression 50000, which is not supported: save it anew by LZW"):
        read_image(tmp_path / "a.tif")
    twelve = bytearray(jpeg(scene()))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(twelve)
    with pytest.raises(ImageError, match="a JPEG of 12 bits, of which only those of 8 are supported"):
        read_image(tmp_path / "a.jpg")


def test_numbers_too_wide_to_be_read_are_named(tmp_path):
    halves = np.zeros((6, 72), np.int16)
    (tmp_path / "a.tif").write_bytes(tiff(halves, more={256: [9], 258: [128]}))  # GDAL's CFloat64
    with pytest.raises(ImageError, match=r"readable; it has 1 bands of 128 bits: convert or replace it$"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", [262, 338, 339])
def test_a_tiff_with_a_broken_field_is_refused(tag, tmp_path):
    content = bytearray(tiff(np.zeros((6, 9, 2), np.uint16)))
    place = content.index(struct.pack("<HH", tag, 3), struct.unpack_from("<I", content, 4)[0])
    struct.pack_into("<II", content, place + 4, 1000, 2**31)
    (tmp_path / "a.tif").write_bytes(content)
    message = r"a\.tif must be readable; it has values that lie outside of the file: convert or replace it$"
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.tif")


def test_wide_numbers_are_scaled_in_parts_as_at_once(monkeypatch):
    numbers = np.random.default_rng(0).normal(size=(50, 7, 2)).astype(np.float32) * 100
    numbers[3, 2, 1], numbers[4, 0, 0] = np.nan, np.inf
    expected = np.nan_to_num(np.clip((numbers.astype(np.float64) + 50) / 100 * 255, 0, 255), nan=0)
    monkeypatch.setattr(depth_module, "_AT_ONCE", 40)
    np.testing.assert_array_equal(depth_module.to_8_bit(numbers, -50, 50), np.rint(expected).astype(np.uint8))
    integers = np.array([[-32768, -51, -50, 1, 49, 50, 32767]], np.int16)
    assert depth_module.to_8_bit(integers, -50, 50).tolist() == [[0, 0, 0, 130, 252, 255, 255]]
    assert depth_module.to_8_bit(np.zeros((0, 3, 3), np.float32), 0, 1).shape == (0, 3, 3)
