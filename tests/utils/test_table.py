"""Tables as text, letter by letter."""

import pytest

from lib.utils.table import align, cell_text, markdown

ROWS = [("name", "AP", "objects"), ("plain", 0.12345, 7), ("S1L0_dual", None, 1200)]


def test_columns_are_as_wide_as_their_longest_cell_and_none_is_a_dash():
    assert align(ROWS).splitlines() == [
        "name          AP  objects",
        "plain      0.123        7",
        "S1L0_dual      -     1200",
    ]


def test_each_column_takes_its_side_and_the_last_side_holds_for_the_rest():
    assert align([("a", "b", "c", "d"), ("long", "long", "long", "long")], "<^>").splitlines() == [
        "a      b       c     d",
        "long  long  long  long",
    ]


def test_a_line_has_no_space_at_its_end():
    assert align([("a", "verdict"), ("b", "x")], "<").splitlines() == ["a  verdict", "b  x"]


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        align([("a", "b"), ("c",)])


def test_markdown_has_a_rule_below_its_header():
    assert markdown(ROWS).splitlines() == [
        "| name | AP | objects |",
        "| --- | --- | --- |",
        "| plain | 0.123 | 7 |",
        "| S1L0_dual | - | 1200 |",
    ]


@pytest.mark.parametrize(("cell", "text"), [(None, "-"), (0.0, "0.000"), (1, "1"), ("a", "a"), (-0.5, "-0.500")])
def test_cells(cell, text):
    assert cell_text(cell) == text
