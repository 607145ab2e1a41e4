"""What formats with one annotation file per image share: image files by name, text files of numbers."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lib.data.formats.content import REGIONS, Record, is_region_class
from lib.data.formats.listing import SPELLINGS, Names
from lib.data.image import SUFFIXES
from lib.utils.fields import Problems, number, shown
from lib.utils.reading import read_text as read_unicode

NO_LABELS = ("classes.txt", "labels.txt", "labelmap.txt")  # names of classes beside text files of labels
_CLASS_NAMES = "as class names in lines, of DOTA and KITTI, are not read, convert to YOLO (class number first) or COCO"
IMAGE_SUFFIXES = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}


class Page(NamedTuple):
    """One image with its annotations, and the file that they are written to."""

    record: Record
    annotations: list[Record]
    path: Path


class Texts(NamedTuple):
    """The text files of a folder."""

    labels: dict[str, Path]  # path of the image without suffix, or of the text itself where it has none -> text
    notes: Problems


class Line(NamedTuple):
    """The numbers of a line, and its file and number for messages."""

    where: str
    numbers: list[float]


def subfolder(folder: Path, name: str) -> Path | None:
    """The folder called ``name`` inside of ``folder``, or else one whose name differs by upper and lower case only."""
    if (folder / name).is_dir() or not folder.is_dir():
        return folder / name if (folder / name).is_dir() else None
    children = (child for child in sorted(folder.iterdir()) if child.name.lower() == name.lower())
    return next((child for child in children if child.is_dir()), None)


def inner_folder(folder: Path, name: str) -> Path:
    """The folder called ``name``, in any case, inside of ``folder``; ``folder`` itself where there is none."""
    return subfolder(folder, name) or folder


def images_beside(path: Path, split: str) -> Path:
    """The folder of the images of a data set that keeps them in JPEGImages or images, beside its annotations."""
    above = path.parent if path.name.lower() == "annotations" else path
    if folder := subfolder(above, "JPEGImages") or subfolder(above, "images"):
        return folder
    if any(child.suffix.lower() in IMAGE_SUFFIXES for child in path.iterdir()):
        return path  # images and annotations side by side
    raise FileNotFoundError(
        f"{above} must have its images in JPEGImages or images; it has neither: set data.{split}.images"
    )


def files_below(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files of a folder and its subfolders by their suffixes, sorted, but hidden ones: macOS has ._a.jpg."""
    return sorted(path for path in _visible_files(folder) if path.suffix.lower() in suffixes)


