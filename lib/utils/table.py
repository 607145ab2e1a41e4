"""Rows of cells as text: with aligned columns for the terminal, as a Markdown table, or as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

Row = Sequence[object]
FORMULA = set("=+-@\t\r")  # with which a text begins that spreadsheets take for a formula


def cell_text(cell: object) -> str:
    """A float with three decimals, a dash for None, anything else as ``str`` gives it."""
    return "-" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def align(rows: Sequence[Row], sides: str = "<>") -> str:
    """One line for each row, in columns as wide as their longest cell.

    Args:
        rows: of equal length; the first is usually the header.
        sides: ``<`` (left), ``>`` (right) or ``^`` (center) for each column; the last one holds for all further
            columns.
    """
    texts = [[cell_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    sides = sides.ljust(len(widths), sides[-1])
    formats = [f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=False)]
    return "\n".join("  ".join(formats).format(*row).rstrip() for row in texts)


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table whose first row is the header."""
    header, *rest = ([cell_text(cell) for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rest))


def csv_text(rows: Iterable[Row]) -> str:
    """Rows as CSV; None is an empty cell. A text that a spreadsheet would run as a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell for cell in row])
    return text.getvalue()
