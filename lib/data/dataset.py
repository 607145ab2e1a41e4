"""A data set in COCO's form: images in a folder, boxes in one JSON file or a format that is read into this form."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lib.data.cache import ImageCache
from lib.data.formats import coco_json
from lib.data.formats.coco_json import IGNORED, Problems, Record, first_few
from lib.data.formats.registry import read_dataset
from lib.data.image import ImageError, StoredImage, image_size, read_image
from lib.structures import IGNORE, Sample
from lib.utils.lookup import lookup

# The report's ranges, with their lower bounds: square root of the box's area, pixels.
SIZES = {"under 8": 0, "8 to 16": 8, "16 to 32": 16, "32 to 96": 32, "from 96": 96}


class Objects(NamedTuple):
    """Boxes (G, 4) float32 xyxy in pixels of the original image, and labels (G,) int64, 1 .. K-1 or IGNORE."""

    boxes: np.ndarray
    labels: np.ndarray


class CocoDataset:
    """Images with boxes, checked when it is made; an image is opened when it is loaded.

    Boxes that leave their image are clipped to it. Unusable ones (not four finite numbers, no area, outside) are
    dropped and counted. Crowds, and what is marked ``ignore`` or VOC's ``difficult``, get the label IGNORE.

    Args:
        images, cache_mb: the folder of the images, and the memory for decoded ones, in MB.
        annotations: a COCO JSON file, a file or folder as ``read_dataset`` takes, or content in COCO's form.
        classes: names of the wanted categories, in the order of the labels; None for all, by rising id.
        bad_boxes: whether unusable boxes are dropped, or the file is refused because of them.
        skip_missing: leave out images whose file is missing, instead of refusing.
        decode: whether ``load`` reads an image in ``full``, or leaves a StoredImage, of which ``reduced`` JPEGs are
            decoded at the scale that is needed. Images that the cache has room for are read in full.

    Attributes:
        classes, category_ids: names, and the file's own ids; label ``i + 1`` is ``classes[i]``.
        image_ids, files, sizes: by index; sizes are (N, 2) int64 (height, width).
        ground_truth: what an evaluator needs, as COCO has it, without the dropped annotations.
        problems: what was wrong, by kind.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path | Record,
        classes: Iterable[str] | None = None,
        bad_boxes: Literal["drop", "refuse"] = "drop",
        skip_missing: bool = False,
        cache_mb: int = 0,
        decode: Literal["full", "reduced"] = "full",
    ):
        lookup(dict.fromkeys(("drop", "refuse")), bad_boxes, "data.bad_boxes")
        lookup(dict.fromkeys(("full", "reduced")), decode, "data.decode")
        self.folder, self.problems, self.decode = Path(images), Problems(), decode
        if isinstance(annotations, Mapping):
            self.name, content = "annotations", coco_json.checked(annotations, "annotations")
        else:
            self.name, content = str(annotations), read_dataset(annotations, images)
        categories = coco_json.choose_categories(content["categories"], classes, self.name)
        self.classes, self.category_ids = tuple(categories.values()), tuple(categories)
        records = self._present(content["images"], skip_missing)
        self.image_ids = [record["id"] for record in records]
        self.files = [record["file_name"] for record in records]
        self.sizes = np.array([self._size(record) for record in records], np.int64).reshape(-1, 2)
        self._index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        kept = self._usable(content["annotations"], bad_boxes)
        if coco_json.number_annotations(kept):
            self.problems.add("annotation ids missing, double or 0, so numbered anew", f"all {len(kept)}")
        measured = zip(records, self.sizes.tolist(), strict=True)
        self.ground_truth = {
            "images": [{**record, "height": height, "width": width} for record, (height, width) in measured],
            "annotations": kept,
            "categories": [{"id": key, "name": name} for key, name in categories.items()],
        }
        self._index_boxes(kept)
        self._cache = ImageCache(self.sizes, cache_mb)

    def _present(self, records: list[Record], skip_missing: bool) -> list[Record]:
        """The image records whose file is there."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"image folder {self.folder} must exist; there is none: check the path")
        names = [record["file_name"] for record in records]
        missing = {name: None for name in names if not (self.folder / name).is_file()}
        if missing and (not skip_missing or len(missing) == len(records)):
            raise FileNotFoundError(
                f"{self.folder} must hold the {len(records)} images of {self.name}; {len(missing)} are "
                f"missing ({first_few(missing)}): check the folder, or take these images out of the annotations"
            )
        for name in missing:
            self.problems.add("images left out, their file is missing", name)
        return [record for record in records if record["file_name"] not in missing]

    def _size(self, record: Record) -> tuple[int, int]:
        """(height, width) as the file says; where it does not say, that of the image."""
        height, width = record.get("height"), record.get("width")
        if height is None and width is None:
            height, width = read_image(self.folder / record["file_name"]).shape[:2]
        if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
            raise ValueError(
                f"{self.name}: height and width of image {record['file_name']} must be whole numbers from 1; "
                f"got {height!r} and {width!r}: fix the file, or remove both keys to have them measured"
            )
        return height, width

    def _usable(self, annotations: list[Record], bad_boxes: str) -> list[dict[str, Any]]:
        """The annotations of the wanted classes and present images that have a usable box."""
        wanted, kept, bad, sizes = set(self.category_ids), [], Problems(), self.sizes.tolist()
        for annotation in annotations:
            index = self._index_of.get(annotation["image_id"])
            if index is None or annotation["category_id"] not in wanted:
                continue
            box = annotation.get("bbox")
            name = f"annotation {annotation.get('id', '?')} of {self.files[index]}: {box}"
            if fault := coco_json.box_fault(box, *sizes[index]):
                bad.add(fault, name)
                continue
            if coco_json.leaves_image(annotation["bbox"], *sizes[index]):
                self.problems.add("boxes partly outside their image, clipped", name)
            kept.append(coco_json.normalized(annotation))
        if bad and bad_boxes == "refuse":
            raise ValueError(
                f"{self.name} must have boxes with an area inside their images; got {'; '.join(bad.lines())}: "
                "fix them, or set bad_boxes to drop"
            )
        self.problems.update({f"{kind}, dropped": things for kind, things in bad.items()})
        if not kept:
            faults = "; ".join(bad.lines()) or "an empty data set"
            raise ValueError(
                f"{self.name} must have at least one usable box of {first_few(self.classes)}; none of its "
                f"{len(annotations)} annotations is ({faults}): choose another file or other classes"
            )
        return kept

    def _index_boxes(self, kept: list[dict[str, Any]]) -> None:
        """Lays the boxes of all images into flat arrays, in the order of the images."""
        label_of = {category_id: index + 1 for index, category_id in enumerate(self.category_ids)}
        owner = np.array([self._index_of[annotation["image_id"]] for annotation in kept], np.int64)
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

    def objects(self, index: int) -> Objects:
        """The objects of an image, without opening it."""
        part = slice(self._starts[index], self._starts[index + 1])
        return Objects(self._boxes[part].copy(), self._labels[part].copy())

    def load(self, index: int) -> Sample:
        """Opens an image and gives it with its boxes, in pixels of the original image."""
        height, width = self.sizes[index].tolist()
        is_read_later = self.decode == "reduced" and index >= self._cache.num_images
        decode = partial(self._decode, index)
        image = StoredImage((height, width), decode) if is_read_later else self._cache.get(index, self._decode)
        return Sample(image, *self.objects(index), self.image_ids[index], (height, width))

    def _decode(self, index: int, shrink: int = 1) -> np.ndarray:
        path, (height, width) = self.folder / self.files[index], self.sizes[index]
        image = read_image(path, shrink)
        stored = image.shape[:2] if shrink == 1 else image_size(path)
        if stored != (height, width):
            raise ImageError(
                f"image {path} must be as large as {self.name} says, {width}x{height} (width x height); it has "
                f"{stored[1]}x{stored[0]} stored pixels (EXIF rotation is not applied), so boxes would be misplaced"
            )
        return image

    def report(self) -> str:
        """A few lines for a log: images, boxes by class and by size, what was wrong."""
        objects = self._labels != IGNORE
        num_empty = np.count_nonzero(np.diff(self._starts) == 0)
        sides = self._boxes[objects, 2:] - self._boxes[objects, :2]
        numbers, _ = np.histogram(np.sqrt(sides.prod(axis=1)), [*SIZES.values(), np.inf])
        by_size = ", ".join(f"{name} px {number}" for name, number in zip(SIZES, numbers, strict=True))
        counts = {name: np.count_nonzero(self._labels == i) for i, name in enumerate(self.classes, start=1)}
        absent = [name for name, count in counts.items() if not count]
        return "\n".join(
            [
                f"{self.name}: {len(self)} images ({num_empty} without objects), {np.count_nonzero(objects)} boxes "
                f"and {np.count_nonzero(~objects)} ignored regions, {len(self.classes)} classes",
                f"  by size: {by_size}",
                f"  by class: {', '.join(f'{name} {count}' for name, count in counts.items() if count)}",
                *([f"  classes without a box: {len(absent)} ({first_few(absent)})"] if absent else []),
                *(f"  {line}" for line in self.problems.lines()),
            ]
        )
