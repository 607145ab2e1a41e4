"""From a config to images: sizes, data sets, augmentation, batches; ``lib/build.py`` builds the rest."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from lib.data.augment.geometric import Resize
from lib.data.augment.presets import Compose, build_transform
from lib.data.dataset import CocoDataset
from lib.data.depth import check_bands, check_depth
from lib.data.formats.layouts import LAYOUTS, has_split, open_layout
from lib.data.formats.listing import real_paths
from lib.data.formats.registry import find_images
from lib.data.image import Reading
from lib.data.loader import Loader
from lib.data.weighting import aspect_groups, times_of
from lib.models.cost import largest_stride
from lib.models.detector import Detector
from lib.utils.fields import first_few
from lib.utils.runtime import choose_device

log = logging.getLogger(__name__)


def input_size(cfg: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of the network's input in training."""
    return _size(cfg, "size")


def testing_size(cfg: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of the network's input in testing; where images keep their size, of the largest."""
    return _size(cfg, "size" if cfg["input"]["test_size"] is None else "test_size")


def testing_mode(cfg: Mapping[str, Any]) -> str:
    """How an image becomes the network's input in testing: a mode of lib/data/fit.py."""
    mode: str = cfg["input"]["test_resize"] or cfg["input"]["resize"]
    return mode


def testing_scale(cfg: Mapping[str, Any]) -> float:
    """Pixels of the network's input for one of the image, in testing, where images are not fitted to a size."""
    scale: float = cfg["input"]["test_scale"]
    if not 0.1 <= scale <= 10:
        raise ValueError(f"input.test_scale must be in 0.1 .. 10, such as 2.0; got {scale}")
    if scale != 1 and not has_many_sizes(cfg):
        raise ValueError(
            f"input.test_scale must be 1 where images are made to fit a size; got {scale}: choose "
            "input.test_resize=native too"
        )
    return scale


def _size(cfg: Mapping[str, Any], key: str) -> tuple[int, int]:
    size = cfg["input"][key]
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"input.{key} must be [height, width] in pixels, such as [300, 300]; got {size}")
    return size[0], size[1]


def describe_sizes(cfg: Mapping[str, Any]) -> str:
    """A line for the log: what the network sees of images in training and in testing."""
    training, testing, augment = input_size(cfg), testing_size(cfg), cfg["data"]["augment"]
    steps = augment if isinstance(augment, str) else f"{len(augment)} steps"
    in_training = f"{_seen(cfg['input']['resize'])} {training[0]}x{training[1]}, after augmentation ({steps})"
    in_testing = f"{_seen(testing_mode(cfg), testing_scale(cfg))} {testing[0]}x{testing[1]}"
    return f"images (height x width): in training {in_training}; in testing {in_testing}"


def _seen(mode: str, scale: float = 1.0) -> str:
    """What a resize mode does to images, in words before the size."""
    if mode == "native":
        return f"at {'their own size' if scale == 1 else f'{scale:g} times their size'}, up to"
    return {"stretch": "stretched to", "letterbox": "padded to"}[mode]


def build_reading(cfg: Mapping[str, Any]) -> Reading:
    """How ``input`` has images read."""
    options = cfg["input"]
    depth, bands = check_depth(options["depth"], "input.depth"), check_bands(options["bands"], "input.bands")
    return Reading(depth, bands, options["max_pixels"])


def has_data(cfg: Mapping[str, Any], split: str) -> bool:
    """Whether the config names the data of ``train`` or ``val``."""
    return bool(cfg["data"][split]["annotations"]) or has_split(cfg["data"]["layout"], split)


