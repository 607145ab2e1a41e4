"""The check that options of transforms share."""

from __future__ import annotations


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises a ValueError that names the option unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}; got {value}")
