"""Runs a whole demo, from data to pictures, on real images (make demo) or on generated ones (make demo-synthetic).

    python tools/run_demo.py trees
    python tools/run_demo.py synthetic

It fine-tunes two detectors for the same time: a plain one, and one with a stride taken out and a dual path. It tests
them by object size and compares them in a table and in pictures, in runs/demo/ or runs/demo_synthetic/. If the real
images cannot be downloaded, generated ones are used instead.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.study.demos import DEMOS, make_weights, run_demo
from lib.utils.command_line import readable_errors, script_parser


def main(argv: list[str] | None = None) -> None:
    """Runs one demo."""
    parser = script_parser(__doc__)
    parser.add_argument("demo", choices=DEMOS, help="which demo to run")
    parser.add_argument("--weights-only", action="store_true", help="only train the synthetic demo's initial weights")
    args = parser.parse_args(argv)
    if args.weights_only:
        make_weights(DEMOS["synthetic"])
    else:
        run_demo(args.demo)


if __name__ == "__main__":
    with readable_errors():
        main()
