"""Maps: where objects lie on the earth, in files of all kinds, across windows, after a kill, without rasterio."""

import csv
import json
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from lib.config import load_config
from lib.data.image import ImageError, Reading
from lib.inference import geo_reading
from lib.inference.geo import is_map, search_map
from lib.inference.geo_progress import write_zeros
from lib.inference.tiles import Tiles, detect_in_tiles
from lib.structures import Detections
from lib.utils.lock import locked
from lib.utils.optional import MissingPackage
from tests.engine.conftest import load_script

rasterio = pytest.importorskip("rasterio", reason="needs rasterio: make extras")
from lib.inference.geo_reading import MapFile  # noqa: E402  # which needs it

UTM = "EPSG:32633"
NORTH_UP = rasterio.Affine(0.1, 0, 500_000, 0, -0.1, 5_400_000)
TURNED = rasterio.Affine(0.0866, 0.05, 500_000, 0.05, -0.0866, 5_400_000)


def bright_squares(images):
    """A detector of what is brighter than 128; a part of an object scores higher than the whole."""
    for image in images:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 1] > 128).astype(np.uint8))
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], np.float32).reshape(-1, 4)
        scores = 0.9 - 0.001 * (boxes[:, 2] - boxes[:, 0])
        labels = np.ones(len(boxes))
        yield Detections(*map(torch.from_numpy, (boxes, scores.astype(np.float32), labels.astype(np.int64))))


def stub(detect=bright_squares, tiles=None, size=(64, 96), window=None, **reading):
    """What search_map asks of a Predictor."""
    cfg = load_config({"data": {"classes": ["car", "bus"]}})
    resize, reading = SimpleNamespace(window=window), Reading(**reading)
    return SimpleNamespace(
        detect=detect, tiles=tiles, size=size, resize=resize, classes=["car", "bus"], cfg=cfg, reading=reading
    )


def write_map(path, planes, **options):
    """(bands, H, W) as a tiled GeoTIFF."""
    options = {"crs": UTM, "transform": NORTH_UP, "tiled": True, "blockxsize": 64, "blockysize": 64, **options}
    colors, options = options.pop("colorinterp", None), {key: value for key, value in options.items() if value}
    height, width = planes.shape[1:]
    with rasterio.open(path, "w", "GTiff", width, height, len(planes), dtype=planes.dtype, **options) as file:
        file.write(planes)
        if colors:
            file.colorinterp = [rasterio.enums.ColorInterp[name] for name in colors]
    return path


def scene(size=(300, 410), step=37, bright=255):
    """(H, W) uint8 with bright rectangles on a grid that fits no window, and their boxes."""
    plane, boxes = np.zeros(size, np.uint8), []
    for y in range(5, size[0] - 20, step):
        for x in range(7, size[1] - 20, step):
            boxes.append((x, y, x + 4 + (x + y) % 13, y + 6 + x % 9))
            plane[boxes[-1][1] : boxes[-1][3], boxes[-1][0] : boxes[-1][2]] = bright
    return plane, sorted(boxes)


def found_boxes(folder):
    (entry,) = json.loads((folder / "detections.json").read_text())
    return sorted(tuple(row["box"]) for row in entry["detections"])


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED])
def test_polygons_lie_where_the_objects_do_and_each_object_is_there_once(tmp_path, transform):
    plane, boxes = scene()
    search_map(write_map(tmp_path / "a.tif", plane[None], transform=transform), stub(), tmp_path / "out")
    own = json.loads((tmp_path / "out" / "a.own_crs.geojson").read_text())
    lonlat = json.loads((tmp_path / "out" / "a.geojson").read_text())
    assert own["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633" and "crs" not in lonlat
    assert len(own["features"]) == len(lonlat["features"]) == len(boxes)
    found = []
    for feature, other in zip(own["features"], lonlat["features"], strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        x, y = (~transform) @ ring.T if hasattr(transform, "__matmul__") else (~transform) * ring.T
        found.append(tuple(int(round(value)) for value in (x.min(), y.min(), x.max(), y.max())))
        assert np.abs(np.sort(x[:4]) - np.round(np.sort(x[:4]))).max() < 0.5
        area = np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1])
        assert area > 0 and (ring[0] == ring[-1]).all()  # counterclockwise and closed
        lon, lat = np.array(other["geometry"]["coordinates"][0]).T
        back = rasterio.warp.transform("EPSG:4326", UTM, lon, lat)
        assert np.abs(np.array(back).T - ring).max() < 0.05  # half a pixel
        assert feature["properties"] == other["properties"]
    assert sorted(found) == boxes == [tuple(map(int, box)) for box in found_boxes(tmp_path / "out")]


