"""Maps: TIFF files of any size, read by windows through rasterio."""

import contextlib
import itertools
import logging
import math
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lib.data.depth import FULL, Depth, limits, to_8_bit, uses_little
from lib.data.header import TIFF_STARTS, BrokenHeader, Directory
from lib.data.image import DARK, ImageError, Reading, shown_bands
from lib.utils.optional import optional_package

log = logging.getLogger(__name__)
SAMPLES, SAMPLE_SIDE = 32, 64  # so many windows in a row and a column, of so many pixels, stand for the whole map
CACHE, LARGEST_CACHE = 256 << 20, 2 << 30  # bytes of GDAL's, for the blocks that windows share
_GEO_TAGS = (33550, 34264, 34735)  # pixel scale, matrix, keys: a GeoTIFF has the first or second, most have the third


WORLD_FILES = (".tfw", ".tifw", ".tiffw", ".wld")


def is_placed(path: Path) -> bool:
    """Whether a file is a TIFF of which it is said where on the earth it lies, by itself or by a file beside it."""
    with path.open("rb") as file:
        if file.read(4) not in TIFF_STARTS:
            return False

        def at(start: int, number: int) -> bytes:
            file.seek(start)
            return file.read(number)

        try:
            return any(tag in Directory(at).entries for tag in _GEO_TAGS) or _is_placed_from_beside(path)
        except (BrokenHeader, OSError, ValueError, OverflowError, struct.error):  # of a header that is cut
            return False


