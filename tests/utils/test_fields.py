"""Fields of files of others: what is understood, and the one line of what is not."""

import numpy as np
import pytest

from lib.utils.fields import (
    MISSING,
    Entries,
    Problems,
    first_few,
    flag,
    flag_column,
    id_column,
    number,
    one_line,
    reading,
    text,
    whole,
    whole_id,
)


def test_numbers():
    assert [number(value, "x") for value in (1, 2.5, "3", " 4e2 ")] == [1, 2.5, 3, 400]
    assert number(10**400, "x") == np.inf
    for value in ("1_000", "", "x", True, None, [1], {}):
        with pytest.raises(ValueError, match=r"a\.json: k must be a number; got "):
            number(value, "a.json: k")


def test_whole_numbers():
    assert [whole(value, "x", 0, 9) for value in (7, 7.0, "7", "7.0")] == [7] * 4
    for value in (7.5, -1, 10, "x", float("nan"), float("inf"), 10**400):
        with pytest.raises(ValueError, match="x must be a"):
            whole(value, "x", 0, 9)


def test_ids_keep_all_64_bits():
    assert [whole_id(value, "x") for value in (2**60 + 1, 2**63, 2**64 - 1, "1152921504606846977")] == [
        2**60 + 1,
        -(2**63),
        -1,
        2**60 + 1,
    ]
    assert id_column([2**60 + 1, 5.0], "id", Entries("e", 0, Problems())).tolist() == [2**60 + 1, 5]


def test_flags_and_names():
    assert [flag(value, "x") for value in (MISSING, None, "no", " False ", 0.0, "yes", "TRUE", 1.0)] == [0] * 5 + [
        1
    ] * 3
    entries = Entries("a.json: annotations", 40, Problems())
    assert flag_column([0, "1", None, MISSING, True], "iscrowd", entries).tolist() == [False, True, False, False, True]
    assert list(entries.problems.values()) == [["annotations[41].iscrowd"]]
    assert text("é", "x") == "é" and text(5, "x") == "5"
    for value in ("", " ", "\ud800", "a\0", None, 1.5, ["a"]):
        with pytest.raises(ValueError, match="x must be a text"):
            text(value, "x")


def test_texts_of_others_stay_on_one_line():
    assert one_line("a\nb\x00\ud800") == r"a\nb\x00\ud800"
    assert len(one_line("a" * 999)) == 100
    assert first_few(["a\nb", 2, 3, 4]) == r"a\nb, 2, 3, ..."


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("deep"),
        UnicodeDecodeError("utf-8", b"a", 0, 1, "bad\nbyte"),
        OverflowError("large"),
        MemoryError(),
    ],
)
def test_errors_of_libraries_become_one_line_that_names_the_file(error):
    with pytest.raises(ValueError, match=r"x/a\.json must be readable; it is ") as caught, reading("x/a.json"):
        raise error
    assert "\n" not in str(caught.value)


def test_errors_of_ours_get_the_file_and_are_shortened():
    with pytest.raises(TypeError, match=r"^x/a\.json: bad k$"), reading("x/a.json"):
        raise TypeError("bad\nk")
    with pytest.raises(ValueError, match=r"^x/a\.json: long") as caught, reading("x/a.json"):
        raise ValueError("long " * 999)
    assert len(str(caught.value)) < 600
    with pytest.raises(KeyError), reading("x/a.json"):  # a defect of this project keeps its traceback
        raise KeyError("k")


def test_a_name_that_is_too_long_for_a_file_is_a_fault_of_the_file_that_names_it(tmp_path):
    message = r"list.txt must name files; got a name that is too long for one, .{1,200}: fix"
    with pytest.raises(ValueError, match=message), reading(tmp_path / "list.txt"):
        (tmp_path / ("9" * 5000)).read_text()