def test_table_and_overview_are_written_and_the_state_is_removed(tmp_path):
    plane, boxes = scene()
    search_map(write_map(tmp_path / "a.tif", plane[None]), stub(), tmp_path / "out", min_score=0.89)
    rows = list(csv.DictReader((tmp_path / "out" / "detections.csv").open()))
    assert {row["name"] for row in rows} == {"car"} and 0 < len(rows) < len(boxes)
    assert cv2.imread(str(tmp_path / "out" / "a.overview.jpg")).shape == (300, 410, 3)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"a.geojson", "a.own_crs.geojson", "a.overview.jpg", "detections.json", "detections.csv"}


@pytest.mark.parametrize("how", ["nms", "fusion"])
def test_objects_are_those_of_the_whole_image_cut_into_tiles(tmp_path, how):
    rng = np.random.default_rng(0)
    plane = (cv2.GaussianBlur(rng.random((500, 340)), (0, 0), 2.5) > 0.52).astype(np.uint8) * 255
    tiles = Tiles((64, 96), 0.3, how, whole=False)
    search_map(write_map(tmp_path / "a.tif", plane[None]), stub(tiles=tiles), tmp_path / "out", min_score=0)
    expected = detect_in_tiles(bright_squares, np.stack([plane] * 3, axis=2), tiles)
    assert len(expected.boxes) > 300
    rounded = sorted(tuple(round(x, 2) for x in box) for box in expected.boxes.tolist())
    assert found_boxes(tmp_path / "out") == rounded


def test_windows_fill_the_input_at_the_scale_of_the_test(tmp_path):
    shapes = []

    def detect(images):
        images = list(images)
        shapes.extend(image.shape[:2] for image in images)
        return bright_squares(images)

    plane, _ = scene()
    search_map(
        write_map(tmp_path / "a.tif", plane[None]), stub(detect, size=(80, 120), window=(64, 96)), tmp_path / "out"
    )
    assert set(shapes) == {(64, 96)}


def test_the_picture_of_a_search_has_all_its_room_on_the_disk(tmp_path):
    write_zeros(tmp_path / "a.picture", 3_000_000)
    status = (tmp_path / "a.picture").stat()
    assert status.st_size == 3_000_000 <= 512 * status.st_blocks


def kinds():
    """name: (bands, options of the file, Reading)"""
    plane, _ = scene()
    deep = plane.astype(np.uint16) * 4 + 3000
    alpha, far = np.full_like(plane, 255), np.zeros_like(plane)
    alpha[:, 300:] = 0
    hidden = np.where(alpha > 0, plane, 255)
    cells = plane / 255.0
    return {
        "8 bits": (plane[None], {}, {}),
        "16 bits, two numbers": (deep[None], {}, {"depth": (3000.0, 4020.0)}),
        "16 bits, percentile": (np.stack([deep] * 3), {}, {"depth": "percentile"}),
        "4 bands, alpha": (
            np.stack([hidden] * 3 + [alpha]), {"colorinterp": ["red", "green", "blue", "alpha"]}, {}
        ),
        "5 bands": (np.stack([far, far, far, far, plane]), {}, {"bands": (5, 5, 5)}),
        "nodata": (np.where(alpha > 0, plane, 200)[None].astype(np.uint8), {"nodata": 200}, {}),
        "floats": (cells[None].astype(np.float32), {}, {}),
        "floats, nodata": (
            np.where(alpha > 0, cells, -9999)[None].astype(np.float32), {"nodata": -9999.0}, {"depth": "percentile"}
        ),
        "signed": ((plane.astype(np.int16) - 100)[None], {}, {"depth": (-100.0, 155.0)}),
    }  # fmt: skip


