"""lib/utils/lookup.py: types in words."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from lib.utils.lookup import in_words, prepare


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (bool, "true or false"),
        (float | None, "a number or null"),
        (list, "a list"),
        (list[str], "a list of strings"),
        (Sequence[Sequence[int]], "a list of lists of whole numbers"),
        (list[float | list[float]], "a list of numbers or lists of numbers"),
        (tuple[float, float], "a list [a number, a number]"),
        (list[tuple[str | int, str]], "a list of lists [a string or a whole number, a string]"),
        (Mapping[str, Any] | None, "a mapping (key: value) or null"),
        (dict[str, float], "a mapping (key: value) of numbers"),
        (Literal["max", "subsample"] | None, "one of max, subsample or null"),
    ],
)
def test_a_type_is_named_by_what_a_user_may_write(hint, words):
    assert in_words(hint) == words


def test_an_option_of_another_type_is_refused_in_words():
    def part(*, pool: Literal["max", "mean"] = "max"):
        return pool

    with pytest.raises(TypeError, match="^here.pool must be one of max, mean; got 'min'$"):
        prepare({"part": part}, {"type": "part", "pool": "min"}, "here")
