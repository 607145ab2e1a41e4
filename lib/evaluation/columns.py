"""Columns of numbers from lists of JSON objects; errors show the first object that does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

Entries = Sequence[Mapping[str, Any]]


def id_column(entries: Entries, key: str, what: str) -> np.ndarray:
    """(N,) int64, one key of every entry."""
    try:
        values = np.array([entry[key] for entry in entries])
        if len(values) and (values.dtype.kind not in "iuf" or values.ndim != 1 or (values % 1).any()):
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise _misfit(entries, what, f"{key} of each {what} must be a whole number", key) from None
    return values.astype(np.int64)


def number_column(entries: Entries, key: str, what: str) -> np.ndarray:
    """(N,) float64, one key of every entry."""
    try:
        return np.array([float(entry[key]) for entry in entries], np.float64)
    except (KeyError, TypeError, ValueError):
        raise _misfit(entries, what, f"{key} of each {what} must be a number", key) from None


def box_column(entries: Entries, what: str) -> np.ndarray:
    """(N, 4) float64, the key "bbox" of every entry."""
    try:
        boxes = [entry["bbox"] for entry in entries]
        if any(len(box) != 4 for box in boxes):
            raise ValueError
        return np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4)
    except (KeyError, TypeError, ValueError):
        raise _misfit(entries, what, f"bbox of each {what} must be [x, y, width, height]", "bbox") from None


def check_known(ids: np.ndarray, known: np.ndarray, what: str, where: str) -> None:
    """Raises ValueError where an id is not among the known ones."""
    unknown = np.unique(ids[~np.isin(ids, known)])
    if len(unknown):
        raise ValueError(
            f"each {what} must be among the {len(known)} {where}; got {unknown[:5].tolist()}"
            f"{' and others' if len(unknown) > 5 else ''} ({np.isin(ids, unknown).sum()} times): "
            "choose the file of the same data set and split"
        )


def kind_of(value: Any) -> str:
    """A few words for a JSON value, for messages."""
    return f"an object with keys {list(value)[:5]}" if isinstance(value, Mapping) else type(value).__name__


def _misfit(entries: Entries, what: str, must: str, key: str) -> ValueError:
    """The error that shows the first entry that does not fit."""
    for index, entry in enumerate(entries):
        value = entry.get(key) if isinstance(entry, Mapping) else None
        parts = value if isinstance(value, (list, tuple)) else [value]
        fits = all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts)
        whole = not key.endswith("id") or (fits and parts[0] == parts[0] // 1)
        if not fits or not whole or len(parts) != (4 if key == "bbox" else 1):
            return ValueError(f"{must}; got {str(entry)[:200]} as {what} number {index}: mend the file")
    return ValueError(f"{must}; got other values: mend the file")
