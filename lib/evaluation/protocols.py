"""The protocols of evaluation: sizes, IoU thresholds, numbers of detections, and what the numbers are called.

A range is (lowest, highest) area in square pixels of the original image, both bounds inclusive, so an object
of exactly 32^2 px is small and medium, as in the reference of COCO. The first range is the headline's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lib.evaluation.options import HUGE, check_limits, check_range, check_thresholds
from lib.utils.lookup import lookup

COCO_IOU = tuple(np.linspace(0.5, 0.95, 10).tolist())  # to the last bit: 0.05 steps would differ
COCO_LIMITS = (1, 10, 100)


class Metric(NamedTuple):
    """Where a number lies in the arrays of an evaluation.

    Attributes:
        kind: "AP" or "AR".
        threshold: index of the IoU threshold, or None for the mean over all.
        area: index of the area range.
        limit: index of the number of detections an image.
    """

    kind: str
    threshold: int | None
    area: int
    limit: int


class Protocol(NamedTuple):
    """How detections are judged.

    Attributes:
        name: the name in ``PROTOCOLS``.
        ranges: name -> (lowest, highest) area in px^2 of the original image; the first is the headline's.
        iou_thresholds: ascending, in (0, 1].
        limits: detections an image and class that count, ascending; None means all.
        headline: the key of the number to quote.
        iou_apart: each IoU threshold has numbers of its own and no mean is taken.
        matching: "coco": a detection takes the best object that is still free; "voc": the best object of all.
        points: recall levels at which precision is averaged; None for the area under the whole curve.
        limit_is_of_image: the limits count all classes of an image together.
        ignore_flags: keys of an annotation; any of them, if true, makes it a region that counts neither way.
        region_classes: classes whose boxes are regions of no class: what lies half inside is dropped.
        dropped_classes: classes that are not judged; detections of them are dropped.
    """

    name: str
    ranges: Mapping[str, tuple[float, float]]
    iou_thresholds: tuple[float, ...] = COCO_IOU
    limits: tuple[int | None, ...] = COCO_LIMITS
    headline: str = "AP"
    iou_apart: bool = False
    matching: str = "coco"
    points: int | None = 101
    limit_is_of_image: bool = False
    ignore_flags: tuple[str, ...] = ("iscrowd",)
    region_classes: tuple[str, ...] = ()
    dropped_classes: tuple[str, ...] = ()

    @property
    def is_kit(self) -> bool:
        """Whether the rules go beyond what the COCO engines compute."""
        return self.matching != "coco" or self.points != 101 or self.limit_is_of_image

    @property
    def recall_levels(self) -> np.ndarray:
        """(R,) float64, the recall levels of the precision arrays."""
        return np.linspace(0.0, 1.0, self.points or 101)

    def metrics(self) -> dict[str, Metric]:
        """Key -> place of every number that the protocol reports, in the order of reports."""
        last, parts = len(self.limits) - 1, list(enumerate(self.ranges))[1:]
        percents = {f"{100 * value:.4g}": index for index, value in enumerate(self.iou_thresholds)}
        found = {}
        for suffix, threshold in percents.items() if self.iou_apart else [("", None)]:
            found[f"AP{suffix}"] = Metric("AP", threshold, 0, last)
            for percent in [] if self.iou_apart else [key for key in ("50", "75") if key in percents]:
                found[f"AP{percent}"] = Metric("AP", percents[percent], 0, last)
            for area, name in parts:
                found[f"AP{suffix}_{name}"] = Metric("AP", threshold, area, last)
            for limit, number in enumerate(self.limits):
                key = f"AR{suffix}" if number is None else f"AR{suffix}_{number}"
                found[key] = Metric("AR", threshold, 0, limit)
            for area, name in parts:
                found[f"AR{suffix}_{name}"] = Metric("AR", threshold, area, last)
        return found


_ALL = {"all": (0, HUGE)}
_VOC = Protocol(
    "voc",
    _ALL,
    iou_thresholds=(0.5,),
    limits=(None,),
    headline="AP50",
    matching="voc",
    ignore_flags=("difficult", "ignore", "iscrowd"),
)
PROTOCOLS = {
    "coco": Protocol("coco", {**_ALL, "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, HUGE)}),
    "aitod": Protocol(
        "aitod",
        {
            **_ALL,
            "very_tiny": (0, 8**2),
            "tiny": (8**2, 16**2),
            "small": (16**2, 32**2),
            "medium": (32**2, HUGE),
        },
        limits=(100, 300, 1500),
    ),
    "soda": Protocol(
        "soda",
        {
            "all": (0, 32**2),
            "extremely_small": (0, 12**2),
            "relatively_small": (12**2, 20**2),
            "generally_small": (20**2, 32**2),
            "normal": (32**2, 2000),
        },
        limits=(100, 300, 1000),
    ),
    "tinyperson": Protocol(
        "tinyperson",
        {
            "all": (1, HUGE),
            "tiny": (1, 20**2),
            "tiny1": (1, 8**2),
            "tiny2": (8**2, 12**2),
            "tiny3": (12**2, 20**2),
            "small": (20**2, 32**2),
            "reasonable": (32**2, HUGE),
        },
        iou_thresholds=(0.25, 0.5, 0.75),
        limits=(200,),
        headline="AP50_tiny",
        iou_apart=True,
        ignore_flags=("iscrowd", "ignore", "uncertain"),
    ),
    "visdrone": Protocol(
        "visdrone",
        _ALL,
        limits=(1, 10, 100, 500),
        points=None,
        limit_is_of_image=True,
        region_classes=("ignored regions",),
        dropped_classes=("others",),
    ),
    "voc07": _VOC._replace(name="voc07", points=11),
    "voc12": _VOC._replace(name="voc12", points=None),
    "custom": Protocol("custom", _ALL),
}


def make_protocol(
    protocol: str = "coco",
    ranges: Mapping[str, Sequence[float | None]] | None = None,
    iou_thresholds: Sequence[float] | None = None,
    max_detections: Sequence[int] | None = None,
) -> Protocol:
    """A protocol by name, with what a config replaces in it.

    Args:
        protocol: a name of ``PROTOCOLS``.
        ranges: name -> [lowest, highest] area in px^2 of the original image; null or .inf leaves the end
            open. They stand in for the protocol's own; the headline's range stays.
        iou_thresholds: in (0, 1].
        max_detections: numbers of detections an image, the largest of which holds for AP.

    Raises:
        ValueError: an unknown protocol, or a value that no evaluation can have.
    """
    made = lookup(PROTOCOLS, protocol, "evaluation.protocol")
    if ranges is not None:
        if not isinstance(ranges, Mapping):
            raise ValueError(
                f"evaluation.ranges must be a mapping of names to [lowest, highest] px^2; got {ranges!r}: "
                "write for instance {tiny: [0, 256]}, or null for the protocol's own"
            )
        headline = next(iter(made.ranges.items()))
        named = {name: check_range(name, bounds, headline[0]) for name, bounds in ranges.items()}
        made = made._replace(ranges={headline[0]: headline[1], **named})
    if iou_thresholds is not None:
        made = made._replace(iou_thresholds=check_thresholds(iou_thresholds))
    if max_detections is not None:
        made = made._replace(limits=check_limits(max_detections))
    return made if made.headline in made.metrics() else made._replace(headline=next(iter(made.metrics())))