@pytest.mark.parametrize("kind", kinds())
def test_kinds_of_files_show_the_same_objects(tmp_path, kind):
    planes, options, reading = kinds()[kind]
    seen = []

    def detect(images):
        for found, image in ((next(bright_squares([image])), image) for image in images):
            seen.append(image.shape)
            yield found

    search_map(write_map(tmp_path / "a.tif", planes, **options), stub(detect, **reading), tmp_path / "out")
    is_cut = "nodata" in options or "colorinterp" in options
    expected = [box for box in scene()[1] if not is_cut or box[2] <= 300]
    whole = [box for box in found_boxes(tmp_path / "out") if not is_cut or box[2] < 300]
    assert [tuple(map(int, box)) for box in whole] == expected
    assert len(seen) == 6 * (5 if is_cut else 6)  # of the six columns of windows one has no pixels


def test_percentiles_are_those_of_the_map_and_not_of_a_window(tmp_path):
    plane = np.zeros((200, 400), np.uint16)
    plane[:, 200:] = 40_000
    plane[10:20, 10:20] = 60  # noise in a dark window
    search_map(write_map(tmp_path / "a.tif", plane[None]), stub(depth="percentile"), tmp_path / "out")
    assert all(box[0] >= 200 - 1 for box in found_boxes(tmp_path / "out"))


def test_palette_gives_colors(tmp_path):
    path = tmp_path / "a.tif"
    write_map(path, scene(bright=1)[0][None])
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (10, 250, 30, 255)})
    with MapFile(path, Reading()) as map_file:
        assert map_file.read(np.array([0, 0, 64, 64])).max(axis=(0, 1)).tolist() == [30, 250, 10]


