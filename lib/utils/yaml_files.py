"""YAML that means what its reader thinks it means, files that build on a ``_base_``, and dotted keys."""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lib.utils.lookup import suggest
from lib.utils.reading import read_text

MOST_VALUES = 100_000  # of a text, its aliases written out
DEEPEST = 60  # levels of lists and mappings in each other
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character
LARGEST = 2**63  # whole numbers are smaller, so that NumPy and torch can hold them
PREFIX = "tag:yaml.org,2002:"
TAGS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?\d+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    "merge": re.compile(r"<<"),
}


class _Loader(yaml.SafeLoader):
    """YAML without code, by the core schema of YAML 1.2: ``no`` is a text, 012 is twelve and 2:1 is no number.

    It refuses what has another meaning than it seems to have: a key given twice, ``{2:1}`` without a space.
    """

    yaml_implicit_resolvers: dict[str | None, list[Any]] = {
        None: [(f"{PREFIX}{tag}", re.compile(rf"(?:{pattern.pattern})$")) for tag, pattern in TAGS.items()]
    }
    yaml_constructors = {
        tag: function
        for tag, function in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(PREFIX) in (*TAGS, "str", "seq", "map")
    }

    def fetch_more_tokens(self) -> None:
        """Reads on; a text of brackets alone is given up at once, as PyYAML needs time that grows by their square."""
        if self.flow_level + len(self.indents) > DEEPEST + 1:
            raise RecursionError
        super().fetch_more_tokens()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        given = set()
        for key, value in node.value:
            if key.tag == f"{PREFIX}merge":
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be one word or number", problem_mark=key.start_mark)
            name = self.construct_object(key)
            if name in given:
                raise yaml.MarkedYAMLError(problem=f"key {name!r} is given twice", problem_mark=node.start_mark)
            given.add(name)
            is_empty = isinstance(value, yaml.ScalarNode) and value.value == "" and value.style is None
            if node.flow_style and is_empty and ":" in key.value and key.style is None:
                fix = key.value.replace(":", ": ", 1)
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} has no value: write {{{fix}}}, with a space after the colon",
                    problem_mark=key.start_mark,
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes texts in quotes that YAML 1.1 or 1.2 would take for something else."""


for _tag, _pattern in TAGS.items():
    _Dumper.add_implicit_resolver(f"{PREFIX}{_tag}", re.compile(rf"(?:{_pattern.pattern})$"), None)


def dump_yaml(value: Any, flow: bool | None = False) -> str:
    """Plain values as YAML, which ``read_yaml`` reads back; ``flow`` as ``default_flow_style`` of PyYAML."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, allow_unicode=True)
    return text


def _constructor(tag: str, must: str, convert: Callable[[str], Any]) -> None:
    """Has scalars of a tag read by ``convert``; None stands for what must not be."""

    def construct(loader: _Loader, node: yaml.ScalarNode) -> Any:
        text = loader.construct_scalar(node)
        value = convert(text) if tag == "str" or TAGS[tag].fullmatch(text) else None
        if value is None and tag != "null":
            problem = f"{must}; got {text[:40]!r}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return value

    _Loader.add_constructor(f"{PREFIX}{tag}", construct)


def _to_int(text: str) -> int | None:
    value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) < 30 else LARGEST
    return value if abs(value) < LARGEST else None


def _to_float(text: str) -> float | None:
    word = text.lower()
    value = float(word.replace(".inf", "inf").replace(".nan", "nan"))
    return value if math.isfinite(value) or "inf" in word else None


_constructor("null", "null", lambda _: None)
_constructor("bool", "it must be true or false", lambda text: text.lower() == "true")
_constructor("int", "a whole number must have at most 18 digits", _to_int)
_constructor("float", "a number must be one that a computer can hold, or .inf", _to_float)
_constructor("str", "a text must have whole characters", lambda text: None if _SURROGATE.search(text) else text)


