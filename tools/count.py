"""What a detector is made of and what it costs: rows, strides, channels, parameters, multiply-accumulates.

    python tools/count.py --cfg=experiments/mobilenet_v3/large320.yml ['model.backbone.strides={0: 1}' ...]
    python tools/count.py --all --out=docs/models.md          # the table of all experiments, between its two marks

No network is run and nothing is downloaded: the models are built without memory for weights. 1 MAC = 2 FLOPs.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch

from lib.build import build_detector
from lib.build_data import input_size
from lib.config import load_config
from lib.models.cost import cost_of, row_lines
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import write_text

START, END = "<!-- table: python tools/count.py --all --out=docs/models.md -->", "<!-- end of the table -->"
HEADER = "| experiment | input | maps | strides | priors | 10^9 MAC | 10^6 parameters |\n|---|---|---|---|---|---|---|"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cfg", help="experiment file")
    what.add_argument("--all", action="store_true", help="all experiments, one line each")
    parser.add_argument("--out", help="with --all: Markdown file whose table is replaced")
    return parse_with_overrides(parser, argv, "input.size=[512,512]")


def experiment_line(path: Path, overrides: Sequence[str] = ()) -> str:
    """The table's line of one experiment."""
    cfg = load_config(path, overrides)
    with torch.device("meta"):
        cost = cost_of(build_detector(cfg), input_size(cfg))
    name, (height, width) = f"{path.parent.name}/{path.stem}", input_size(cfg)
    maps = ", ".join(str(rows) if rows == columns else f"{rows}x{columns}" for rows, columns in cost.maps)
    strides = ", ".join(f"{width / columns:.0f}" for _, columns in cost.maps)
    counts = f"{cost.num_priors:,} | {cost.macs / 1e9:.2f} | {cost.parameters / 1e6:.2f}"
    return f"| [{name}](../experiments/{name}.yml) | {height}x{width} | {maps} | {strides} | {counts} |"


def main(argv: list[str] | None = None) -> None:
    """Prints the count, or replaces the table."""
    args = parse(argv)
    if args.cfg:
        cfg = load_config(args.cfg, args.overrides)
        with torch.device("meta"):
            print("\n".join(row_lines(build_detector(cfg), input_size(cfg))))
        return
    files = sorted(path for path in (ROOT / "experiments").glob("*/*.yml") if path.parent.name != "_base_")
    if args.out and args.overrides:
        raise ValueError(f"--out must be of the experiments as they are; got {' '.join(args.overrides)}: leave one out")
    table = "\n".join([HEADER, *(experiment_line(path, args.overrides) for path in files)])
    if not args.out:
        print(table)
        return
    before, start, rest = Path(args.out).read_text(encoding="utf-8").partition(START)
    if not start or END not in rest:
        raise ValueError(f"{args.out} must have the marks {START} and {END}; one or both are missing: add them")
    write_text(args.out, f"{before}{START}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    with readable_errors():
        main()
