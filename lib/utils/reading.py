"""Text and JSON files as they are read: their encodings, and what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import msgspec

BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32"}
BOMS |= {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # behind those of UTF-32, which begin alike


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Raises:
        ValueError: it has another encoding; the message names the file, the line, and ``what`` it should be.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in BOMS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} must be {what} in UTF-8, or in UTF-16 with a byte-order mark; got byte "
            f"{content[error.start]:#04x} in line {line}, as in a file of another encoding: save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(
            f"{path} must be {what} in UTF-8, or in UTF-16 with a byte-order mark; got zero bytes, as in UTF-16 "
            "without that mark, or in a binary file: save it as UTF-8"
        )
    return text


def read_json(path: str | Path, if_more: str = "") -> Any:
    """The content of a JSON file, in any encoding of Unicode, with or without a byte-order mark.

    ``if_more``: advice where the file goes on behind its first value.
    """
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(f"{path} must be a JSON file; there is no such file: check the path") from None
    try:
        return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        pass  # Python's own reader knows NaN and other encodings, and says where a file is broken
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        fault = "nested too deeply" if isinstance(error, RecursionError) else error
        advice = "correct it, or export or download it again"
        advice += f"; {if_more}" if if_more and "Extra data" in str(error) else ""
        raise ValueError(f"{path} must be a JSON file; it is not valid JSON ({fault}): {advice}") from None
