"""The main job, from data to pictures, on real images (make demo) or on generated ones (make demo-synthetic).

    python tools/run_demo.py trees
    python tools/run_demo.py synthetic

Two detectors, a plain one and one with a stride taken out and a dual path, are fine-tuned for the same time, tested by
object size, and compared in a table and in pictures: in runs/demo/, or in runs/demo_synthetic/. Where the real images
cannot be downloaded, the generated ones stand in for them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.study.demos import DEMOS, make_weights, run_demo  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser  # noqa: E402


def main(argv: list[str] | None = None) -> None:
    """Runs one demo."""
    parser = script_parser(__doc__)
    parser.add_argument("demo", choices=DEMOS, help="which one")
    parser.add_argument("--weights-only", action="store_true", help="train what the synthetic demo starts from")
    args = parser.parse_args(argv)
    if args.weights_only:
        make_weights(DEMOS["synthetic"])
    else:
        run_demo(args.demo)


if __name__ == "__main__":
    with readable_errors():
        main()
