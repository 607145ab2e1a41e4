"""What a user may put in place of a protocol's own ranges, thresholds and limits, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

HUGE = 1e5**2  # px^2: the reference's bound of an open range


def parse_ranges(texts: Sequence[str]) -> dict[str, list[float | None]]:
    """Ranges of a command line: ``tiny=0:256``, ``rest=256:`` in px^2."""
    ranges = {}
    for text in texts:
        name, _, bounds = text.partition("=")
        low, colon, high = bounds.partition(":")
        try:
            ranges[name] = [float(low), float(high) if high else None]
        except ValueError:
            colon = ""
        if not colon:
            raise ValueError(
                f"a range must be written NAME=LOWEST:HIGHEST in px^2; got {text!r}: write tiny=0:256"
            )
    return ranges


def check_range(name: str, bounds: Sequence[float | None], headline: str) -> tuple[float, float]:
    """An own range, with an open end closed at ``HUGE``."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)) or name == headline:
        raise ValueError(
            f"a name in evaluation.ranges must be letters, digits and _, not start with a digit and not be "
            f"{headline!r}; got {name!r}: choose a name such as 'tiny'"
        )
    is_list = isinstance(bounds, (list, tuple))
    pair = [HUGE if value in (None, math.inf) else value for value in bounds] if is_list else []
    if len(pair) != 2 or not _are_numbers(pair) or not 0 <= pair[0] < pair[1]:
        raise ValueError(
            f"evaluation.ranges.{name} must be [lowest, highest] area in px^2 with 0 <= lowest < highest; "
            f"got {bounds!r}: write for instance [0, 256], or [1024, null] for an open end"
        )
    return float(pair[0]), float(pair[1])


def check_thresholds(values: Sequence[float]) -> tuple[float, ...]:
    """Own IoU thresholds, rising, each once."""
    if not _are_numbers(values) or not all(0 < value <= 1 for value in values):
        raise ValueError(
            f"evaluation.iou_thresholds must be a list of numbers above 0 and at most 1; got {values!r}: "
            "write for instance [0.5], or null for the protocol's own"
        )
    return tuple(sorted({float(value) for value in values}))


def check_limits(values: Sequence[int]) -> tuple[int, ...]:
    """Own numbers of detections an image, rising, each once."""
    if not _are_numbers(values) or not all(value == int(value) and value > 0 for value in values):
        raise ValueError(
            f"evaluation.max_detections must be a list of whole numbers above 0; got {values!r}: "
            "write for instance [1, 10, 100], or null for the protocol's own"
        )
    return tuple(sorted({int(value) for value in values}))


def _are_numbers(values: object) -> bool:
    """Whether this is a list of at least one finite number."""
    return (
        isinstance(values, (list, tuple))
        and len(values) > 0
        and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        and all(map(math.isfinite, values))
    )
