"""Times the evaluation against pycocotools in one run: python tools/bench_evaluation.py."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from large_set import PLAIN_SCRIPT, make_set, to_results  # noqa: E402

from lib.evaluation import Result, evaluate, make_protocol  # noqa: E402
from lib.evaluation.arrays import detection_table, make_ground_truth  # noqa: E402


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def bench_arrays(coco: dict, columns: tuple, repeats: int) -> None:
    """From arrays to the tables, in this process."""
    protocol, results = make_protocol("coco"), {}
    truth = make_ground_truth(coco, protocol)

    def run(engine: str, rows: slice = slice(None)) -> Result:
        results[engine] = evaluate(
            truth, detection_table(*(c[rows] for c in columns), truth), protocol, engine
        )
        results[engine].table()

    run("hotcoco", slice(9))  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = sorted(seconds(lambda: run("hotcoco")) for _ in range(repeats))[repeats // 2]
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    theirs = seconds(lambda: run("pycocotools"))
    curves = [results[engine].curves[:3] for engine in ("hotcoco", "pycocotools")]
    same = all(one.tobytes() == other.tobytes() for one, other in zip(*curves, strict=True))
    print(f"arrays to tables: median {ours:.2f} s, pycocotools {theirs:.1f} s, ratio {theirs / ours:.0f}")
    print(f"memory at its highest: {memory:.0f} MB more than before; arrays equal to the bit: {same}")


def bench_files(coco: dict, columns: tuple, repeats: int) -> None:
    """From JSON files, start-up included, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        truth, found = Path(folder, "gt.json"), Path(folder, "dt.json")
        truth.write_text(json.dumps(coco))
        found.write_text(json.dumps(to_results(columns)))
        commands = (
            [str(ROOT / "tools/evaluate.py"), "--gt", truth, "--dt", found],
            ["-c", PLAIN_SCRIPT, truth, found],
        )
        ours, theirs = (
            lambda command=command: subprocess.run(
                [sys.executable, *command], stdout=subprocess.DEVNULL, check=True
            )
            for command in commands
        )
        pair = sorted(seconds(ours) for _ in range(repeats))[repeats // 2], seconds(theirs)
    print(
        "files to tables: median {:.2f} s, plain pycocotools {:.1f} s, ratio {:.0f}".format(
            *pair, pair[1] / pair[0]
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 5000), ("boxes", 36_878), ("detections", 500_000), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    data = make_set(options.images, options.boxes, options.detections)
    bench_arrays(*data, options.repeats)
    bench_files(*data, options.repeats)
