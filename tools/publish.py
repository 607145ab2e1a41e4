"""Make a trained detector ready to share: small weights, and a record of how they were trained and tested.

    python tools/publish.py runs/mine/best.pth --out=mine.pth
    python tools/publish.py runs/mine/best.pth --out=mine.pth --note="Trees" data.val.annotations=FILE.json

OUT.pth holds the weights in half precision, a fourth to an eighth of the size of the checkpoint. demo.py, test.py and
tools/export.py take it as --checkpoint, and trainings as model.weights. OUT.json, the record, has the result of a test
on data.val, the config, seed, commit and machine of the training, and its losses by epoch. In both files, only the last
two parts of absolute paths are kept.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.engine.publish import publish
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.log import setup_logging


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT.pth", help="last.pth or best.pth in the folder of a run")
    add("--out", type=Path, required=True, metavar="OUT.pth", help="file for the weights; the record is OUT.json")
    add("--note", default="", help="a sentence for the record, such as which data it is")
    return parse_with_overrides(parser, argv, "data.val.annotations=FILE.json")


def main(argv: list[str] | None = None) -> None:
    """Writes both files and prints the result of the test."""
    args = parse(argv)
    setup_logging()
    result, record = publish(args.checkpoint, args.out, args.note, args.overrides)
    print(result.table(), f"weights: {args.out}, {args.out.stat().st_size / 1e6:.1f} MB", f"record: {record}", sep="\n")


if __name__ == "__main__":
    with readable_errors():
        main()
