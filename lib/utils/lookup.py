"""Registries: look a name up in a flat dict, and call its entry with checked keyword arguments."""

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any


def suggest(name: Any, choices: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest choice, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def lookup(choices: Mapping[Any, Any] | Sequence[str], name: Any, where: str) -> Any:
    """The entry of ``choices`` called ``name``; of a plain list of names, the name itself.

    If there is none, a ValueError names ``where``, the choices and the nearest of them.
    """
    if isinstance(name, Hashable) and name in choices:
        return choices[name] if isinstance(choices, Mapping) else name
    raise ValueError(f"{where} must be one of {', '.join(map(str, choices))}; got {name!r}{suggest(name, choices)}")


def accepts(value: Any, hint: Any) -> bool:
    """Whether a value read from YAML fits a type hint; hints that YAML cannot express are not judged."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(accepts(value, arg) for arg in args)
    if kind is typing.Literal:
        return any(value == arg for arg in args)
    if kind in (int, float):
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    if kind in (bool, str, types.NoneType):
        return isinstance(value, kind)
    if kind is tuple and args and Ellipsis not in args:
        is_list = isinstance(value, (list, tuple)) and len(value) == len(args)
        return is_list and all(map(accepts, value, args))
    if not inspect.isclass(kind) or not issubclass(kind, Iterable):
        return True
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(accepts(item, args[1]) for item in value.values() if len(args) == 2)
    of_item = args[0] if args else Any
    return isinstance(value, (list, tuple)) and all(accepts(item, of_item) for item in value)


# Type of a value -> its name in messages: of one, and of several in a list.
NAMES: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    types.NoneType: ("null", "null"),
}


def in_words(hint: Any, of_many: bool = False) -> str:
    """A type hint as messages name it: ``float | None`` is ``a number or null``, ``list[str]`` a list of strings.

    With ``of_many`` it is the type of the items of a list.
    """
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return " or ".join(in_words(arg, of_many) for arg in args)
    if kind is typing.Literal:
        return f"one of {', '.join('null' if arg is None else str(arg) for arg in args)}"
    if kind in NAMES:
        return NAMES[kind][of_many]
    if kind is tuple and args and Ellipsis not in args:
        return f"{'lists' if of_many else 'a list'} [{', '.join(map(in_words, args))}]"
    if not inspect.isclass(kind) or not issubclass(kind, Iterable):
        return getattr(kind, "__name__", str(kind))
    if issubclass(kind, Mapping):
        name = "mappings (key: value)" if of_many else "a mapping (key: value)"
        return f"{name} of {in_words(args[1], True)}" if len(args) == 2 and args[1] is not Any else name
    name = "lists" if of_many else "a list"
    return f"{name} of {in_words(args[0], True)}" if args and args[0] is not Any else name


def check_arguments(function: Any, options: Mapping[str, Any], where: str) -> None:
    """Checks that ``options``, as read from YAML, are keyword arguments of a function or class, of the annotated types.

    What the builder passes itself is positional-only there (before the ``/`` of the signature). An unknown or missing
    key is a ValueError, a value of another type a TypeError; both name the config key ``where``.
    """
    signature = inspect.signature(function, eval_str=True).parameters
    parameters = {name: p for name, p in signature.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    for name, value in options.items():
        if name not in parameters:
            known = ", ".join(parameters) or "no keys"
            raise ValueError(f"{where} takes {known}; got {where}.{name}{suggest(name, parameters)}")
        if not accepts(value, parameters[name].annotation):
            raise TypeError(f"{where}.{name} must be {in_words(parameters[name].annotation)}; got {value!r}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in options:
            raise ValueError(f"{where}.{name} must be given; got only {', '.join(options) or 'nothing'}")


def prepare(choices: Mapping[str, Any], part: Any, where: str) -> functools.partial:
    """The function of ``choices`` that a part of the config names, with the part's options as its arguments.

    ``part`` is ``{"type": name, option: value, ...}``, the value of the config key ``where``. A part that names no
    entry, or whose options do not fit the entry, is a ValueError or TypeError.
    """
    if not isinstance(part, Mapping):
        such_as = {"type": next(iter(choices))}
        raise TypeError(f"{where} must be a mapping with a type, such as {such_as}; got {part!r}")
    options = dict(part)
    function = lookup(choices, options.pop("type", None), f"{where}.type")
    check_arguments(function, options, where)
    return functools.partial(function, **options)


def build(choices: Mapping[str, Any], part: Any, where: str, *given: Any) -> Any:
    """What the function of a part returns: see ``prepare``. ``given`` is what the builder itself passes.

    A value that the function refuses without naming the part, as torch's optimizers do, is a ValueError that names it.
    """
    make = prepare(choices, part, where)
    try:
        return make(*given)
    except (ValueError, ArithmeticError) as error:
        if where in str(error):
            raise
        raise ValueError(f"{where}: {error}; got {part}") from error
