"""The few pieces of HTML that a report is made of. A page is one file that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from lib.evaluation.tables import cell_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; }
body { max-width: 1060px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15em; margin: 2.2em 0 .3em; }
p { max-width: 50em; margin: .3em 0 .8em; color: #444; } .lead { font-size: 1.05em; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6em 0; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { font-weight: 600; position: sticky; top: 0; background: #fff; box-shadow: inset 0 -2px #bbb; }
th:first-child, td:first-child { text-align: left; } .wide { overflow: auto; max-height: 34em; }
svg, img { max-width: 100%; height: auto; } figure { margin: 0; width: 245px; }
figcaption { font-size: .82em; line-height: 1.35; color: #444; overflow-wrap: anywhere; }
.row { display: flex; flex-wrap: wrap; gap: 1em 1.5em; } .note { color: #777; }
pre { background: #f5f5f5; padding: .7em 1em; overflow: auto; }
.orange { color: #b8560a; } .green { color: #2f7d2f; } .blue { color: #1464a8; }
"""


def page(title: str, lead: str, sections: Iterable[str]) -> str:
    """A whole document; ``lead`` and the sections are HTML, the title is text."""
    title = html.escape(title)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head>\n"
        f"<body><h1>{title}</h1>\n<p class='lead'>{lead}</p>\n{''.join(sections)}</body></html>\n"
    )


def section(heading: str, text: str, *parts: str) -> str:
    """A heading, a paragraph that says how to read what follows, and the parts, as HTML."""
    return f"<section><h2>{heading}</h2>\n<p>{text}</p>\n{''.join(parts)}</section>\n"


def row(parts: Iterable[str]) -> str:
    """Parts beside each other, as far as there is room."""
    return f"<div class='row'>{''.join(parts)}</div>"


def note(text: str) -> str:
    """A line where there is nothing to show."""
    return f"<p class='note'>{html.escape(text)}</p>"


def table(rows: Sequence[Sequence[object]]) -> str:
    """A table whose first row is the header; it scrolls where it is larger than the page."""
    lines = []
    for index, cells in enumerate(rows):
        tag = "td" if index else "th"
        texts = [cell_text(cell) for cell in cells]
        lines.append("".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts))
    return f"<div class='wide'><table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table></div>"


def picture(image: np.ndarray, caption: str) -> str:
    """A (H, W, 3) uint8 BGR image with a caption in text."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    text = html.escape(caption)
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return f"<figure><img src='{source}' alt='{text}'><figcaption>{text}</figcaption></figure>"
