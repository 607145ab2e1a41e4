"""Values that come from a file of somebody else, checked one by one, with messages that name the file and the field."""

import contextlib
import errno
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import yaml

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "nothing"})()  # stands for a key that is not there
TEXTS = "numbers and flags given as strings (converted)"
NUM_NAMED = 3  # how many of the faulty things a message lists
LONGEST = 560  # characters of a message
MAX_SIDE = 10**6  # pixels of an image's side
_NO, _YES = {"", "0", "0.0", "false", "no", "unspecified", "null", "none"}, {"1", "1.0", "true", "yes"}
_FOREIGN = (UnicodeError, RecursionError, OverflowError, MemoryError, ParseError, yaml.YAMLError)


class Problems(dict[str, list[str]]):
    """What is wrong with a data set and where: kind of problem -> the things that have it."""

    def add(self, kind: str, *things: str) -> None:
        """Notes more things with a problem."""
        if things:
            self.setdefault(kind, []).extend(things)

    def lines(self) -> list[str]:
        """One line for each kind: how many things have it, and the first of them."""
        return [f"{kind}: {len(things)} ({first_few(things)})" for kind, things in self.items()]


def one_line(text: object, limit: int = 100) -> str:
    """A text without line breaks and other control characters, shortened to ``limit`` characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[: limit + 1])
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def error_text(error: object, limit: int = 400) -> str:
    """What an error says, on one line, shortened to ``limit`` characters."""
    return one_line(" ".join(str(error).split()) or type(error).__name__, limit)


def shown(value: Any) -> str:
    """A value of a file for a message: in quotes if it is a text, and shortened."""
    try:
        return one_line(repr(value), 80)
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"a {type(value).__name__} too large to show"


def first_few(things: Iterable[Any]) -> str:
    """The first things by name, and dots if there are more."""
    things = list(things)
    return ", ".join(one_line(thing) for thing in things[:NUM_NAMED]) + (", ..." if len(things) > NUM_NAMED else "")


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """The border to the libraries that read files: every error inside becomes one short line that names the file.

    Errors of the operating system stay of their type; everything else that a broken file causes is a ValueError.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = one_line(str(error.filename), 100)
        text = f"{one_line(path, 200)} must name files; got a name that is too long for one, {name}: fix the file"
        raise ValueError(text) from None
    except (ValueError, TypeError, *_FOREIGN) as error:
        text = error_text(error, 10**4)
        if isinstance(error, _FOREIGN):
            kind = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is broken ({text[:200]})"
            text = f"{one_line(path, 200)} must be readable; {kind}: fetch it again"
        elif Path(path).name not in text:
            text = f"{one_line(path, 200)}: {text}"
        if text == str(error) and len(text) <= LONGEST:
            raise
        kept = text if len(text) <= LONGEST else f"{text[: LONGEST - 100]} ... {text[-90:]}"
        raise (TypeError if isinstance(error, TypeError) else ValueError)(kept) from None


def number(value: Any, where: str) -> float:
    """A number as float, infinite where it is beyond the floats; a text of digits counts as the number."""
    try:
        if not isinstance(value, (int, float, str)) or isinstance(value, bool) or "_" in str(value):
            raise ValueError
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        raise ValueError(f"{where} must be a number; got {shown(value)}: fix the file") from None


def whole(value: Any, where: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``; 128.0 and "128" are understood."""
    result = value if type(value) is int else number(value, where)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 25:
        result = int(value)  # more digits than a float holds
    if not low <= result <= high or result != int(result) or (isinstance(result, float) and abs(result) > 2**53):
        raise ValueError(f"{where} must be a whole number from {low} to {high}; got {shown(value)}: fix the file")
    return int(result)


def whole_id(value: Any, where: str) -> int:
    """An id of at most 64 bits as int64: ids from 2^63 on become negative, with the same bits."""
    try:
        result = whole(value, where, -(2**63), 2**64 - 1)
    except ValueError:
        text = f"{where} must be a whole number as id, of 64 bits at most; got {shown(value)}: fix the file"
        raise ValueError(text) from None
    return result - 2**64 if result >= 2**63 else result


def flag(value: Any, where: str) -> int:
    """0 or 1; true, "false", "1", null and their like are understood."""
    word = str(value).strip().lower() if isinstance(value, (str, int, float, type(None))) else "?"
    if value is MISSING or word in _NO:
        return 0
    if word not in _YES:
        raise ValueError(f"{where} must be 0 or 1, or true or false; got {shown(value)}: fix the file")
    return 1


def text(value: Any, where: str) -> str:
    """A text that can be a name: not empty, and writable as UTF-8."""
    name = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    try:
        name.encode()
    except UnicodeEncodeError:  # Python stands for bytes that are not UTF-8 by half characters
        raise ValueError(
            f"{where} must be a text in UTF-8; got {shown(value)}, of another encoding: rename it"
        ) from None
    if not name.strip() or "\0" in name:
        raise ValueError(f"{where} must be a text with at least one character; got {shown(value)}: fix the file")
    return name


class Entries:
    """Where a list of records comes from: ``name`` such as "ann.json: images", and the index of the first record."""

    def __init__(self, name: str, first: int, problems: Problems):
        self.name, self.first, self.problems = name, first, problems

    def where(self, index: int, key: str) -> str:
        """A field of the record at ``index``, for messages."""
        return f"{self.name}[{self.first + index}].{key}"

    def place(self, index: int, key: str) -> str:
        """The same without the file, for notes."""
        return self.where(index, key).rpartition(": ")[2]

    def read(self, values: Sequence[Any], key: str, read: Callable[[Any, str], Any]) -> list[Any]:
        """Each value of a column by ``read``; numbers that are texts are noted."""
        texts = [self.place(index, key) for index, value in enumerate(values) if isinstance(value, str)]
        result = [read(value, self.where(index, key)) for index, value in enumerate(values)]
        if read is not text:
            self.problems.add(TEXTS, *texts)
        return result


def id_column(values: Sequence[Any], key: str, entries: Entries) -> np.ndarray:
    """(N,) int64. An array is taken as it is, here and below."""
    if isinstance(values, np.ndarray):
        return values
    if set(map(type, values)) <= {int}:
        with contextlib.suppress(OverflowError):
            return np.fromiter(values, np.int64, len(values))
    return np.array(entries.read(values, key, whole_id), np.int64)


def number_column(values: Sequence[Any], key: str, entries: Entries) -> np.ndarray:
    """(N,) float64; values that are missing or null become NaN."""
    if isinstance(values, np.ndarray):
        return values
    if set(map(type, values)) <= {int, float}:
        with contextlib.suppress(OverflowError):
            return np.fromiter(values, np.float64, len(values))
    given = [math.nan if value is None or value is MISSING else value for value in values]
    return np.array(entries.read(given, key, number), np.float64)


def flag_column(values: Sequence[Any], key: str, entries: Entries) -> np.ndarray:
    """(N,) bool."""
    if isinstance(values, np.ndarray):
        return values != 0
    if set(map(type, values)) <= _PLAIN_FLAGS and (kinds := set(values)) <= {0, 1, None, MISSING}:
        return (
            np.fromiter((value == 1 for value in values), bool, len(values))
            if 1 in kinds
            else np.zeros(len(values), bool)
        )
    return np.array(entries.read(values, key, flag), bool)


_PLAIN_FLAGS = {int, float, bool, type(None), type(MISSING)}
