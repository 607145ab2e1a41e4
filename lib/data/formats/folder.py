"""What readers and writers of annotation folders share: image files by name, their sizes, numbers as text."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lib.data.image import read_image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame header


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the stored pixels; from the header of a JPEG or PNG file, without decoding it."""
    with path.open("rb") as file:
        start = file.read(24)
        if start.startswith(b"\x89PNG\r\n\x1a\n") and len(start) == 24:
            width, height = struct.unpack(">II", start[16:24])
            return height, width
        if start.startswith(b"\xff\xd8"):
            file.seek(2)
            while len(head := file.read(4)) == 4 and head[0] == 0xFF:
                if head[1] in _JPEG_SIZES and len(frame := file.read(5)) == 5:
                    return struct.unpack(">xHH", frame)
                file.seek(struct.unpack(">H", head[2:])[0] - 2, 1)
    return read_image(path).shape[:2]


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Path below ``folder`` without the suffix -> image file; every image of the folder and its subfolders."""
    if not folder.is_dir():
        raise FileNotFoundError(f"image folder {folder} must exist; there is none: name it with --images")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise ValueError(f"images must have different names; got {found[stem]} and {path}: rename one")
        found[stem] = path
    return found


def image_ids(stems: Sequence[str]) -> list[int]:
    """Ids of images from their names: the numbers that they are, such as VOC's 000001, else 1, 2, ..."""
    names = [stem.rsplit("/", 1)[-1] for stem in stems]
    if all(name.isdecimal() for name in names) and len({int(name) for name in names}) == len(names):
        return [int(name) for name in names]
    return list(range(1, len(names) + 1))


def output_files(
    folder: Path, images: Iterable[Mapping[str, Any]], suffix: str
) -> Iterator[tuple[Any, Path]]:
    """(image record, annotation file to write) for every image; no name leads out of the folder."""
    taken: dict[str, str] = {}
    for record in images:
        name = PurePosixPath(str(record.get("file_name", "")))
        if not name.name or name.is_absolute() or ".." in name.parts:
            raise ValueError(
                f"file_name of each image must be a path below the image folder; got {str(name)!r} of image "
                f"{record.get('id')}: mend the file"
            )
        stem = name.with_suffix("").as_posix()
        if stem in taken:
            raise ValueError(
                f"images must have different names without their suffix; got {taken[stem]} and {name}: rename one"
            )
        taken[stem] = str(name)
        path = folder / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        yield record, path


def annotations_by_image(coco: Mapping[str, Any]) -> dict[int, list[Mapping[str, Any]]]:
    """Image id -> its annotations, in order."""
    found: dict[int, list[Mapping[str, Any]]] = {record["id"]: [] for record in coco["images"]}
    for annotation in coco["annotations"]:
        found[annotation["image_id"]].append(annotation)
    return found


def number_text(value: float) -> str:
    """A number so that reading it gives it back: whole ones without a point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def read_lines(path: Path, separator: str | None, counts: range) -> Iterator[tuple[str, list[float]]]:
    """(where, numbers) of each line of a text file that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} must be a text file; it holds other bytes: choose the annotations"
        ) from None
    for index, line in enumerate(text.splitlines(), 1):
        parts = line.strip().rstrip(",").split(separator)
        if not line.strip():
            continue
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) not in counts:
            few = f"{counts.start} to {counts.stop - 1}" if len(counts) > 1 else str(counts.start)
            raise ValueError(
                f"{path}, line {index} must be {few} numbers; got {line.strip()[:80]!r}: mend the line"
            )
        yield f"{path}, line {index}", numbers