def test_search_that_was_killed_goes_on_and_its_files_are_the_same(tmp_path):
    path, tiles = write_map(tmp_path / "a.tif", scene((600, 300))[0][None]), Tiles(64, 0.3, "fusion")
    search_map(path, stub(tiles=tiles), tmp_path / "once")
    left = 30

    def failing(images):
        nonlocal left
        for found in bright_squares(images):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            yield found

    counted = []

    def counting(images):
        for found in bright_squares(images):
            counted.append(1)
            yield found

    with pytest.raises(KeyboardInterrupt):
        search_map(path, stub(failing, tiles), tmp_path / "twice")
    assert {file.name for file in (tmp_path / "twice").iterdir()} == {"a.progress", "a.found", "a.picture"}
    with (tmp_path / "twice" / "a.found").open("ab") as file:
        file.write(b"the process was killed in the middle of a write")
    search_map(path, stub(counting, tiles), tmp_path / "twice")
    assert len(counted) == 13 * 7 - 28  # 30 windows were searched, in four rows of seven and a part of one
    for name in ("a.geojson", "a.own_crs.geojson", "detections.json", "detections.csv", "a.overview.jpg"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes(), name


def test_search_begins_anew_with_another_option_or_a_broken_state(tmp_path, caplog):
    path, folder = write_map(tmp_path / "a.tif", scene()[0][None]), tmp_path / "out"
    for prepare in (lambda: None, lambda: (folder / "a.progress").write_bytes(b"rubbish")):
        with pytest.raises(ZeroDivisionError):
            search_map(path, stub(lambda images: (image.size / 0 for image in images)), folder)
        folder.mkdir(exist_ok=True)
        prepare()
        search_map(path, stub(), folder, identity=["other.pth"])
        assert len(found_boxes(folder)) == len(scene()[1])
    assert "the search begins anew" in caplog.text


def test_map_without_a_place_has_no_geojson_and_says_so(tmp_path, caplog):
    plain = write_map(tmp_path / "plain.tif", scene()[0][None], crs=None, transform=None)
    unnamed = write_map(tmp_path / "unnamed.tif", scene()[0][None], crs=None)
    search_map(plain, stub(), tmp_path / "plain")
    search_map(unnamed, stub(), tmp_path / "unnamed")
    assert (
        not list((tmp_path / "plain").glob("*.geojson"))
        and "has no georeferencing: boxes are in pixels only" in caplog.text
    )
    (own,) = (tmp_path / "unnamed").glob("*.geojson")
    assert own.name == "unnamed.own_crs.geojson" and "crs" not in json.loads(own.read_text())
    assert "has no coordinate reference system (CRS): no GeoJSON in EPSG:4326" in caplog.text


LOCAL = 'LOCAL_CS["Site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
MOON = (
    'GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400.0,0.0]],PRIMEM["Greenwich",0],'
    'UNIT["Decimal_Degree",0.0174532925199433]]'
)


@pytest.mark.parametrize("crs", [LOCAL, MOON])
def test_map_without_a_way_to_longitudes_and_latitudes_has_one_geojson_and_says_so(crs, tmp_path, caplog):
    caplog.set_level("INFO")
    degrees = rasterio.Affine(1e-4, 0, 8, 0, -1e-4, 7)
    path = write_map(tmp_path / "a.tif", scene()[0][None], crs=rasterio.CRS.from_wkt(crs), transform=degrees)
    written = search_map(path, stub(), tmp_path / "out")
    assert [file.name for file in written if file.suffix == ".geojson"] == ["a.own_crs.geojson"]
    assert len(found_boxes(tmp_path / "out")) == len(scene()[1])
    assert (
        caplog.text.count("its CRS cannot be converted to longitude and latitude; no GeoJSON in EPSG:4326 is written")
        == 1
    )
    assert "GDAL" not in caplog.text


def test_box_beyond_the_projection_has_no_polygon_and_the_others_do(tmp_path):
    wide = rasterio.Affine(1e5, 0, 500_000, 0, -1e3, 5_400_000)  # 41,000 km, where UTM ends after less than 20,000
    search_map(write_map(tmp_path / "a.tif", scene()[0][None], transform=wide), stub(), tmp_path / "out")
    features = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
    has_polygon = {feature["properties"]["box"][0] < 190: feature["geometry"] is not None for feature in features}
    assert has_polygon == {True: True, False: False}


def test_polygons_in_degrees_without_a_crs_keep_their_corners(tmp_path):
    degrees = rasterio.Affine(1e-6, 0, 15, 0, -1e-6, 48)
    path = write_map(tmp_path / "a.tif", scene()[0][None], crs=None, transform=degrees)
    search_map(path, stub(), tmp_path / "out")
    features = json.loads((tmp_path / "out" / "a.own_crs.geojson").read_text())["features"]
    (ring,) = [row["geometry"]["coordinates"][0] for row in features if row["properties"]["box"] == [7, 5, 23, 18]]
    west, south, east, north = 15.000007, 47.999982, 15.000023, 47.999995
    corners = [[west, north], [west, south], [east, south], [east, north], [west, north]]
    np.testing.assert_allclose(ring, corners, rtol=0, atol=1e-8)


def test_map_in_longitudes_and_latitudes_has_one_geojson(tmp_path):
    degrees = rasterio.Affine(1e-6, 0, 15, 0, -1e-6, 48)
    path = write_map(tmp_path / "a.tif", scene()[0][None], crs="EPSG:4326", transform=degrees)
    written = search_map(path, stub(), tmp_path / "out")
    assert [file.name for file in written if file.suffix == ".geojson"] == ["a.geojson"]


def test_empty_map_gives_valid_files(tmp_path):
    path = write_map(tmp_path / "a.tif", np.zeros((1, 90, 130), np.uint8), nodata=0)
    search_map(path, stub(lambda images: iter(list(images)[:0])), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "a.geojson").read_text())["features"] == []
    assert found_boxes(tmp_path / "out") == []


def test_broken_map_is_one_line(tmp_path):
    path = write_map(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (1, 300, 410), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"a\.tif must be readable; [^\n]+: replace the file$"):
        search_map(path, stub(), tmp_path / "out")
    assert is_map(str(path), Reading())
    path.write_bytes(content[:5])
    assert not is_map(str(path), Reading())


