"""A data set in COCO's form: images in a folder, boxes in one JSON file or a format that is read into this form."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lib.data.cache import ImageCache
from lib.data.formats.coco_json import IGNORED
from lib.data.formats.content import Content, Record, content_of
from lib.data.formats.listing import Listing
from lib.data.formats.registry import read_content
from lib.data.formats.usable import (
    choose_categories,
    distinct_categories,
    leaves_image,
    number_objects,
    object_text,
    objects_of,
    usable_objects,
)
from lib.data.header import file_header
from lib.data.image import DARK_IMAGES, PAGED_IMAGES, ImageError, ImageFile, Reading, StoredImage
from lib.structures import IGNORE, Sample
from lib.utils.fields import Problems, first_few, reading
from lib.utils.lookup import lookup
from lib.utils.objects import ObjectTable, places_of

# The report's ranges, with their lower bounds: square root of the box's area, pixels.
SIZES = {"under 8": 0, "8 to 16": 8, "16 to 32": 16, "32 to 96": 32, "from 96": 96}
LOOKED_AT, DECODED = 64, 8  # files whose headers are looked at when a data set is made, in equal steps; and pixels


class Objects(NamedTuple):
    """Boxes (G, 4) float32 xyxy in pixels of the original image, and labels (G,) int64, 1 .. K-1 or IGNORE."""

    boxes: np.ndarray
    labels: np.ndarray


class CocoDataset:
    """Images with boxes, checked when it is made; an image is opened when it is loaded.

    Boxes that leave their image are clipped to it. Unusable ones (not four finite numbers, no area, outside) are
    dropped and counted. Crowds, and what is marked ``ignore``, ``uncertain`` or ``difficult``, get the label IGNORE.

    Args:
        images, cache_mb: the folder of the images, and the memory for decoded ones, in MB.
        annotations: a COCO JSON file, a file or folder as ``read_dataset`` takes, or content in COCO's form.
        classes: names of the wanted categories, in the order of the labels; None for all, by rising id, but no ignored
            regions.
        add_classes: whether some of ``classes`` may have no category here, as those that training has and the
            validation set lacks; they get one.
        split: train or val, of a data.yaml.
        bad_boxes: whether unusable boxes are dropped, or the file is refused because of them.
        decode: whether ``load`` reads an image in ``full``, or leaves a StoredImage, of which ``reduced`` JPEGs are
            decoded at the scale that is needed. Images that the cache has room for are read in full.
        orientation: as_stored or upright: the pixels that boxes count, where the EXIF data of an image have an
            orientation and the sizes in the annotations do not tell; None: as the format's tools have it.
        way: how images become 8-bit ones of three channels.

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
        cache_mb: int = 0,
        decode: Literal["full", "reduced"] = "full",
        add_classes: bool = False,
        split: str = "train",
        orientation: Literal["as_stored", "upright"] | None = None,
        way: Reading | None = None,
    ):
        lookup(dict.fromkeys(("drop", "refuse")), bad_boxes, "data.bad_boxes")
        lookup(dict.fromkeys(("full", "reduced")), decode, "data.decode")
        self.folder, self.decode, self._way = Path(images), decode, way or Reading()
        self.name = "annotations" if isinstance(annotations, Mapping) else str(annotations)
        with reading(self.name):
            if isinstance(annotations, Mapping):
                content = content_of(annotations, self.name, images)
                upright = {None: content.upright, "as_stored": False, "upright": True}
                content = content._replace(upright=lookup(upright, orientation, "data.orientation"))
            else:
                content = read_content(annotations, images, split=split, orientation=orientation)
            self.problems = content.problems
            own = distinct_categories(content, self.problems)
            categories = choose_categories(own, classes, self.name, add_classes)
            self.classes, self.category_ids = tuple(categories.values()), tuple(categories)
            own_ids = {entry["id"] for entry in own}
            records = content.images
            self._check_files(records)
            self.image_ids = [record["id"] for record in records]
            self.files = [record["file_name"] for record in records]
            self._upright = [content.is_upright(record) for record in records]  # where sizes do not tell
            sizes = [content.size(record, self.folder / record["file_name"]) for record in records]
            self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
            kept = self._usable(content, bad_boxes)
        measured = zip(records, self.sizes.tolist(), strict=True)
        self.ground_truth = {
            "images": [{**record, "height": height, "width": width} for record, (height, width) in measured],
            "annotations": kept,
            "categories": [
                {"id": key, "name": name} | ({} if key in own_ids else {"is_added": True})
                for key, name in categories.items()
            ],
        }
        self._index_boxes(kept)
        self._cache = ImageCache(self.sizes, cache_mb)
        self._note_readings(is_chosen=orientation is not None)

    def _check_files(self, records: list[dict[str, Any]]) -> None:
        """Refuses records of images whose file is missing."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"image folder {self.folder} must exist; there is no such folder: check the path")
        listing = Listing(self.folder)
        names = [record["file_name"] for record in records]
        missing = {name: None for name in names if not listing.has(name)}
        if missing:
            raise FileNotFoundError(
                f"{self.folder} must hold the {len(records)} images of {self.name}; {len(missing)} are "
                f"missing ({first_few(missing)}): check the folder (HEIC is not read), or remove these images from the "
                "annotations, in VOC their XML files"
            )

    def _usable(self, content: Content, bad_boxes: str) -> ObjectTable:
        """The objects of the wanted classes and present images that have a usable box."""
        num_annotations = len(content.objects)
        self._note_others(content)
        content = objects_of(content, self.category_ids)
        sizes = dict(zip(self.image_ids, self.sizes.tolist(), strict=True))
        is_here = np.isin(content.objects.columns.image_id, np.array(self.image_ids, np.int64))
        content = content._replace(objects=content.objects.select(is_here))
        bad = Problems()
        is_usable = usable_objects(content, sizes, bad)
        if bad and bad_boxes == "refuse":
            raise ValueError(
                f"{self.name} must have boxes with an area inside their images; got {'; '.join(bad.lines())}: "
                "fix them, or set data.bad_boxes=drop"
            )
        self.problems.update({f"{kind}, dropped": things for kind, things in bad.items()})
        if not (is_usable & ~content.objects.has_any(["ignored_region"])).any():
            faults = "; ".join(bad.lines()) or "none is of these classes and in an image that is there"
            got = f"{num_annotations} annotations, none of them usable ({faults}): choose another file or other classes"
            if not num_annotations:
                got = "no annotations: check where the label files are, see docs/data.md"
            raise ValueError(
                f"{self.name} must have at least one usable box of the classes {first_few(self.classes)}; got {got}"
            )
        content = content._replace(objects=content.objects.select(is_usable))
        self._note_clipped(content)
        table, is_new = number_objects(content.objects)
        if is_new:
            self.problems.add("annotation ids missing, duplicate or 0; all were renumbered", f"all {len(table)}")
        return table

    def _note_others(self, content: Content) -> None:
        """Notes the classes that have objects but are not wanted."""
        names = {category["id"]: category["name"] for category in content.categories}
        objects = content.objects.columns.category_id[~content.objects.has_any(["ignored_region"])]
        ids, counts = np.unique(objects[~np.isin(objects, self.category_ids)], return_counts=True)
        others = [f"{names[key]}, {n} boxes" for key, n in zip(ids.tolist(), counts.tolist(), strict=True)]
        self.problems.add("classes not in data.classes or in the training set, left out", *others)

    def _note_clipped(self, content: Content) -> None:
        columns = content.objects.columns
        files = dict(zip(self.image_ids, self.files, strict=True))
        limits = self.sizes[places_of(self.image_ids, columns.image_id)]
        rows = np.flatnonzero(leaves_image(columns.xywh, limits)).tolist()
        texts = (object_text(content, files, row) for row in rows)
        self.problems.add("boxes partly outside their image, clipped", *texts)

    def _index_boxes(self, kept: ObjectTable) -> None:
        """Lays the boxes of all images into flat arrays, in the order of the images."""
        columns = kept.columns
        owner = places_of(self.image_ids, columns.image_id)
        order = np.argsort(owner, kind="stable")
        boxes = columns.xywh[order]
        boxes[:, 2:] += boxes[:, :2]  # xywh -> xyxy
        limits = self.sizes[owner[order]][:, [1, 0, 1, 0]]
        labels = places_of(self.category_ids, columns.category_id) + 1
        self._boxes = np.clip(boxes, 0, limits).astype(np.float32)
        self._labels = np.where(kept.has_any(IGNORED), IGNORE, labels)[order]
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
        path, size = self.folder / self.files[index], tuple(self.sizes[index].tolist())
        file = ImageFile(path, self._way)
        upright = file.header.is_upright(size, self._upright[index])
        image = file.pixels(shrink, upright)
        stored = image.shape[:2] if shrink == 1 else file.size(upright)
        if stored != size:
            raise ImageError(
                f"image {path} must be as large as {self.name} says, {size[1]}x{size[0]} (width x height); it has "
                f"{stored[1]}x{stored[0]} stored pixels, so boxes would be misplaced: fix the size, or the image"
            )
        return image

    def _note_readings(self, is_chosen: bool) -> None:
        """Notes, for a part of the files, what a reader may have to choose; ``is_chosen``: the orientation is. Refuses
        files of another size than the annotations tell.
        """
        deep, others = 0, []
        for index in np.unique(np.linspace(0, len(self.files) - 1, LOOKED_AT).astype(int)).tolist():
            name = self.files[index]
            try:
                header = file_header(self.folder / name)
                if header is None:
                    continue
                size, upright = tuple(self.sizes[index].tolist()), self._upright[index]
                if size != (header.upright_size if header.is_upright(size, upright) else header.size):
                    others.append(index)
                is_told = header.is_upright(size, True) == header.is_upright(size, False)
                if header.orientation != 1 and not is_told and not is_chosen:
                    way = "upright" if upright else "as stored"
                    self.problems.add(f"images with an EXIF orientation, read {way} (see data.orientation)", name)
                self.problems.add(PAGED_IMAGES, *([name] if header.has_pages else []))
                if header.bits > 8 and deep < DECODED:
                    deep += 1
                    file = ImageFile(self.folder / name, self._way)
                    file.pixels()
                    self.problems.add(DARK_IMAGES, *([name] if file.is_dark else []))
            except (ImageError, OSError):  # ``load`` says what is wrong with it
                continue
        for index in others[:DECODED]:
            self._decode(index)  # it says what is wrong

    def check_objects(self) -> None:
        """Refuses a data set to train on in which all boxes are crowds or ignored."""
        if (self._labels == IGNORE).all():
            raise ValueError(
                f"{self.name} must have objects to learn; all {len(self._labels)} usable boxes of the classes "
                f"{first_few(self.classes)} are marked iscrowd, ignore, difficult or uncertain, which training passes "
                "over: set iscrowd to 0, or, from CVAT, which exports masks as crowds, export polygons or boxes"
            )

    def report(self) -> str:
        """A few lines for a log: images, boxes by class and by size, what was wrong."""
        objects = self._labels != IGNORE
        num_empty = np.count_nonzero(np.diff(self._starts) == 0)
        sides = self._boxes[objects, 2:] - self._boxes[objects, :2]
        numbers, _ = np.histogram(np.sqrt(sides.prod(axis=1)), [*SIZES.values(), np.inf])
        by_size = ", ".join(f"{name} px: {number}" for name, number in zip(SIZES, numbers, strict=True))
        counts = {name: np.count_nonzero(self._labels == i) for i, name in enumerate(self.classes, start=1)}
        absent = [name for name, count in counts.items() if not count]
        return "\n".join(
            [
                f"{self.name}: {len(self)} images ({num_empty} without objects), {np.count_nonzero(objects)} boxes, "
                f"{np.count_nonzero(~objects)} more that training ignores (crowds, ignore, difficult, uncertain), "
                f"{len(self.classes)} classes",
                f"  by size: {by_size}",
                f"  by class: {', '.join(f'{name} {count}' for name, count in counts.items() if count)}",
                *([f"  classes without a box: {len(absent)} ({first_few(absent)})"] if absent else []),
                *(f"  {line}" for line in self.problems.lines()),
            ]
        )
