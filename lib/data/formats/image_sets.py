"""VOC's lists of the images of a split: ``ImageSets/Main/train.txt``, in the folder that holds ``Annotations``."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lib.data.formats.folder import IMAGE_SUFFIXES, read_text
from lib.utils.fields import Problems, shown


def _image_sets(path: Path) -> Path | None:
    """The folder ImageSets that a text file lies in, or in a subfolder of which it does."""
    places = path.parents[:2] if path.suffix == ".txt" and path.is_file() else ()
    return next((place for place in places if place.name.lower() == "imagesets"), None)


def is_image_set(path: Path) -> bool:
    """Whether a path is that of such a list."""
    return _image_sets(path) is not None


def voc_root(path: Path) -> Path:
    """The folder of a VOC data set that is given by one of its lists; else the path itself."""
    folder = _image_sets(path)
    return path if folder is None else folder.parent


def listed_files(path: Path, files: Mapping[str, Path], notes: Problems) -> list[Path]:
    """The XML files of the images that a list names; ``files`` has those of the data set, by their path without .xml.

    Lists of one class have -1, 0 or 1 behind each name, for whether the image shows the class. All images count.
    """
    found, missing = set(), []
    for line in filter(None, map(str.strip, read_text(path).split("\n"))):
        stem = next((name for name in _names(line) if name in files), None)
        if stem is None:
            missing.append(line)
        else:
            found.add(stem)
    if not found:
        such = f"none of its {len(missing)} lines does, such as {shown(missing[0])}" if missing else "it is empty"
        raise ValueError(f"{path} must list images that have an XML file; {such}: fix the list, or give the folder")
    notes.add("images of the list without an XML file (left out)", *missing)
    return [file for stem, file in files.items() if stem in found]


def _names(line: str) -> Iterator[str]:
    """What the name of the image can be in a line: with spaces or without, in quotes, with its suffix."""
    line = line.replace('"', "")
    for name in (line, line.rsplit(None, 1)[0], line.split(None, 1)[0]) if line.strip() else ():
        path = PurePosixPath(name)
        yield name
        yield path.with_suffix("").as_posix() if path.suffix.lower() in IMAGE_SUFFIXES else name
