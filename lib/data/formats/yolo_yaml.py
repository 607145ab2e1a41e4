"""YOLO's data.yaml: the names of the classes, and where the images of a split are."""

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lib.data.formats.folder import IMAGE_SUFFIXES, NO_LABELS, files_below, read_text, subfolder
from lib.data.formats.listing import SPELLINGS, Listing
from lib.utils.fields import MISSING, first_few, shown, text, whole
from lib.utils.yaml_files import read_yaml

log = logging.getLogger(__name__)
YAML = (".yaml", ".yml")
_LIST = re.compile(r"(\s|#.*\n|---)*- ")  # how a YAML begins that is a list


class Description(NamedTuple):
    """The part of a data.yaml that is used."""

    names: dict[int, str]  # class number -> name; empty: none are told
    kpt_shape: tuple[int, int] | None = None  # keypoints of a pose, and the numbers of each
    keys: Mapping[str, Any] = {}  # everything that stands in the file


def read_description(path: Path) -> Description:
    """A data.yaml, checked."""
    try:
        given = read_text(path)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"{path} must be a YAML file; there is no such file: check the path") from None
    if _LIST.match(given):  # before it is read, as it may be too long
        advice = "a list of images with boxes is not read, so convert it to COCO or YOLO"
        raise ValueError(f"{path} must be a mapping with train, val and names; got a list: {advice}")
    content = read_yaml(given, str(path))
    if not isinstance(content, Mapping):
        return Description({})
    return Description(_names(content.get("names"), f"{path}: names"), _kpt_shape(content, path), content)


def description_near(labels: Path, images: Path) -> Description:
    """What the first file in or above the folder of the labels tells of the classes.

    A YAML above them that is not called data.yaml must name the images at a split; or, as the only one, no images that
    are here: its paths are those of another machine.
    """
    unsure: dict[Path, Description] = {}
    for folder in (labels, labels.parent, labels.parent.parent):
        for path in sorted(folder.glob("*.yaml"), key=lambda path: (path.name != "data.yaml", path.name)):
            if (description := _description_of_yolo(path)) is None:
                continue
            is_theirs = path.name == "data.yaml" or folder == labels or _is_of_images(path, description, images)
            if is_theirs:
                log.info("class names from %s", path)
                return description
            if is_theirs is None:
                unsure[path] = description
        lists = [folder / name for name in NO_LABELS if (folder / name).is_file()] + sorted(folder.glob("*.names"))
        for path in lists[:1]:
            log.info("class names from %s", path)
            lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
            return Description({index: text(line, str(path)) for index, line in enumerate(lines)})
    if len(unsure) == 1:
        path, description = unsure.popitem()
        log.info("class names from %s", path)
        return description
    if unsure:
        advice = "none of them names images that are here: rename the right one to data.yaml"
        log.warning("class names not taken from %s: %s", first_few(unsure), advice)
    return Description({})


def _description_of_yolo(path: Path) -> Description | None:
    """What a YAML tells; None: it is of another tool, or names no class."""
    try:
        description = read_description(path)
    except ValueError:
        if path.name == "data.yaml":
            raise
        return None
    return description if description.names else None


def _is_of_images(path: Path, description: Description, images: Path) -> bool | None:
    """Whether a data.yaml names, at a split, images that lie in the folder ``images``, or a folder above it; None: it
    names none that are here.
    """
    images, there = Path(os.path.abspath(images)), []
    for split in ("train", "val", "test"):
        with contextlib.suppress(ValueError, FileNotFoundError):
            there += [place for place in _places(path, description, split) if place.is_dir()]
            there += (split_images(path, description, split) or {}).values()
    if not there:
        return None
    if any(place.is_relative_to(images) or images.is_relative_to(place) for place in there):
        return True
    other = there[0] if there[0].is_dir() else there[0].parent
    log.info("class names not taken from %s: it describes the images in %s", path, other)
    return False


def _names(names: Any, where: str) -> dict[int, str]:
    """Class number -> name, of a list, a mapping, or the one name of a single class."""
    if names is None:
        return {}
    if isinstance(names, str):
        if "," in names or "\n" in names:
            fault = f"{where} must be a list or a mapping; got the text {shown(names)}: write"
            raise ValueError(f"{fault} names: [{', '.join(names.replace(chr(10), ',').split(',')[:3])}]")
        return {0: text(names, where)}
    if not isinstance(names, (Mapping, list)):
        raise ValueError(f"{where} must be a list or a mapping of class names; got {shown(names)}: write names: [a, b]")
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
    result = {}
    for key, name in pairs:
        number = whole(key, f"{where}: the class number", 0, 10**6)
        if isinstance(name, bool) or name is None:
            advice = "put it into quotes, as YAML takes no, yes, on, off and null for other values"
            raise ValueError(f"{where} must be texts; got {name!r} for class {number}: {advice}")
        result[number] = text(str(name) if isinstance(name, float) else name, f"{where}[{number}]")
    return result


