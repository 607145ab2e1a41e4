"""Types of a config's values, told from their defaults."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lib.utils.lookup import accepts, in_words


class Maybe(NamedTuple):
    """A default of None for a key that otherwise takes values of ``type``."""

    type: Any


def without_maybe(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with None for each ``Maybe``."""
    return {
        key: without_maybe(value) if isinstance(value, dict) else None if isinstance(value, Maybe) else value
        for key, value in defaults.items()
    }


def check_value(value: Any, default: Any, name: str, of_item: Any = None) -> None:
    """Raises TypeError unless a value has the type of its default, and a list items of the type ``of_item``.

    None stands for the type of the default's items, if it has any. ``name`` is the key of the config.
    """
    expected = default.type | None if isinstance(default, Maybe) else type(default)
    if not accepts(value, expected):
        raise TypeError(f"{name} must be {in_words(expected)}; got {value!r}{_hint(value, expected)}")
    if of_item is None and isinstance(default, list) and default:
        of_item = type(default[0])
    for item in value if of_item is not None and value is not None else ():
        if not accepts(item, of_item):
            raise TypeError(f"{name} must be {in_words(list[of_item])}; got {item!r} in it{_hint(item, of_item)}")


def _hint(value: Any, expected: Any) -> str:
    """What to write instead where YAML gives another type than its reader thinks."""
    if str(value).lower() in ("yes", "no", "on", "off") and accepts(True, expected):
        return ": write true or false"
    return (
        f": write it in quotes, such as '{value}'" if accepts("", expected) and isinstance(value, (int, float)) else ""
    )


def check_plain(values: Any, name: str = "", open_ended: Sequence[str] = ()) -> None:
    """Raises for what YAML cannot hold, and for a number that is infinite except below the keys ``open_ended``."""
    if not isinstance(values, (str, bool, int, float, Mapping, list, tuple, type(None))):
        raise TypeError(f"{name} must be a plain value; got {type(values).__name__}")
    if isinstance(values, float) and not math.isfinite(values) and not name.startswith(tuple(open_ended)):
        raise ValueError(f"{name} must be a finite number; got {values}")
    if isinstance(values, Mapping):
        for key, value in values.items():
            check_plain(value, f"{name}.{key}" if name else str(key), open_ended)
    elif isinstance(values, (list, tuple)):
        for value in values:
            check_plain(value, name, open_ended)