def read_yaml(text: str, where: str) -> Any:
    """The value of a YAML text, by the core schema of YAML 1.2.

    A text that stands for more than MOST_VALUES values, by aliases of aliases, or for deeper ones than DEEPEST levels
    is a ValueError, as is one that is no YAML; errors name ``where`` and the line.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        text = " ".join(str(error).split()).replace('in "<unicode string>", line', "in line")
        raise ValueError(f"{where} must be YAML that can be read: {text}") from None
    except RecursionError:
        raise ValueError(f"{where} must be YAML of at most {DEEPEST} levels; got lists or keys nested deeper") from None
    except ValueError as error:  # of a date or an escape that Python does not know
        raise ValueError(f"{where} must be YAML that can be read: {' '.join(str(error).split())}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _check_size(root: yaml.Node) -> None:
    """Raises for aliases that stand for too many values or for themselves, and for values nested too deeply."""
    sizes: dict[int, tuple[int, int]] = {}  # values and levels of each node that has been counted
    open_nodes: set[int] = set()

    def measure(node: yaml.Node) -> tuple[int, int]:
        if id(node) in open_nodes:
            raise yaml.MarkedYAMLError(problem="an alias must not stand for itself", problem_mark=node.start_mark)
        if id(node) not in sizes:
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in parts for part in pair]
            open_nodes.add(id(node))
            inner = [measure(part) for part in parts]
            open_nodes.remove(id(node))
            sizes[id(node)] = 1 + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0)
        size, depth = sizes[id(node)]
        if size > MOST_VALUES or depth > DEEPEST:
            most = f"{MOST_VALUES} values" if size > MOST_VALUES else f"{DEEPEST} levels"
            raise yaml.MarkedYAMLError(problem=f"there must be at most {most}", problem_mark=node.start_mark)
        return size, depth

    measure(root)


def read_with_bases(
    path: Path,
    merge: Callable[[Mapping, Mapping], dict],
    locate: Callable[[Mapping, Path], dict],
    above: tuple[Path, ...] = (),
) -> dict:
    """The mapping of a YAML file, by ``merge(base, update)`` over that of the file that its ``_base_`` names, if any.

    ``path`` is absolute; a ``_base_`` is relative to the file that names it; ``above`` are the files that led here.
    ``locate(mapping, folder)`` resolves the other paths of each file.
    Errors (FileNotFoundError, ValueError, TypeError) name the file and what is wrong with it.
    """
    if path in above:
        raise ValueError(f"_base_ must not lead back to itself; got {' -> '.join(map(str, (*above, path)))}")
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.yml")])
        what = "is a folder: name a file in it" if path.is_dir() else f"does not exist{near}"
        raise FileNotFoundError(f"the config must be a YAML file; got {path}, which {what}")
    mapping = read_yaml(read_text(path, "YAML"), str(path))
    if not isinstance(mapping, dict):
        raise ValueError(f"{path} must hold keys and values; got {type(mapping).__name__}")
    base = mapping.pop("_base_", None)
    mapping = locate(mapping, path.parent)
    if base is None:
        return mapping
    if not isinstance(base, str):
        raise TypeError(f"_base_ must be the path of a YAML file; got {base!r} in {path}")
    return merge(read_with_bases((path.parent / base).resolve(), merge, locate, (*above, path)), mapping)


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


def value_at(values: Any, path: str) -> Any:
    """The value at the dotted key ``path`` of mappings in each other; None where there is none."""
    for key in path.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def with_text(values: Mapping[str, Any], path: str, change: Callable[[str], str]) -> dict[str, Any]:
    """The mapping with ``change`` applied to the value at the dotted key ``path``, if it is a text."""
    key, _, rest = path.partition(".")
    value = values.get(key)
    if rest and isinstance(value, Mapping):
        return {**values, key: with_text(value, rest, change)}
    return {**values, key: change(value)} if isinstance(value, str) and not rest else dict(values)


def parse_override(text: str, is_text: Callable[[str], bool]) -> dict[str, Any]:
    """``train.epochs=10`` -> {"train": {"epochs": 10}}; a number for a key that ``is_text`` stays as it is typed."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"\w[\w-]*(\.\w[\w-]*){0,9}", key):
        shortened = repr(text if len(text) < 100 else f"{text[:60]} ... {text[-20:]}")
        raise ValueError(f"an override must read key=value, such as train.epochs=10; got {shortened}")
    parsed = read_yaml(value, f"the value of {key}")
    return nested({key: value.strip() if isinstance(parsed, (int, float)) and is_text(key) else parsed})


def to_plain(value: Any) -> Any:
    """A value as plain dicts with text keys and plain lists, for YAML files and checkpoints."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def located(path: str, folder: Path) -> str:
    """The path, made absolute if it is one that exists in the folder."""
    if not path or "://" in path or "\0" in path or len(path) > 1000 or not os.path.exists(folder / path):
        return path
    return os.path.abspath(folder / path)