def build_dataset(cfg: Mapping[str, Any], split: str, classes: Iterable[str] | None = None) -> CocoDataset:
    """The images and boxes of ``data.train`` or ``data.val``, or else of the split of ``data.layout``. ``classes``
    are in the order of their labels; None: ``data.classes``, or those of the annotations. Some of them may be
    missing in ``val``, where they have no box.
    """
    data = cfg["data"]
    images, annotations = data[split]["images"], data[split]["annotations"]
    if annotations:
        images = images or find_images(annotations, split)
    elif has_split(data["layout"], split):
        folder, annotations = open_layout(data["layout"], data["root"], split)
        images = images or folder
    else:
        raise ValueError(
            f"data.{split}.annotations must be a COCO JSON file, a YOLO data.yaml, or a folder of VOC, YOLO or VisDrone"
            f" files; got null: add data.{split}.annotations=PATH, or choose data.layout from {', '.join(LAYOUTS)}"
        )
    for_training = {"cache_mb": data["cache_mb"], "decode": data["decode"]} if split == "train" else {}
    options = {"bad_boxes": data["bad_boxes"], "add_classes": split == "val", "split": split, **for_training}
    options |= {"orientation": data["orientation"], "way": build_reading(cfg)}
    dataset = CocoDataset(images, annotations, classes or data["classes"], **options)
    if split == "train":
        dataset.check_objects()
    return dataset


def warn_of_overlap(train: CocoDataset, val: CocoDataset) -> None:
    """Warns of images that are in both sets."""
    files = real_paths(val.folder, val.files)
    if shared := sorted(files & real_paths(train.folder, train.files)):
        log.warning(
            "%d of the %d validation images are training images too, so their AP is that of images the network has "
            "seen (%s)",
            *(len(shared), len(files), first_few(shared)),
        )


def _fill(cfg: Mapping[str, Any]) -> list[float]:
    """(3,) BGR: the color of padding, which is the mean that the network subtracts."""
    mean = cfg["input"]["mean"]
    return mean if cfg["input"]["channels"] == "bgr" else mean[::-1]


def build_augmentation(cfg: Mapping[str, Any]) -> Compose:
    """What makes a sample of the network's size in training, by ``data.augment``."""
    return build_transform(cfg["data"]["augment"], input_size(cfg), _fill(cfg), resize=cfg["input"]["resize"])


def has_many_sizes(cfg: Mapping[str, Any]) -> bool:
    """Whether the network's inputs are of several sizes in testing, because images keep theirs."""
    return testing_mode(cfg) == "native"


def build_resize(cfg: Mapping[str, Any], detector: Detector | None = None) -> Resize:
    """What makes an image the network's input in testing. Without a ``detector`` all inputs are of one size, as an
    exported model wants them.
    """
    size, mode, scale = testing_size(cfg), testing_mode(cfg), testing_scale(cfg)
    if not has_many_sizes(cfg) or detector is None:
        return Resize(size, _fill(cfg), mode, scale=scale)
    least = input_size(cfg)  # which is known to leave a map for each level
    return Resize(size, _fill(cfg), mode, largest_stride(detector, least), least, scale)


def build_loader(cfg: Mapping[str, Any], dataset: CocoDataset, rank: int = 0, world_size: int = 1) -> Loader:
    """Batches for training, augmented and shuffled. The processes (``rank`` of ``world_size``) share
    ``train.batch_size``, and each takes its part in ``train.accumulate`` batches.
    """
    data, train = cfg["data"], cfg["train"]
    return Loader(
        dataset,
        build_augmentation(cfg),
        _part_size(train["batch_size"], world_size, train["accumulate"]),
        cfg["input"]["channels"],
        num_workers=data["workers"],
        pinned=choose_device(cfg["run"]["device"]).type == "cuda",
        seed=cfg["run"]["seed"],
        rank=rank,
        world_size=world_size,
        drop_last=True,
        accumulate=train["accumulate"],
        times=times_of(dataset, data["oversample_small"], data["repeat_rare"]),
        groups=aspect_groups(dataset.sizes, data["aspect_groups"]),
    )


def _part_size(batch_size: int, world_size: int, accumulate: int) -> int:
    """Images of one of the ``accumulate`` parts of one process."""
    parts = world_size * max(accumulate, 1)
    if accumulate < 1 or batch_size < 1 or batch_size % parts:
        raise ValueError(
            f"train.batch_size must be a multiple of {parts}, {world_size} processes times train.accumulate="
            f"{accumulate} (1 or more); got {batch_size}: choose such as {max(batch_size // parts, 1) * parts}"
        )
    return batch_size // parts
