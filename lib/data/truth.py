"""The objects that an evaluation judges: the same ones of a file, whichever script reads it."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.depth import PERCENTILE
from lib.data.formats.content import Content
from lib.data.formats.registry import read_content
from lib.data.formats.usable import usable_objects
from lib.data.image import ImageError, ImageFile, Reading
from lib.utils.fields import Problems, one_line

log = logging.getLogger(__name__)


def read_truth(
    path: str | Path, images: str | Path | None = None, split: str = "val", orientation: str | None = None
) -> dict[str, Any]:
    """A data set for an evaluator, without the boxes that cannot be used, as ``CocoDataset`` drops them too.

    What is dropped or read otherwise than it stands in the file is logged. Sizes that the file does not tell are
    those of the files in ``images``; where these are not there either, no box counts as outside of its image.
    """
    content = read_content(path, images, split=split, orientation=orientation)
    dropped = Problems()
    is_usable = usable_objects(content, image_sizes(content, images), dropped)
    problems = {**content.problems, **{f"{kind}, dropped": things for kind, things in dropped.items()}}
    for line in Problems(problems).lines():
        log.warning("%s: %s", one_line(path), line)
    return content._replace(objects=content.objects.select(is_usable)).to_coco()


def image_sizes(content: Content, images: str | Path | None) -> dict[int, tuple[float, float]]:
    """Image id -> (height, width), infinite where neither the annotations nor a readable file in ``images`` tell it."""
    sizes: dict[int, tuple[float, float]] = {}
    for record in content.images:
        sizes[record["id"]] = (np.inf, np.inf)
        file = Path() if images is None else Path(images) / record["file_name"]
        if None not in (record["height"], record["width"]) or file.is_file():
            with contextlib.suppress(ImageError, OSError):
                sizes[record["id"]] = content.size(record, file)
    return sizes


def picture_reader(dataset: Mapping[str, Any], folder: Path) -> Callable[[str], np.ndarray | None]:
    """A function from the name of an image in ``folder`` to its pixels (H, W, 3) uint8 BGR, which the boxes of a
    ``read_truth`` count; None: it cannot be read. They are for people to look at: what becomes black and white in an
    image of more than 8 bits is chosen for each image.
    """
    records = {record["file_name"]: record for record in dataset["images"]}

    def read(name: str) -> np.ndarray | None:
        try:
            file = ImageFile(folder / name, Reading(depth=PERCENTILE))
            told = records[name]["height"], records[name]["width"]
            default = None in told if dataset["upright"] is None else dataset["upright"]
            return file.pixels(upright=file.header.is_upright(told, default))
        except (ValueError, OSError):
            return None

    return read
