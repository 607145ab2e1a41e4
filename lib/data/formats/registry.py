"""The formats that data sets are kept in: each is read into COCO's form and written from it, without losing a box."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lib.data.formats.coco_json import is_coco, open_coco, read_coco, write_coco
from lib.data.formats.content import Content, Record, content_of
from lib.data.formats.folder import images_beside
from lib.data.formats.partners import refuse_unreadable
from lib.data.formats.visdrone import is_visdrone, read_visdrone, write_visdrone
from lib.data.formats.voc import is_voc, read_voc, voc_images, write_voc
from lib.data.formats.yolo import is_yolo, read_yolo, write_yolo, yolo_images
from lib.utils.fields import Problems, reading
from lib.utils.lookup import lookup


class Format(NamedTuple):
    """A way to keep a data set: ``read(path, images, split, upright)`` gives COCO's form, ``write(coco, path)`` writes
    it.

    ``is_at(path)`` says whether a path holds this format, ``images(path, split)`` where the images are; None: unknown.
    ``upright`` is whether boxes count the pixels of upright pictures, unless somebody knows better, see ``Content``;
    ``has_sizes`` whether its files tell the sizes of images.
    """

    read: Callable[[Path, Path | None, str, bool], dict[str, Any]]
    write: Callable[[Record, Path], None]
    is_at: Callable[[Path], bool]
    images: Callable[[Path, str], Path] | None
    upright: bool | None
    has_sizes: bool = False


FORMATS = {
    "voc": Format(read_voc, write_voc, is_voc, voc_images, False, has_sizes=True),
    "yolo": Format(read_yolo, write_yolo, is_yolo, yolo_images, True),
    "visdrone": Format(read_visdrone, write_visdrone, is_visdrone, images_beside, False),
    "coco": Format(read_coco, write_coco, is_coco, None, None, has_sizes=True),
}

ORIENTATIONS = {"as_stored": False, "upright": True}  # whether boxes count the pixels of upright pictures


def guess_format(path: Path) -> str:
    """The name of the first format that a file or folder holds."""
    for name, candidate in FORMATS.items():
        if candidate.is_at(path):
            return name
    if path.is_dir():
        raise ValueError(
            f"{path} must contain annotation files, VOC .xml or YOLO or VisDrone .txt; it contains none: for COCO, "
            "give the JSON file itself, not its folder"
        )
    must = f"annotations {path} must be a COCO JSON file, a data.yaml, or a folder of VOC, YOLO or VisDrone files"
    if not path.exists():
        raise FileNotFoundError(f"{must}; {path} does not exist: check the path")
    raise ValueError(
        f"{must}; this file is neither JSON nor YAML, and CSV, CVAT XML and image lists outside of VOC's ImageSets are "
        "not read: export as COCO or YOLO, or give the folder of the files"
    )


def find_images(path: str | Path, split: str) -> Path:
    """The folder of a data set's images, where its format keeps it; ``split`` is train or val, of a data.yaml."""
    images = FORMATS[guess_format(Path(path))].images
    if images is None:
        raise ValueError(
            f"data.{split}.images must be given, the folder of the images of {path}; got null: add "
            f"data.{split}.images=DIR"
        )
    return images(Path(path), split)


def known_images(path: str | Path, split: str) -> Path | None:
    """The same; None where the format does not tell it, or it cannot be found."""
    try:
        return find_images(path, split)
    except (ValueError, FileNotFoundError):
        return None


def read_dataset(
    path: str | Path,
    images: str | Path | None = None,
    name: str | None = None,
    split: str = "train",
    orientation: str | None = None,
    lenient: bool = False,
) -> dict[str, Any]:
    """A data set in COCO's form: a COCO JSON file, a YOLO data.yaml, a folder of VOC, YOLO or VisDrone files, or one of
    VOC's lists of images.

    YOLO and VisDrone need the folder of the ``images``, if it is not where the format keeps it. ``name`` is the
    format; None to tell it from the files. ``split`` is that of a data.yaml. The content of a JSON file comes as it
    is; ``read_content`` checks it. A file that cannot be read is a ValueError of one line that names it; images that
    cannot be read are left out if ``lenient``, which is noted.

    ``orientation`` is ``as_stored`` or ``upright``: the pixels that boxes count where the EXIF data of their image have
    an orientation and sizes do not tell; None: as the format's tools have it.
    """
    path = Path(path)
    with reading(path):
        row = lookup(FORMATS, name or guess_format(path), "format")
        upright = _is_upright(row, orientation)
        coco = row.read(path, Path(images) if images else None, split, bool(upright))
        if upright is not None:
            coco = {**coco, "upright": upright}
        if isinstance(notes := coco.get("notes"), Problems) and not (lenient and coco["images"]):
            refuse_unreadable(path, notes)
        if not coco["images"]:
            raise ValueError(f"{path} must hold at least one image; it holds none: check the path and the format")
        return coco


def read_content(
    path: str | Path,
    images: str | Path | None = None,
    name: str | None = None,
    split: str = "train",
    lenient: bool = False,
    orientation: str | None = None,
) -> Content:
    """A data set as ``read_dataset`` takes it, as arrays, with every field checked; see ``Collector``."""
    path = Path(path)
    with reading(path):
        if (name or guess_format(path)) == "coco":
            content = open_coco(path, Path(images) if images else None, lenient)
            return content._replace(upright=_is_upright(FORMATS["coco"], orientation))
        return content_of(read_dataset(path, images, name, split, orientation, lenient), str(path), images, lenient)


def _is_upright(row: Format, orientation: str | None) -> bool | None:
    """Whether boxes count upright pixels where sizes do not tell; None: if there are no sizes."""
    if orientation is None:
        return row.upright
    return bool(lookup(ORIENTATIONS, orientation, "data.orientation"))


def write_dataset(coco: Record, path: str | Path, name: str) -> None:
    """Writes a data set in COCO's form as a file (coco) or a folder (voc, yolo, visdrone)."""
    lookup(FORMATS, name, "format").write(coco, Path(path))
