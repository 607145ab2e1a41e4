"""Converts a data set: python tools/convert_dataset.py SOURCE OUT --to coco|voc|yolo|visdrone."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.formats.registry import FORMATS, read_dataset, write_dataset  # noqa: E402


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Convert annotations between COCO JSON, Pascal VOC XML, YOLO txt and VisDrone txt. Every box is "
        "kept; images stay where they are. Pixels of VOC count from 1, as its kit has it."
    )
    parser.add_argument("source", help="COCO file, or folder of VOC, YOLO or VisDrone files")
    parser.add_argument("out", help="file (coco) or folder to write; must not exist")
    parser.add_argument("--to", required=True, choices=FORMATS, help="format to write")
    parser.add_argument(
        "--from", dest="source_format", choices=FORMATS, help="format to read; told from the files"
    )
    parser.add_argument("--images", help="folder of the images, where it is not where the format has it")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Converts, and says how much."""
    logging.basicConfig(format="%(message)s")
    arguments = parse_arguments(argv)
    try:
        out = Path(arguments.out)
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise ValueError(f"OUT must be new or an empty folder; {out} is there: choose another")
        coco = read_dataset(arguments.source, arguments.images, arguments.source_format)
        write_dataset(coco, out, arguments.to)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{out}: {len(coco['images'])} images, {len(coco['annotations'])} boxes, {len(coco['categories'])} classes"
    )


if __name__ == "__main__":
    main()