def test_bands_must_be_chosen_where_nothing_says_what_they_show(tmp_path):
    path = write_map(tmp_path / "a.tif", np.zeros((5, 70, 80), np.uint8))
    with pytest.raises(ImageError, match=r"must have 1, 3 or 4 bands; it has 5: .*input\.bands"):
        search_map(path, stub(), tmp_path / "out")
    with pytest.raises(ImageError, match=r"\[9\]; it has 5"):
        search_map(path, stub(bands=(9,)), tmp_path / "out")


def test_folder_belongs_to_one_search(tmp_path):
    path = write_map(tmp_path / "a.tif", scene()[0][None])
    (tmp_path / "a.overview.jpg").symlink_to(path)
    with pytest.raises(ValueError, match="must not be one that is read"):
        search_map(path, stub(), tmp_path)


def test_what_is_a_map(tmp_path, monkeypatch, caplog):
    geo, picture = write_map(tmp_path / "geo.tif", scene()[0][None]), tmp_path / "plain.tif"
    cv2.imwrite(str(picture), scene()[0])
    assert is_map(str(geo), Reading()) and not is_map(str(picture), Reading())
    assert is_map(str(picture), Reading(max_pixels=1000))
    assert not any(is_map(source, Reading()) for source in ("0", str(tmp_path), str(tmp_path / "*.tif")))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert not is_map(str(geo), Reading())
    assert "pip install rasterio==" in caplog.text and "boxes are in pixels only" in caplog.text
    with pytest.raises(MissingPackage, match="a large TIFF, needs the package rasterio"):
        is_map(str(picture), Reading(max_pixels=1000))


@pytest.mark.parametrize("name", ["plain.tfw", "PLAIN.TFW", "plain.tifw", "plain.wld", "plain.tif.aux.xml"])
def test_a_tiff_with_a_place_beside_it_is_a_map(tmp_path, name):
    path = tmp_path / "plain.tif"
    cv2.imwrite(str(path), scene()[0])
    beside = tmp_path / name
    beside.write_text("<PAMDataset><Metadata/></PAMDataset>")
    assert is_map(str(path), Reading()) is not name.endswith(".xml")
    numbers = [0.1, 0, 0, -0.1, 500_000.05, 5_399_999.95]
    if name.endswith(".xml"):
        place = "500000, .1, 0, 5400000, 0, -.1"
        beside.write_text(f"<PAMDataset><GeoTransform>{place}</GeoTransform></PAMDataset>")
    else:
        beside.write_text("\n".join(map(str, numbers)))
    assert is_map(str(path), Reading())
    with MapFile(path, Reading()) as map_file:
        assert np.allclose(map_file.transform[:6], NORTH_UP[:6])


def test_of_strips_gdal_remembers_all_that_a_row_of_windows_needs(tmp_path, monkeypatch, caplog):
    def cache(path):
        with MapFile(path, Reading(), rows=100):
            return rasterio.env.get_gdal_config("GDAL_CACHEMAX")

    planes = np.zeros((3, 640, 1000), np.uint16)
    strips = write_map(tmp_path / "strips.tif", planes, tiled=None, blockxsize=None)
    tiles = write_map(tmp_path / "tiles.tif", planes)
    assert (cache(strips), cache(tiles)) == (268435456, 268435456)
    monkeypatch.setattr(geo_reading, "CACHE", 1000)
    assert (cache(strips), cache(tiles)) == (1710000, 1000)  # 100 rows and two strips of 64, 6 bytes a pixel
    assert "gdal_translate" not in caplog.text
    monkeypatch.setattr(geo_reading, "LARGEST_CACHE", 1000000)
    assert cache(strips) == 1000000
    assert "gdal_translate -co TILED=YES -co BIGTIFF=IF_SAFER strips.tif tiled.tif" in caplog.text


def test_demo_searches_a_map(checkpoint, tmp_path):
    planes = np.random.default_rng(0).integers(0, 255, (3, 150, 210), np.uint8)
    path, out = write_map(tmp_path / "a.tif", planes), tmp_path / "out"
    options = [f"--checkpoint={checkpoint}", f"--out={out}", "--no-show", "--score=0.01"]
    assert load_script("demo").main([str(path), *options]) == 0
    assert len(json.loads((out / "a.geojson").read_text())["features"]) == len(found_boxes(out)) > 0
    with locked(out):
        pass
