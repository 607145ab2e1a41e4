"""YAML that means what its reader thinks it means, files that build on a ``_base_``, and dotted keys."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lib.utils.lookup import suggest


class _Loader(yaml.SafeLoader):
    """YAML without code, which refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-3 for a text, because it has neither a dot nor a sign before the e.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)


def read_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; errors name ``where`` and the line."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"{where} must be YAML; got {' '.join(str(error).split())}") from None


def read_with_bases(path: Path, merge: Callable[[Mapping, Mapping], dict], above: tuple[Path, ...] = ()) -> dict:
    """The mapping of a YAML file, by ``merge(base, update)`` over that of the file that its ``_base_`` names, if any.

    ``path`` is absolute; a ``_base_`` is relative to the file that names it; ``above`` are the files that led here.
    Errors (FileNotFoundError, ValueError, TypeError) name the file and what is wrong with it.
    """
    if path in above:
        raise ValueError(f"_base_ must not lead back to itself; got {' -> '.join(map(str, (*above, path)))}")
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.yml")])
        raise FileNotFoundError(f"the config must be a YAML file; got {path}, which does not exist{near}")
    try:
        mapping = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be YAML, a text in UTF-8; got bytes that are not: {error}") from None
    if not isinstance(mapping, dict):
        raise ValueError(f"{path} must hold keys and values; got {type(mapping).__name__}")
    base = mapping.pop("_base_", None)
    if base is None:
        return mapping
    if not isinstance(base, str):
        raise TypeError(f"_base_ must be the path of a YAML file; got {base!r} in {path}")
    return merge(read_with_bases((path.parent / base).resolve(), merge, (*above, path)), mapping)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"train.epochs": 10}`` -> ``{"train": {"epochs": 10}}``."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, key = name.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    return result


def to_plain(value: Any) -> Any:
    """A value as plain dicts with text keys and plain lists, for YAML files and checkpoints."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
