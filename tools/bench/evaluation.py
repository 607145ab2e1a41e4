"""Times the evaluation against pycocotools in one run: python tools/bench/evaluation.py."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from large_set import PLAIN_SCRIPT, make_set, to_results  # noqa: E402

from lib.evaluation import evaluate, make_protocol  # noqa: E402
from lib.evaluation.arrays import detection_table, make_ground_truth  # noqa: E402
from lib.utils.files import write_json  # noqa: E402


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Median wall-clock time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def bench_arrays(coco: dict, columns: tuple, repeats: int) -> None:
    """From arrays to the tables, in this process."""
    protocol, results = make_protocol("coco"), {}
    truth = make_ground_truth(coco, protocol)

    def run(engine: str, rows: slice = slice(None)) -> None:
        found = detection_table(*(column[rows] for column in columns), truth)
        results[engine] = evaluate(truth, found, protocol, engine)
        results[engine].table()

    run("hotcoco", slice(9))  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = seconds(lambda: run("hotcoco"), repeats)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    theirs = seconds(lambda: run("pycocotools"))
    curves = [results[engine].curves[:3] for engine in ("hotcoco", "pycocotools")]
    same = all(one.tobytes() == other.tobytes() for one, other in zip(*curves, strict=True))
    print(f"arrays to tables: median {ours:.2f} s, pycocotools {theirs:.1f} s, ratio {theirs / ours:.0f}")
    print(f"memory at its highest: {memory:.0f} MB more than before; arrays equal to the bit: {same}")


def bench_files(coco: dict, columns: tuple, repeats: int) -> None:
    """From JSON files, start-up included, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "gt.json"), Path(folder, "dt.json")
        for path, content in zip(paths, (coco, to_results(columns)), strict=True):
            write_json(path, content, indent=None)
        ours = [ROOT / "tools/evaluate.py", "--gt", paths[0], "--dt", paths[1]]
        run, quiet = subprocess.run, {"stdout": subprocess.DEVNULL, "check": True}
        fast = seconds(lambda: run([sys.executable, *ours], **quiet), repeats)
        slow = seconds(lambda: run([sys.executable, "-c", PLAIN_SCRIPT, *paths], **quiet))
    print(f"files to tables: median {fast:.2f} s, plain pycocotools {slow:.1f} s, ratio {slow / fast:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 5000), ("boxes", 36_878), ("detections", 500_000), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    data = make_set(options.images, options.boxes, options.detections)
    bench_arrays(*data, options.repeats)
    bench_files(*data, options.repeats)
