"""The keys of another work's configuration file, checked: each is known and of its type, or named in an error."""

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from lib.utils.lookup import accepts, in_words, suggest
from lib.utils.schema import Maybe

log = logging.getLogger(__name__)


class Needed(NamedTuple):
    """In the place of a default, for a key that must be given."""

    type: Any


def read_fields(
    source: Mapping[str, Any], fields: Mapping[str, Any], unused: Collection[str], about: str
) -> dict[str, Any]:
    """``{"SOLVER": {"LR": 0.01}}`` -> ``{"SOLVER.LR": 0.01, ...}``, with the defaults of what is not given.

    Args:
        source: the file's content.
        fields: dotted key -> its default; ``Needed(type)`` for a key that must be given; ``Maybe(type)`` for one that
            is None where it is not given.
        unused: dotted keys that have no counterpart; the log names those that are given.
        about: what the file is, for messages.

    Raises:
        ValueError: a key that is neither, or one that must be given and is not.
        TypeError: a value of another type than its default.
    """
    given = dict(_leaves(source, dict.fromkeys((*fields, *unused)), about))
    for name in filter(given.__contains__, unused):
        log.info("%s has no counterpart and is not used", name)
    values = {}
    for name, default in fields.items():
        if name not in given:
            if isinstance(default, Needed):
                raise ValueError(f"{name} of {about} must be given; got {', '.join(given) or 'nothing'}")
            values[name] = None if isinstance(default, Maybe) else default
            continue
        hint = default.type if isinstance(default, (Maybe, Needed)) else _hint(default)
        if not accepts(given[name], hint):
            raise TypeError(f"{name} of {about} must be {in_words(hint)}; got {given[name]!r}")
        values[name] = given[name]
    return values


def _leaves(
    source: Mapping[str, Any], names: Collection[str], about: str, where: str = ""
) -> Iterator[tuple[str, Any]]:
    """The dotted keys and values of a mapping, in its order."""
    for key, value in source.items():
        name = f"{where}{key}"
        if name in names:
            yield name, value
        elif not any(known.startswith(f"{name}.") for known in names):
            near = [known for known in names if known.startswith(where)]
            choices = dict.fromkeys(known.removeprefix(where).partition(".")[0] for known in near)
            place = f"{where.rstrip('.')} of {about}" if where else about
            raise ValueError(f"{place} must hold {', '.join(choices)}; got {key}{suggest(key, choices)}")
        elif not isinstance(value, Mapping):
            raise TypeError(f"{name} of {about} must be a mapping; got {value!r}")
        else:
            yield from _leaves(value, names, about, f"{name}.")


def _hint(default: Any) -> Any:
    """The type of a default: of a list, by its first item."""
    if isinstance(default, list):
        return list[_hint(default[0])] if default else list  # type: ignore[misc]
    return type(default)
