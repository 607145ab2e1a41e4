"""A data set in COCO's format: images in a folder, boxes in one JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lib.data.cache import ImageCache
from lib.data.formats.coco_json import (
    Problems,
    box_fault,
    check_references,
    check_structure,
    choose_categories,
    first_few,
    normalised,
    number_annotations,
)
from lib.data.formats.folder import image_size
from lib.data.formats.registry import read_dataset
from lib.data.image import ImageError, StoredImage, read_image
from lib.structures import IGNORE, Sample

SIZE_BOUNDS = (8, 16, 32, 96)  # of the report's ranges: square root of the box's area, pixels
IGNORED = ("iscrowd", "ignore", "difficult")  # flags of regions that are neither learned nor unlearned
CLIP_TOLERANCE = 1.0  # pixels that a box may leave its image by without being counted; rounding does that


class CocoDataset:
    """Images with boxes, checked when it is made; an image is opened when it is loaded.

    Boxes that leave their image are clipped to it; useless ones (not four finite numbers, no area, outside)
    are dropped and counted. Crowds, and what is marked ``ignore`` or VOC's ``difficult``, get the label IGNORE.
    Images without objects stay.

    Args:
        images: the folder of the images.
        annotations: a COCO JSON file, a file or folder as ``read_dataset`` takes, or content in COCO's form.
        classes: names of the wanted categories, in the order of the labels; None for all, by rising id.
        bad_boxes: whether useless boxes are dropped, or the file is refused for them.
        skip_missing: leave images out whose file is not there, instead of refusing.
        cache_mb: memory for decoded images, in MB.
        decode: whether ``load`` reads an image in ``full``, or leaves a StoredImage, of which ``reduced`` JPEGs are
            decoded at the scale that is needed. What the cache has room for is read in full.

    Attributes:
        classes: names; label ``i + 1`` is ``classes[i]``.
        category_ids: the file's own ids; label ``i + 1`` is ``category_ids[i]``.
        image_ids: by index.
        sizes: (N, 2) int64 (height, width) by index.
        ground_truth: what an evaluator needs, as COCO has it: images, annotations (boxes as in the file,
            without the dropped ones) and categories.
        problems: what was found wrong, by kind.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path | Mapping[str, Any],
        classes: Iterable[str] | None = None,
        bad_boxes: Literal["drop", "refuse"] = "drop",
        skip_missing: bool = False,
        cache_mb: int = 0,
        decode: Literal["full", "reduced"] = "full",
    ):
        self.folder = Path(images)
        self.name = "annotations" if isinstance(annotations, Mapping) else str(annotations)
        self.problems = Problems()
        content = annotations
        if isinstance(annotations, Mapping):
            check_structure(content, self.name)
            check_references(content, self.name)
        else:
            content = read_dataset(annotations, images)
        categories = choose_categories(content["categories"], classes, self.name)
        self.classes, self.category_ids = tuple(categories.values()), tuple(categories)
        records = self._present(content["images"], skip_missing)
        self.image_ids = [record["id"] for record in records]
        self.files = [record["file_name"] for record in records]
        self.sizes = np.array([self._size(record) for record in records], np.int64).reshape(-1, 2)
        kept = self._good(content["annotations"], bad_boxes)
        if number_annotations(kept):
            self.problems.add("annotation ids missing, double or 0, so numbered anew", f"all {len(kept)}")
        self.ground_truth = {
            "images": [
                {**record, "height": int(height), "width": int(width)}
                for record, (height, width) in zip(records, self.sizes, strict=True)
            ],
            "annotations": kept,
            "categories": [{"id": key, "name": name} for key, name in categories.items()],
        }
        self._index_boxes(kept)
        self._cache, self.decode = ImageCache(self.sizes, cache_mb), decode
        if decode not in ("full", "reduced"):
            raise ValueError(f"data.decode must be full or reduced; got {decode!r}")

    def _present(self, records: list[Mapping[str, Any]], skip_missing: bool) -> list[Mapping[str, Any]]:
        """The image records whose file is there."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"image folder {self.folder} must exist; there is none: check the path")
        missing = [
            record["file_name"] for record in records if not (self.folder / record["file_name"]).is_file()
        ]
        if missing and (not skip_missing or len(missing) == len(records)):
            raise FileNotFoundError(
                f"{self.folder} must hold the {len(records)} images of {self.name}; {len(missing)} are "
                f"missing ({first_few(missing)}): check the folder, or set skip_missing to leave out a few"
            )
        for name in missing:
            self.problems.add("images left out, their file is missing", name)
        absent = set(missing)
        return [record for record in records if record["file_name"] not in absent]

    def _size(self, record: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width) as the file says; as the image is, where it does not say."""
        size = record.get("height"), record.get("width")
        if size == (None, None):
            return read_image(self.folder / record["file_name"]).shape[:2]
        if not all(isinstance(value, int) and value > 0 for value in size):
            raise ValueError(
                f"{self.name}: height and width of image {record['file_name']} must be whole numbers from 1; "
                f"got {size[0]!r} and {size[1]!r}: mend the file, or remove both keys to have them measured"
            )
        return size

    def _good(self, annotations: list[Mapping[str, Any]], bad_boxes: str) -> list[dict[str, Any]]:
        """The annotations of the wanted classes and present images whose box is of use."""
        if bad_boxes not in ("drop", "refuse"):
            raise ValueError(f"bad_boxes must be drop or refuse; got {bad_boxes!r}")
        index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        wanted, kept, bad, sizes = set(self.category_ids), [], Problems(), self.sizes.tolist()
        for annotation in annotations:
            index = index_of.get(annotation["image_id"])
            if index is None or annotation["category_id"] not in wanted:
                continue
            box, (height, width) = annotation.get("bbox"), sizes[index]
            fault = box_fault(box, height, width)
            if fault:
                bad.add(fault, self._named(annotation, index))
                continue
            x, y, w, h = box
            if max(-x, -y, x + w - width, y + h - height) > CLIP_TOLERANCE:
                self.problems.add("boxes partly outside their image, clipped", self._named(annotation, index))
            kept.append(normalised(annotation))
        if bad and bad_boxes == "refuse":
            raise ValueError(
                f"{self.name} must have boxes with an area inside their images; got {'; '.join(bad.lines())}"
                ": mend them, or set bad_boxes to drop"
            )
        self.problems.update({f"{kind}, dropped": things for kind, things in bad.items()})
        if not kept:
            raise ValueError(
                f"{self.name} must have at least one usable box of {first_few(self.classes)}; none of its "
                f"{len(annotations)} annotations is ({'; '.join(bad.lines()) or 'an empty data set'}): "
                "choose another file or other classes"
            )
        return kept

    def _named(self, annotation: Mapping[str, Any], index: int) -> str:
        """An annotation, its image and its box, for a message."""
        return f"annotation {annotation.get('id', '?')} of {self.files[index]}: {annotation.get('bbox')}"

    def _index_boxes(self, kept: list[dict[str, Any]]) -> None:
        """Lays the boxes of all images into flat arrays, in the order of the images."""
        index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        label_of = {category_id: index + 1 for index, category_id in enumerate(self.category_ids)}
        owner = np.array([index_of[annotation["image_id"]] for annotation in kept], np.int64)
        order = np.argsort(owner, kind="stable")
        boxes = np.array([annotation["bbox"] for annotation in kept], np.float64)[order]
        boxes[:, 2:] += boxes[:, :2]  # xywh -> xyxy
        limits = self.sizes[owner[order]][:, [1, 0, 1, 0]]
        ignored = np.array([any(annotation.get(key) for key in IGNORED) for annotation in kept])
        labels = np.array([label_of[annotation["category_id"]] for annotation in kept], np.int64)
        self._boxes = np.clip(boxes, 0, limits).astype(np.float32)
        self._labels = np.where(ignored, IGNORE, labels)[order]
        self._starts = np.searchsorted(owner[order], np.arange(len(self.image_ids) + 1))

    def __len__(self) -> int:
        return len(self.image_ids)

    def objects(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (G, 4) float32 xyxy and labels (G,) int64 of an image, without opening it."""
        part = slice(self._starts[index], self._starts[index + 1])
        return self._boxes[part].copy(), self._labels[part].copy()

    def load(self, index: int) -> Sample:
        """Opens an image and gives it with its boxes, in pixels of the original image."""
        boxes, labels = self.objects(index)
        size = tuple(self.sizes[index].tolist())
        is_read_later = self.decode == "reduced" and index >= self._cache.num_images
        image = StoredImage(size, partial(self._decode, index)) if is_read_later else self.read_pixels(index)
        return Sample(image, boxes, labels, self.image_ids[index], size)

    def read_pixels(self, index: int) -> np.ndarray:
        """The stored pixels of an image (H, W, 3) uint8 BGR, from the cache if it is there; maybe read-only."""
        return self._cache.get(index, self._decode)

    def _decode(self, index: int, shrink: int = 1) -> np.ndarray:
        path, (height, width) = self.folder / self.files[index], self.sizes[index]
        image = read_image(path, shrink)
        stored = image.shape[:2] if shrink == 1 else image_size(path)
        if stored != (height, width):
            raise ImageError(
                f"image {path} must be as large as {self.name} says, {width}x{height} (width x height); "
                f"it has {stored[1]}x{stored[0]} stored pixels (EXIF rotation is not applied), so "
                "boxes would be misplaced: mend the file"
            )
        return image

    def report(self) -> str:
        """A few lines for a log: images, boxes by class and by size, what was wrong."""
        objects = self._labels != IGNORE
        empty = np.diff(self._starts) == 0
        widths, heights = (self._boxes[objects, 2:] - self._boxes[objects, :2]).T
        bins = np.searchsorted(SIZE_BOUNDS, np.sqrt(widths * heights), side="right")
        names = [
            f"under {SIZE_BOUNDS[0]}",
            *(f"{a} to {b}" for a, b in zip(SIZE_BOUNDS, SIZE_BOUNDS[1:], strict=False)),
        ]
        names.append(f"from {SIZE_BOUNDS[-1]}")
        by_size = ", ".join(f"{name} px {np.count_nonzero(bins == i)}" for i, name in enumerate(names))
        counts = [np.count_nonzero(self._labels == label + 1) for label in range(len(self.classes))]
        by_class = ", ".join(
            f"{name} {count}" for name, count in zip(self.classes, counts, strict=True) if count
        )
        absent = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        return "\n".join(
            [
                f"{self.name}: {len(self)} images ({empty.sum()} without objects), {objects.sum()} boxes "
                f"and {np.count_nonzero(~objects)} ignored regions, {len(self.classes)} classes",
                f"  by size: {by_size}",
                f"  by class: {by_class}",
                *([f"  classes without a box: {len(absent)} ({first_few(absent)})"] if absent else []),
                *(f"  {line}" for line in self.problems.lines()),
            ]
        )