def _kpt_shape(content: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    where = f"{path}: kpt_shape"
    if not isinstance(shape, list) or len(shape) != 2:
        raise ValueError(f"{where} must be [number of keypoints, 2 or 3]; got {shown(shape)}: fix the file")
    number, values = (whole(value, where, 0, 10**4) for value in shape)
    return number, values


def split_root(path: Path, description: Description, split: str) -> Path:
    """The folder below which the images of a split are: the one that is named, or the root of several."""
    found = _places(path, description, split)
    return found[0] if len(found) == 1 and found[0].is_dir() else _root(path, description, split, found)


def split_images(path: Path, description: Description, split: str) -> dict[str, Path] | None:
    """Path below ``split_root`` -> image, of a split whose images have their labels each in a place of its own: a list
    of images, several folders, or the one above ``images`` and ``labels``; None: it is one folder of images.
    """
    found = _places(path, description, split)
    if len(found) == 1 and found[0].is_dir() and not subfolder(found[0], "images"):
        return None
    root = split_root(path, description, split)
    images: dict[str, Path] = {}
    for place in found:
        listed = files_below(place, IMAGE_SUFFIXES) if place.is_dir() else _listed(place, root)
        images.update({os.path.relpath(image, root): image for image in listed})
    return images


def _root(path: Path, description: Description, split: str, found: list[Path]) -> Path:
    """The folder that ``path`` of a data.yaml names, or that of the file itself, whichever holds what was found."""
    for root in _roots(path, description):
        if all(place.is_relative_to(root) for place in found):
            return root
    raise ValueError(
        f"{path} must name images below {_roots(path, description)[0]} at {split}; got {first_few(found)}: set path, "
        f"or name one folder, or set data.{split}.images"
    )


def _roots(path: Path, description: Description) -> list[Path]:
    told = description.keys.get("path") or "."
    if not isinstance(told, str):
        raise ValueError(f"{path}: path must be a folder; got {shown(told)}: fix the file")
    folder = Path(os.path.abspath(path.parent))
    roots = dict.fromkeys([*(Path(os.path.normpath(folder / name)) for name in _spellings(told)), folder])
    return [root for root in roots if root.is_dir()]


def _spellings(name: str) -> tuple[str, str]:
    """A path as it stands in a file, and as one of Windows, whose backslashes separate folders."""
    return name, name.replace("\\", "/")


def _places(path: Path, description: Description, split: str) -> list[Path]:
    """The folders and lists of images that a data.yaml names at ``split``."""
    given = description.keys.get(split, MISSING)
    names = given if isinstance(given, list) else [given]
    advice = f"fix it, or set data.{split}.images"
    if not names or not all(isinstance(name, str) and name.strip() and "\0" not in name for name in names):
        must = f"{path} must name a folder of images, a .txt list of images, or several of them at {split}"
        raise ValueError(f"{must}; got {shown(given)}: {advice}")
    found = []
    for name in names:
        # Exporters write ../train/images for the train/images beside the file.
        parts = [part for spelling in _spellings(name) for part in (spelling, spelling.removeprefix("../"))]
        roots = _roots(path, description)
        candidates = [Path(os.path.normpath(root / part)) for part in parts for root in roots]
        there = [place for place in candidates if place.is_dir() or (place.suffix == ".txt" and place.is_file())]
        if not there:
            fault = f"{shown(name)} is not in {roots[0]}"
            raise FileNotFoundError(f"{path} must name a folder of images or a .txt list at {split}; {fault}: {advice}")
        found.append(there[0])
    return found


def _listed(path: Path, root: Path) -> list[Path]:
    """The images that a text file lists, by paths that count from the root or from the file's own folder."""
    found, missing, others, listing = [], [], [], Listing(root)
    for line in filter(None, map(str.strip, read_text(path).split("\n"))):
        name = line.replace("\\", "/")
        inner = name.partition("/")[2]  # data/obj_train_data/a.jpg of Darknet, where data is the root
        places = [base / part for part in (name, inner) for base in (root, path.parent) if part and "\0" not in part]
        there = next((Path(os.path.normpath(place)) for place in places if place.is_file()), None)
        spellings = (listing.find(os.path.relpath(place, root)) for place in places)
        if there is None and (other := next(filter(None, spellings), None)):
            there = root / other
            others.append(f"{name}: {other}")
        if there is None:
            missing.append(line)
        elif not there.is_relative_to(root):
            raise ValueError(f"{path} must list images inside of {root}; got {shown(line)}: set path in the data.yaml")
        else:
            found.append(there)
    if others:
        log.warning("%s: %s: %d (%s)", path, SPELLINGS, len(others), first_few(others))
    if missing or not found:
        such = f"{len(missing)} are missing, such as {shown(missing[0])}" if missing else "it is empty"
        raise FileNotFoundError(f"{path} must list image files below {root}; {such}: fix the list")
    return found
