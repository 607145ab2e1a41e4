"""Times the evaluation against pycocotools, on random detections of a random data set.

    python tools/bench/evaluation.py
    python tools/bench/evaluation.py --images=500 --boxes=4000 --detections=50000

From arrays to tables in this process, and from JSON files to tables in a process of its own, start-up included.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.evaluation.arrays import detection_table, make_ground_truth
from lib.evaluation.evaluator import evaluate
from lib.evaluation.protocols import make_protocol
from lib.evaluation.result import Result
from lib.timing.turns import Case, run_cases
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.files import write_json
from lib.utils.runtime import memory_mb
from tools.bench.peers.large_set import PLAIN_SCRIPT, make_set, to_results


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    for name, default in (("images", 5000), ("boxes", 36_878), ("detections", 500_000), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default, help="how many (default: %(default)s)")
    parser.add_argument("--json", help="where to write the figures")
    return parser.parse_args(argv)


def same_curves(ours: Result, theirs: Result) -> bool:
    """Whether precision, recall and scores are equal to the bit."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(ours.curves[:3], theirs.curves[:3], strict=True))


def main(argv: list[str] | None = None) -> None:
    """Times both, prints and writes."""
    args, protocol = parse(argv), make_protocol("coco")
    coco, columns = make_set(args.images, args.boxes, args.detections)
    truth = make_ground_truth(coco, protocol)

    def run(engine: str) -> Result:
        result = evaluate(truth, detection_table(*columns, truth), protocol, engine)
        result.table()
        return result

    before = memory_mb(torch.device("cpu"))
    run("hotcoco")
    memory = memory_mb(torch.device("cpu")) - before
    print(f"arrays to tables: memory at its highest {memory:.0f} MB more than before")
    with tempfile.TemporaryDirectory() as folder:
        truth_file, found_file = f"{folder}/gt.json", f"{folder}/dt.json"
        write_json(truth_file, coco, indent=None)
        write_json(found_file, to_results(columns), indent=None)
        start = partial(subprocess.run, stdout=subprocess.DEVNULL, check=True)
        ours = [sys.executable, str(ROOT / "tools/evaluate.py"), "--gt", truth_file, "--dt", found_file]
        peer = [sys.executable, "-c", PLAIN_SCRIPT, truth_file, found_file]
        in_arrays = {"ours": partial(run, "hotcoco"), "pycocotools": partial(run, "pycocotools")}
        in_files = {"ours": partial(start, ours), "pycocotools": partial(start, peer)}
        cases = [Case("arrays to tables", in_arrays, same_curves), Case("files to tables", in_files)]
        run_cases(cases, 0, torch.device("cpu"), args.json, warm_up=0, least=args.repeats)


if __name__ == "__main__":
    with readable_errors():
        main()
