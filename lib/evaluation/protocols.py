"""The protocols of evaluation: size ranges, IoU thresholds, limits on detections, and the names of the metrics.

A range is (lowest, highest) area in square pixels of the original image. Both bounds belong to it, so an object
of exactly 32^2 px is both small and medium, as in COCO's own code. The first range is that of the headline.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.utils.lookup import accepts, lookup

HUGE = 1e5**2  # px^2: upper bound of an open range, as in COCO's own code
COCO_IOU = tuple(np.linspace(0.5, 0.95, 10).tolist())  # multiples of 0.05 would differ in the last bit


class Metric(NamedTuple):
    """Where a number lies in the arrays of an evaluation."""

    kind: str  # AP or AR
    threshold: int | None  # index of the IoU threshold, or None for the mean over all
    area: int  # index of the area range
    limit: int  # index of the limit on detections per image


class Protocol(NamedTuple):
    """How detections are judged."""

    name: str  # in PROTOCOLS
    ranges: Mapping[str, tuple[float, float]]  # name -> (lowest, highest) area, px^2 of the original image
    iou_thresholds: tuple[float, ...] = COCO_IOU  # ascending, in (0, 1]
    limits: tuple[int | None, ...] = (1, 10, 100)  # detections of a class in an image, ascending; None: all
    headline: str = "AP"  # key of the metric to quote
    iou_apart: bool = False  # each IoU threshold has its own metrics, and there is no mean over thresholds
    matching: str = "coco"  # coco: a detection takes the best object that is still free; voc: the best of all
    points: int | None = 101  # recall levels at which precision is averaged; None: area under the whole curve
    limit_is_of_image: bool = False  # the limits count the detections of all classes together
    ignore_flags: tuple[str, ...] = ("iscrowd",)  # keys of an annotation; any that is true makes it a region
    region_classes: tuple[str, ...] = ()  # their boxes are ignored regions: what is half inside is dropped
    dropped_classes: tuple[str, ...] = ()  # are not judged; detections of them are dropped

    @property
    def is_beyond_coco(self) -> bool:
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
        metrics = {}
        for suffix, threshold in percents.items() if self.iou_apart else [("", None)]:
            metrics[f"AP{suffix}"] = Metric("AP", threshold, 0, last)
            for percent in () if self.iou_apart else ("50", "75"):
                if percent in percents:
                    metrics[f"AP{percent}"] = Metric("AP", percents[percent], 0, last)
            metrics |= {f"AP{suffix}_{name}": Metric("AP", threshold, area, last) for area, name in parts}
            for limit, number in enumerate(self.limits):
                key = f"AR{suffix}" if number is None else f"AR{suffix}_{number}"
                metrics[key] = Metric("AR", threshold, 0, limit)
            metrics |= {f"AR{suffix}_{name}": Metric("AR", threshold, area, last) for area, name in parts}
        return metrics


_FLAGS = {"ranges": "--ranges", "iou_thresholds": "--iou", "max_detections": "--max-detections"}  # of the tools


def _by_side(lowest: float = 0, **highest: float) -> dict[str, tuple[float, float]]:
    """Ranges that follow each other, from the sides of squares: ``small=32, medium=96`` is 0 to 32 and 32 to 96."""
    sides = [lowest, *highest.values()]
    return {name: (low**2, high**2) for name, low, high in zip(highest, sides, sides[1:], strict=False)}


_OPEN = 1e5  # side of the largest square
_ALL = {"all": (0, HUGE)}
_VOC = Protocol("voc", _ALL, (0.5,), (None,), "AP50", matching="voc", ignore_flags=("difficult", "ignore", "iscrowd"))
PROTOCOLS = {
    "coco": Protocol("coco", _ALL | _by_side(small=32, medium=96, large=_OPEN)),
    "aitod": Protocol("aitod", _ALL | _by_side(very_tiny=8, tiny=16, small=32, medium=_OPEN), limits=(100, 300, 1500)),
    "soda": Protocol(
        "soda",
        _by_side(all=32)
        | _by_side(extremely_small=12, relatively_small=20, generally_small=32)
        | {"normal": (32**2, 2000)},
        limits=(100, 300, 1000),
    ),
    "tinyperson": Protocol(
        "tinyperson",
        {"all": (1, HUGE)}
        | _by_side(1, tiny=20)
        | _by_side(1, tiny1=8, tiny2=12, tiny3=20, small=32, reasonable=_OPEN),
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
    """A protocol by its name in ``PROTOCOLS``, with what a config replaces in it.

    Args:
        ranges: name -> [lowest, highest] area in px^2 of the original image; null or .inf leaves the upper end
            open. They replace the protocol's ranges except the headline's.
        iou_thresholds: in (0, 1].
        max_detections: limits on detections per image; AP is computed with the largest.

    Raises:
        ValueError: an unknown protocol, or a value that no evaluation can have.
    """
    made = lookup(PROTOCOLS, protocol, "evaluation.protocol")
    if ranges is not None:
        must = "a mapping of names to [lowest, highest] px^2"
        _check("ranges", ranges, must, "{tiny: [0, 256]}", isinstance(ranges, Mapping))
        headline, bounds = next(iter(made.ranges.items()))
        named = {name: _check_range(name, pair, headline) for name, pair in ranges.items()}
        made = made._replace(ranges={headline: bounds, **named})
    if iou_thresholds is not None:
        is_good = _are_numbers(iou_thresholds) and all(0 < value <= 1 for value in iou_thresholds)
        must = "a list of numbers above 0 and at most 1"
        _check("iou_thresholds", iou_thresholds, must, "[0.5]", is_good)
        made = made._replace(iou_thresholds=tuple(sorted(set(map(float, iou_thresholds)))))
    if max_detections is not None:
        is_good = _are_numbers(max_detections) and all(0 < value == int(value) for value in max_detections)
        _check("max_detections", max_detections, "a list of whole numbers above 0", "[1, 10, 100]", is_good)
        made = made._replace(limits=tuple(sorted(set(map(int, max_detections)))))
    return made if made.headline in made.metrics() else made._replace(headline=next(iter(made.metrics())))


def quoted_keys(keys: Iterable[str]) -> list[str]:
    """Of the keys that a protocol's ``metrics`` have, maybe among others: that of the AP to quote, then the same by
    size. Where each IoU threshold has its own AP, these are TinyPerson's, or else those of the first threshold.
    """
    keys = [key for key in keys if key.startswith("AP")]
    first = [key for key in ("AP", PROTOCOLS["tinyperson"].headline) if key in keys] or keys
    by_size = f"{first[0].split('_')[0]}_" if first else ""
    return list(dict.fromkeys([*first[:1], *(key for key in keys if key.startswith(by_size))]))


def _check(key: str, value: object, must: str, example: str, is_good: bool) -> None:
    """Raises ValueError for a value that a user gave for a key of ``evaluation``, unless it is good."""
    if not is_good:
        raise ValueError(
            f"evaluation.{key} ({_FLAGS[key]}) must be {must}; got {value!r}: for example {example}; leave it out for "
            "the protocol's own"
        )


def _check_range(name: str, bounds: Sequence[float | None], headline: str) -> tuple[float, float]:
    """A range that a user gave, with an open end closed at ``HUGE``."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)) or name == headline:
        raise ValueError(
            f"a name in evaluation.ranges (--ranges) must be letters, digits and _, not start with a digit and not be "
            f"{headline!r}; got {name!r}: choose a name such as 'tiny'"
        )
    is_list = isinstance(bounds, (list, tuple))
    pair = [HUGE if value is None or value == math.inf else value for value in bounds] if is_list else []
    if len(pair) != 2 or not _are_numbers(pair) or not 0 <= pair[0] < pair[1]:
        raise ValueError(
            f"evaluation.ranges.{name} (--ranges) must be [lowest, highest] area in px^2 with 0 <= lowest < highest; "
            f"got {bounds!r}: for example [0, 256], or [1024, null] for an open end"
        )
    return float(pair[0]), float(pair[1])


def _are_numbers(values: Any) -> bool:
    """Whether this is a list of at least one finite number."""
    is_list = isinstance(values, (list, tuple)) and len(values) > 0
    return is_list and all(accepts(value, float) and math.isfinite(value) for value in values)


def parse_ranges(texts: Sequence[str]) -> dict[str, list[float | None]]:
    """Ranges of a command line: ``tiny=0:256``, ``rest=256:`` in px^2."""
    ranges: dict[str, list[float | None]] = {}
    for text in texts:
        try:
            name, low, high = re.split("[=:]", text)
            ranges[name] = [float(low), float(high) if high else None]
        except ValueError:
            raise ValueError(
                f"a range must be written NAME=LOWEST:HIGHEST in px^2; got {text!r}: write tiny=0:256"
            ) from None
    return ranges


def side_text(bounds: tuple[float, float]) -> str:
    """A range of areas as sides of squares in px: ``16 to 32``, ``from 96``, ``any``."""
    low, high = (math.sqrt(value) for value in bounds)
    if bounds[1] >= HUGE:
        return f"from {low:.3g}" if low else "any"
    return f"{low:.3g} to {high:.3g}"
