"""The objects of a map as GeoJSON, JSON, CSV and a picture. Each file is written whole, and as a stream."""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.inference.geo_progress import Progress
from lib.inference.geo_reading import MapFile
from lib.inference.tables import COLUMNS, CSV, JSON, csv_line, detection_row, frame_entry
from lib.utils.draw import draw_boxes
from lib.utils.files import replacing
from lib.utils.picture_file import write_picture
from lib.utils.table import csv_text

# Least decimals of coordinates: of degrees about 1 mm, of meters or feet 1 mm or less.
DEGREES, LENGTHS = 8, 3
_SMALLEST = 1e-12  # of what counts as the side of a pixel: floats have no more decimals
Points = tuple[np.ndarray, np.ndarray]


def result_files(folder: Path, name: str) -> dict[str, Path]:
    """The files that the search of a map may write."""
    names = {"lonlat": f"{name}.geojson", "own": f"{name}.own_crs.geojson", "picture": f"{name}.overview.jpg"}
    return {kind: folder / file for kind, file in (names | {"json": JSON, "csv": CSV}).items()}


def write_results(map_file: MapFile, progress: Progress, names: Sequence[str], files: dict[str, Path]) -> list[Path]:
    """Writes the detections of ``progress``; the files.

    GeoJSON is in EPSG:4326 by its standard. Another one is in the map's own coordinates, and names them in the member
    ``crs`` that QGIS and GDAL read. Without a CRS, or a way from it to EPSG:4326, there is only that one, and without
    a place none.
    """
    written = [files["json"], files["csv"], files["picture"]]
    _write_json(map_file, progress, names, files["json"])
    lines = (csv_line(map_file.path.name, 0, row) for row in _rows(progress, names))
    _write(files["csv"], csv_text([COLUMNS]), lines, "")
    _draw(map_file, progress, files["picture"])
    if map_file.transform is None:
        return written
    crs = map_file.crs
    decimals = max(DEGREES if crs and crs.is_geographic else LENGTHS, _decimals(map_file.transform))
    if crs is None or crs.to_epsg() != 4326:
        _write_geojson(map_file, progress, names, files["own"], lambda xs, ys: (xs, ys), decimals, _crs_member(crs))
        written.append(files["own"])
    if map_file.has_lonlat:
        _write_geojson(map_file, progress, names, files["lonlat"], map_file.to_lonlat, DEGREES, {})
        written.append(files["lonlat"])
    return written


def _decimals(transform: Any) -> int:
    """Decimals that tell a hundredth of a pixel, in whatever unit the map's coordinates are."""
    a, b, _, d, e, _ = transform[:6]
    return 2 - math.floor(math.log10(max(min(math.hypot(a, d), math.hypot(b, e)), _SMALLEST)))


def _crs_member(crs: Any) -> dict[str, Any]:
    """GeoJSON of 2008 named its coordinates so; no name: nobody knows them."""
    if not crs:
        return {}
    code = crs.to_epsg()
    return {"crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}" if code else crs.to_wkt()}}}


def _write(path: Path, head: str, pieces: Iterable[str], tail: str, between: str = "") -> None:
    """A text file of many pieces, of which few are in memory."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(head)
        for number, piece in enumerate(pieces):
            file.write(between + piece if number else piece)
        file.write(tail)


def _rows(progress: Progress, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for detection in itertools.chain.from_iterable(progress.chunks()):
        yield detection_row(names, detection["box"].tolist(), float(detection["score"]), int(detection["label"]))


def _write_json(map_file: MapFile, progress: Progress, names: Sequence[str], path: Path) -> None:
    entry = frame_entry(map_file.path.name, 0, map_file.size, [])
    head = "[\n" + json.dumps(entry, ensure_ascii=False).removesuffix("]}")
    _write(path, head, (json.dumps(row, ensure_ascii=False) for row in _rows(progress, names)), "]}\n]\n", ", ")


def _write_geojson(
    map_file: MapFile,
    progress: Progress,
    names: Sequence[str],
    path: Path,
    project: Callable[[np.ndarray, np.ndarray], Points],
    decimals: int,
    members: dict[str, Any],
) -> None:
    """A feature for each detection; ``project`` takes the map's coordinates to those of the file."""

    def features() -> Iterator[str]:
        rows = _rows(progress, names)
        for chunk in progress.chunks():
            for ring, row in zip(_rings(map_file, chunk["box"], project, decimals), rows, strict=False):
                # A corner that has no place in the other coordinates, such as one beyond a pole, leaves no polygon.
                shape = {"type": "Polygon", "coordinates": [ring.tolist()]} if np.isfinite(ring).all() else None
                feature = {"type": "Feature", "properties": row, "geometry": shape}
                yield json.dumps(feature, ensure_ascii=False)

    head = json.dumps({"type": "FeatureCollection", "name": path.stem, **members, "features": []}, ensure_ascii=False)
    _write(path, head.removesuffix("]}") + "\n", features(), "\n]}\n", ",\n")


def _rings(
    map_file: MapFile, boxes: np.ndarray, project: Callable[[np.ndarray, np.ndarray], Points], decimals: int
) -> np.ndarray:
    """(n, 5, 2) the corners of boxes, counterclockwise and closed."""
    transform = map_file.transform
    assert transform is not None, "there is no GeoJSON of a map that does not say where it lies"
    around = [0, 3, 2, 1, 0] if transform.determinant < 0 else [0, 1, 2, 3, 0]  # < 0: y rises as rows fall
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    xs, ys = np.stack([x1, x2, x2, x1], 1).ravel(), np.stack([y1, y1, y2, y2], 1).ravel()
    a, b, c, d, e, f = transform[:6]
    xs, ys = project(a * xs + b * ys + c, d * xs + e * ys + f)
    return np.stack([xs, ys], 1).reshape(-1, 4, 2)[:, around].round(decimals)


def _draw(map_file: MapFile, progress: Progress, path: Path) -> None:
    """The whole map at a reduced scale with a thin frame around each object."""
    image: np.ndarray = np.array(progress.picture)
    scale = np.array([image.shape[1] / map_file.size[1], image.shape[0] / map_file.size[0]] * 2, np.float32)
    for chunk in progress.chunks():
        image = draw_boxes(image, chunk["box"] * scale, chunk["label"], [""])  # one name: none is written
    write_picture(path, image)