def _is_placed_from_beside(path: Path) -> bool:
    """Whether there is a world file or, with a place in it, GDAL's .aux.xml."""
    beside = {file.name.lower(): file for file in path.parent.iterdir()}
    if any(path.stem.lower() + suffix in beside for suffix in WORLD_FILES):
        return True
    about = beside.get(f"{path.name.lower()}.aux.xml")  # which may hold statistics only
    return about is not None and b"<GeoTransform>" in about.read_bytes()


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Suppresses a logger: what it says, we say."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class MapFile:
    """A TIFF file whose pixels are read window by window: ``with MapFile(path, reading) as map``.

    What becomes black and white is the same in all windows: ``input.depth`` is taken of the whole map, as far as it
    depends on the pixels, of a sample that is spread over it. ``rows`` are those of a window, which tell how much GDAL
    must remember so as to decode a strip of the file only once for a row of windows.

    Attributes:
        size: (height, width).
        crs: rasterio's coordinate reference system, or None.
        has_lonlat: whether a way leads from its coordinates to EPSG:4326, not so from local ones or the Moon's.
        transform: rasterio's affine from (x, y) in pixels to the map's coordinates, or None.

    Raises:
        MissingPackage: rasterio is not installed. ImageError: the file cannot be read, or not by ``reading``.
    """

    def __init__(self, path: Path, reading: Reading, rows: int = 0):
        self.path = path
        self._rasterio = optional_package("rasterio", "a GeoTIFF")
        with contextlib.ExitStack() as held:
            held.enter_context(_silent("rasterio._env"))  # which repeats each error of GDAL
            held.enter_context(self._rasterio.Env())
            with self._readable(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files that do not say where they lie: we say it
                self._file: Any = held.enter_context(self._rasterio.open(path))
            held.enter_context(self._rasterio.Env(GDAL_CACHEMAX=self._cache(rows)))
            self._prepare(reading)
            self._held = held.pop_all()

    def _cache(self, rows: int) -> int:
        """Bytes for GDAL's cache, enough for all strips that a row of windows touches where the file has strips."""
        height, width = self._file.block_shapes[0]
        if width < self._file.width:
            return CACHE
        rows = min(rows + 2 * height, self._file.height)
        size = sum(np.dtype(kind).itemsize for kind in self._file.dtypes)
        needed = rows * self._file.width * size * 5 // 4  # with something to spare, for masks
        if needed > LARGEST_CACHE:
            message = "%s is stored in strips, of which a row of windows needs %d MB at once, more than the %d MB that "
            message += "are taken: the search will decode them again and again. It is faster in a copy in tiles: "
            message += "gdal_translate -co TILED=YES -co BIGTIFF=IF_SAFER %s tiled.tif"
            log.warning(message, self.path, needed >> 20, LARGEST_CACHE >> 20, self.path.name)
        return min(max(needed, CACHE), LARGEST_CACHE)

    def _prepare(self, reading: Reading) -> None:
        file, masks = self._file, self._rasterio.enums.MaskFlags
        self.size = file.height, file.width
        self.crs, self.transform = file.crs, None if file.transform.is_identity else file.transform
        self.has_lonlat = bool(self.transform and self.crs) and self._has_way(file.transform)
        alphas = sum(kind == self._rasterio.enums.ColorInterp.alpha for kind in file.colorinterp)
        bands = shown_bands(self.path, file.count, file.count - alphas if file.count <= 4 else 0, reading.bands)
        self._bands = list(bands)
        self._has_mask = any(masks.all_valid not in flags for flags in file.mask_flag_enums)
        self._palette = self._colors() if len(set(bands)) == 1 else None
        self._type = np.result_type(*(file.dtypes[band - 1] for band in bands))
        if self._type.kind not in "iuf":
            raise ImageError(f"image {self.path} must have integers or real numbers; it has {self._type}: convert it")
        self._depth = self._limits(reading.depth)

    def _colors(self) -> np.ndarray | None:
        """(256, 3) uint8 BGR of a band whose numbers are those of colors."""
        band = self._bands[0]
        if self._file.colorinterp[band - 1] != self._rasterio.enums.ColorInterp.palette:
            return None
        table = self._file.colormap(band)
        return np.array([table.get(number, (0, 0, 0))[2::-1] for number in range(256)], np.uint8)

    def _limits(self, depth: Depth) -> Depth:
        """``depth``, or the numbers of black and white where they depend on the pixels, of the whole map."""
        if self._type == np.uint8 or (depth == FULL and self._type.kind in "iu"):
            if depth == FULL and self._type != np.uint8 and uses_little(self._sample()):
                log.warning("image %s %s", self.path, DARK)
            return depth
        if not isinstance(depth, str):
            return depth
        try:
            return limits(self._sample(), depth, self.path)
        except ValueError as error:
            raise ImageError(str(error)) from None

    def _sample(self) -> np.ndarray:
        """Numbers of the bands that are shown, of pixels that are everywhere on the map and have some: all of a small
        map, else those of small windows on a grid. (GDAL's reading at a reduced scale takes many times as long.)
        """
        rows, columns = (self._starts(length) for length in self.size)
        height, width = (min(SAMPLE_SIDE, length) for length in self.size)
        parts = [np.zeros((0, 3), self._type)]
        for y, x in itertools.product(rows, columns):
            place = ((y, y + height), (x, x + width))
            pixels, valid = self._read(place), self._valid(place)
            parts.append(pixels.reshape(-1, 3) if valid is None else pixels[valid])
        sample = np.concatenate(parts)
        return sample if len(sample) else np.zeros(1, self._type)

    def _starts(self, length: int) -> list[int]:
        count = min(SAMPLES, math.ceil(length / SAMPLE_SIDE))
        return np.linspace(0, max(length - SAMPLE_SIDE, 0), count).round().astype(int).tolist()

    def read(self, window: np.ndarray) -> np.ndarray | None:
        """(h, w, 3) uint8 BGR of a window xyxy, black where it has no pixels; None where it has none at all."""
        x1, y1, x2, y2 = window.tolist()
        place = ((y1, y2), (x1, x2))
        valid = self._valid(place)
        if valid is not None and not valid.any():
            return None
        return self._as_image(self._read(place), valid)

    def _as_image(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        if self._palette is not None:
            image = self._palette[np.minimum(pixels[..., 0], 255)]
        else:
            image = pixels if pixels.dtype == np.uint8 else to_8_bit(pixels, *limits(pixels, self._depth, self.path))
        image = np.ascontiguousarray(image)
        if valid is not None:
            image[~valid] = 0
        return image

    def _read(self, place: Any) -> np.ndarray:
        """(h, w, 3) in the type of the file."""
        different = list(dict.fromkeys(self._bands))  # a band that is shown as gray is read once
        with self._readable():
            planes = self._file.read(different, window=place)
        return planes[[different.index(band) for band in self._bands]].transpose(1, 2, 0)

    def _valid(self, place: Any) -> np.ndarray | None:
        """(h, w) whether there is a pixel; None: everywhere. By the mask, the transparency or the number for nodata."""
        if not self._has_mask:
            return None
        with self._readable():
            return self._file.dataset_mask(window=place) > 0

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except self._rasterio.errors.RasterioError as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise ImageError(f"image {self.path} must be readable; {cause}: replace the file") from None

    def _has_way(self, transform: Any) -> bool:
        try:
            self._lonlat([transform.c], [transform.f])
        except self._rasterio._err.CPLE_NotSupportedError:
            return False
        except self._rasterio._err.CPLE_BaseError:  # of this point: others may have a place on the earth
            pass
        return True

    def _lonlat(self, xs: list[float], ys: list[float]) -> np.ndarray:
        warp = optional_package("rasterio.warp", "a GeoTIFF")
        return np.array(warp.transform(self.crs, "EPSG:4326", xs, ys))

    def to_lonlat(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes (EPSG:4326) of points in the map's coordinates; NaN where a point has none."""
        try:
            lon, lat = self._lonlat(xs.tolist(), ys.tolist())
        except self._rasterio._err.CPLE_BaseError:  # one point without a place spoils all
            if len(xs) == 1:
                return np.array([np.nan]), np.array([np.nan])
            halves = (slice(len(xs) // 2), slice(len(xs) // 2, None))
            lon, lat = np.concatenate([self.to_lonlat(xs[half], ys[half]) for half in halves], axis=1)
        return lon, lat

    def __enter__(self) -> "MapFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()