def _visible_files(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders. Linked folders are entered last, and each folder once."""
    waiting, seen = deque([folder]), set()
    while waiting:
        place = waiting.popleft()
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        for entry in _entries(place):
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield place / entry.name
            elif entry.is_symlink():
                waiting.append(place / entry.name)
            else:
                waiting.appendleft(place / entry.name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where none can be read."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    return []


def image_files(folder: Path) -> dict[str, Path]:
    """Path below ``folder`` without the suffix -> image file, for the images of the folder and its subfolders."""
    if not folder.is_dir():
        raise FileNotFoundError(f"image folder {folder} must exist; there is no such folder: check the path")
    files: dict[str, Path] = {}
    for path in files_below(folder, IMAGE_SUFFIXES):
        stem = stem_of(folder, path)
        if stem in files:
            raise ValueError(f"images must have different names; got {files[stem]} and {path}: rename one")
        files[stem] = path
    return files


def texts_below(folder: Path, stems: Collection[str]) -> Texts:
    """The text files of labels below a folder, for images whose paths without suffix are ``stems``.

    Files without an image that do not begin with a line of numbers, such as lists and notes, are left out.
    """
    paths = {stem_of(folder, path): path for path in files_below(folder, {".txt"}) if path.name not in NO_LABELS}
    texts, names = Texts({}, Problems()), Names(stems)
    for stem, path in paths.items():
        like = names.find(stem)
        if like and (like == stem or (like not in paths and like not in texts.labels)):
            texts.labels[like] = path
            texts.notes.add(SPELLINGS, *([f"{path.name}: {like}"] if like != stem else []))
        elif _has_numbers(_first_line_of(path)):
            texts.labels[stem] = path
        else:
            texts.notes.add("text files that are no labels and have no image (left out)", str(path.relative_to(folder)))
    return texts


def stem_of(folder: Path, path: Path) -> str:
    """The path of a file below ``folder`` without its suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()


def image_ids(stems: Sequence[str]) -> list[int]:
    """Ids of images from their names: the numbers that they are, such as VOC's 000001, else 1, 2, ...

    The numbers must be different, and below 2^63.
    """
    names = [stem.rsplit("/", 1)[-1] for stem in stems]
    numbers = {int(name) for name in names if name.isdecimal()}
    if len(numbers) == len(names) and max(numbers, default=0) < 2**63:
        return [int(name) for name in names]
    return list(range(1, len(names) + 1))


def pages(folder: Path, coco: Record, suffix: str) -> Iterator[Page]:
    """Each image of a data set with its annotations and the file in ``folder`` that is to hold them.

    An image whose name would lead out of the folder is refused.
    """
    grouped: dict[int, list[Record]] = {record["id"]: [] for record in coco["images"]}
    for annotation in coco["annotations"]:
        grouped[annotation["image_id"]].append(annotation)
    taken: dict[str, str] = {}
    for record in coco["images"]:
        name = PurePosixPath(str(record.get("file_name", "")))
        if not name.name or name.is_absolute() or ".." in name.parts:
            got = f"{str(name)!r} of image {record.get('id')}"
            raise ValueError(f"file_name of each image must be a path below the image folder; got {got}: fix the file")
        stem = name.with_suffix("").as_posix()
        if stem in taken:
            raise ValueError(f"images must differ by more than their suffix; got {taken[stem]} and {name}: rename one")
        taken[stem] = str(name)
        path = folder / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        yield Page(record, grouped[record["id"]], path)


def with_regions_apart(coco: Record) -> Record:
    """The data set with its ignored regions, which belong to no class, in a category of their own, a new last one if it
    has none: for formats that cannot mark them.
    """
    ids = {entry["id"] for entry in coco["categories"] if is_region_class(str(entry["name"]))}
    strays = [row for row in coco["annotations"] if row.get("ignored_region") and row["category_id"] not in ids]
    if not strays:
        return coco
    number = min(ids, default=max(entry["id"] for entry in coco["categories"]) + 1)
    categories = [*coco["categories"], *([] if ids else [{"id": number, "name": REGIONS}])]
    annotations = [
        {**row, "category_id": number} if row.get("ignored_region") and row["category_id"] not in ids else row
        for row in coco["annotations"]
    ]
    return {**coco, "annotations": annotations, "categories": categories}


def write_texts(folder: Path, coco: Record, line: Callable[[Record, Record], str]) -> None:
    """Writes a text file for each image, with the ``line(record, annotation)`` of each of its annotations."""
    for page in pages(folder, coco, ".txt"):
        lines = [line(page.record, annotation) + "\n" for annotation in page.annotations]
        page.path.write_text("".join(lines), encoding="utf-8")


def number_text(value: float) -> str:
    """A number as text from which it is read back exactly; whole numbers have no point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def first_line(folder: Path) -> str:
    """The first line of the first text file below ``folder`` that begins with a line of numbers; empty: none does."""
    lines = (_first_line_of(path) for path in files_below(folder, {".txt"}) if path.name not in NO_LABELS)
    return next(filter(_has_numbers, lines), "")


def _first_line_of(path: Path) -> str:
    """The first line of a text file; empty: it cannot be read."""
    with contextlib.suppress(ValueError):  # of another encoding
        return read_text(path).split("\n", 1)[0].strip() if path.is_file() else ""
    return ""


def _has_numbers(line: str) -> bool:
    """Whether most words of a line are numbers: all are in labels, but the reader is to name what is wrong."""
    words, numbers = line.replace(",", " ").split(), 0
    for word in words:
        with contextlib.suppress(ValueError):
            number(word, "")
            numbers += 1
    return 2 * numbers > len(words)


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark."""
    return read_unicode(path, "a text file")


def read_lines(path: Path, separator: str | None, least: int, most: int | None = None) -> Iterator[Line]:
    """The lines of a text file that are not empty, of ``least`` to ``most`` numbers; None: of any number from there."""
    for index, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where, advice = f"{path}, line {index}", "fix the line"
        try:
            numbers = [number(part, where) for part in line.strip().rstrip(",").split(separator)]
        except ValueError:
            numbers = []
            advice = f"{advice}, or, {_CLASS_NAMES}"
        if not numbers or not least <= len(numbers) <= (most or len(numbers)):
            few = str(least) if most == least else f"{least} {f'to {most}' if most else 'or more'}"
            raise ValueError(f"{where} must be {few} numbers; got {shown(line.strip())}: {advice}")
        yield Line(where, numbers)
