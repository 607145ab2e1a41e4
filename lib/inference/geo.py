"""Objects on maps: a GeoTIFF of any size is searched window by window, in memory that does not grow with it."""

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lib.data.header import file_header
from lib.data.image import Reading
from lib.inference.geo_progress import STATE, Progress
from lib.inference.geo_reading import MapFile, is_placed
from lib.inference.geo_writing import result_files, write_results
from lib.inference.predictor import Predictor
from lib.inference.tile_rows import RowMerger, nothing
from lib.inference.tiles import Tiles, WindowDetections, check_tiles, joined, place, tile_sides, tile_windows
from lib.structures import Detections
from lib.utils.ahead import ahead
from lib.utils.files import refuse_sources, remove_leftovers
from lib.utils.lock import locked
from lib.utils.log import progress
from lib.utils.optional import MissingPackage, optional_package
from lib.utils.signals import Stopped, StopSignals
from lib.utils.yaml_files import to_plain

log = logging.getLogger(__name__)


def is_map(source: str, reading: Reading) -> bool:
    """Whether ``source`` is to be searched as a map: a GeoTIFF, a TIFF with a world file, or one too large to be read
    whole.

    Without rasterio, one that can be read whole is an image like any other, with a warning.

    Raises:
        MissingPackage: rasterio is not installed, and the file is too large.
    """
    path = Path(source)
    if not path.is_file():
        return False
    header = file_header(path)
    if header is None or header.kind != "TIFF":
        return False
    is_large = math.prod(header.size) > reading.max_pixels
    if not is_large and not is_placed(path):
        return False
    try:
        optional_package("rasterio", f"{path}, {'a large TIFF' if is_large else 'a GeoTIFF'},")
    except MissingPackage as error:
        if is_large:
            raise
        log.warning("%s; it is read as an image, and boxes are in pixels only", error)
        return False
    return True


def search_map(
    path: Path, predictor: Predictor, folder: Path, min_score: float = 0.3, identity: Sequence[str] = ()
) -> list[Path]:
    """Finds the objects of a map and writes them into a folder; the files that it wrote.

    Rows of windows are searched from the top to the bottom; windows without any pixel are skipped. After each row the
    state is on the disk: a search that was ended, also by a kill, goes on from there, and its files are those of one
    that was not. The windows are those of ``predictor.tiles``, or such that each fills the network's input; the whole
    map is never one.

    Args:
        min_score: detections below it are left out.
        identity: what the detections depend on beside the predictor's config, such as the name of its checkpoint. A
            search that differs in it, in the map, the tiles or the config begins anew.

    Raises:
        MissingPackage: rasterio is not installed. ImageError: the map cannot be read. ValueError: another process
            uses the folder. Stopped: a signal came.
    """
    tiles = (predictor.tiles or Tiles(predictor.resize.window or predictor.size))._replace(whole=False)
    check_tiles(tiles)
    files = result_files(folder, path.stem)
    refuse_sources([*files.values(), *(folder / f"{path.stem}.{kind}" for kind in STATE)], [path])
    key = [_file_state(path), tiles, min_score, predictor.classes, to_plain(predictor.cfg)]
    key += [[text, _file_state(Path(text))] for text in identity]
    with contextlib.ExitStack() as held:
        held.enter_context(locked(folder, "another --out"))
        remove_leftovers(folder)
        map_file = held.enter_context(MapFile(path, predictor.reading, rows=tile_sides(tiles.size)[0]))
        _tell_place(map_file)
        state = Progress(folder, path.stem, map_file.size, key)
        held.callback(state.close)
        _Search(map_file, predictor, tiles, min_score).run(state)
        written = write_results(map_file, state, predictor.classes, files)
        state.remove()
    log.info("%s detections %d, in %s", path, state.count, ", ".join(file.name for file in written))
    return written


def _file_state(path: Path) -> list[int]:
    """Size and time of a file; nothing where there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]
    return []


def _tell_place(map_file: MapFile) -> None:
    if map_file.transform is None:
        log.warning("%s has no georeferencing: boxes are in pixels only, and no GeoJSON is written", map_file.path)
    elif not map_file.crs:
        log.warning("%s has no coordinate reference system (CRS): no GeoJSON in EPSG:4326 is written", map_file.path)
    elif not map_file.has_lonlat:
        message = "%s: its CRS cannot be converted to longitude and latitude; no GeoJSON in EPSG:4326 is written"
        log.warning(message, map_file.path)


class _Search:
    """Goes through the rows of windows of a map."""

    def __init__(self, map_file: MapFile, predictor: Predictor, tiles: Tiles, min_score: float):
        self._map, self._predictor, self._tiles, self._min_score = map_file, predictor, tiles, min_score
        self._windows = tile_windows(map_file.size, tiles.size, tiles.overlap)
        self._tops = np.unique(self._windows[:, 1])
        self._skipped = 0

    def run(self, state: Progress) -> None:
        """Adds what the map has to what is known."""
        in_row = len(self._windows) // len(self._tops)
        merger = RowMerger(self._tiles, int(self._windows[0, 2] - self._windows[0, 0]), state.held)
        if state.rows:
            log.info("%s: continuing after %d of %d rows of tiles", self._map.path, state.rows, len(self._tops))
        bar = progress(None, "searching", total=len(self._windows), initial=state.rows * in_row)
        bar.unit = " tiles"
        with bar, StopSignals() as stop:
            for row in range(state.rows, len(self._tops)):
                found = self._search_row(row * in_row, in_row, bar, state)
                is_last = row + 1 == len(self._tops)
                settled = merger.add(found, math.inf if is_last else float(self._tops[row + 1]))
                keep = settled.scores >= self._min_score
                with stop.deferred():
                    state.save(Detections(*(value[keep] for value in settled)), merger.held, row + 1)
                if stop.requested:
                    raise Stopped(stop.requested, "stopped by a signal; run the same command to continue")
        log.info("%s tiles %d, without pixels %d", self._map.path, len(self._windows), self._skipped)

    def _search_row(self, first: int, count: int, bar: tqdm, state: Progress) -> WindowDetections:
        """The detections of the windows of a row; each is read while the one before is searched."""
        windows, numbers = self._windows[first : first + count], []

        def with_pixels(images: Iterator[Any]) -> Iterator[np.ndarray]:
            for number, image in enumerate(images):
                bar.update()
                if image is None:
                    self._skipped += 1
                else:
                    state.paint(windows[number], image)
                    numbers.append(number)
                    yield image

        parts = [nothing()]
        with contextlib.closing(ahead(self._map.read, windows, threads=1)) as images:
            for place_of, found in enumerate(self._predictor.detect(with_pixels(images))):
                number = numbers[place_of]
                parts.append(place(found, first + number, windows[number], self._map.size))
        return joined(parts)
