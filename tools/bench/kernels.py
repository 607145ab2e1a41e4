"""Times the kernels against their peers, in one run and on one thread; `make bench`.

    python tools/bench/kernels.py [--json OUT] [--only nms] [--seconds 1.5]

Peers that are not installed are left out; docs/kernels.md says how to get torchvision for the CPU. The jobs of a row
run in turns, in blocks of several calls, so that a disturbance of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from lib.timing.stages import Spread, machine  # noqa: E402
from lib.utils.files import write_json  # noqa: E402
from tools.bench.kernel_cases import Case, Job, cpu_cases, cuda_cases, torchvision  # noqa: E402


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--json", default="runs/bench_kernels.json", help="where to write the figures")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each job of a row is timed")
    return parser.parse_args(argv)


def block_ms(job: Job, calls: int) -> float:
    """Milliseconds of one of `calls` calls."""
    start = time.perf_counter()
    for _ in range(calls):
        job()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1000 / calls


def measure(case: Case, seconds: float) -> dict:
    """The row of a case: milliseconds of each job (at least 5 blocks), and the peers' ratios to ours."""
    jobs = {"ours": case.ours, **case.peers}
    result = case.ours()
    same = {name: case.is_same(result, job()) for name, job in case.peers.items()}  # also the warm-up
    calls = {name: max(1, int(20 / max(block_ms(job, 1), 1e-3))) for name, job in jobs.items()}
    blocks: dict[str, list[float]] = {name: [] for name in jobs}
    end = time.perf_counter() + seconds * len(jobs)
    while len(blocks["ours"]) < 5 or time.perf_counter() < end:
        for name, job in jobs.items():
            blocks[name].append(block_ms(job, calls[name]))
    times = {name: Spread.of(np.array(values)) for name, values in blocks.items()}
    peers = {
        name: {
            **times[name]._asdict(),
            "ratio": times[name].median / times["ours"].median,
            "same": same[name],
        }
        for name in case.peers
    }
    return {"name": case.name, **times["ours"]._asdict(), "peers": peers}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peer = torchvision.__version__ if torchvision else None
    run = {"date": datetime.date.today().isoformat(), "load": os.getloadavg()[0], "torchvision": peer}
    report = {"machine": machine(device) | run, "rows": []}
    print(*(f"{key}: {value}" for key, value in report["machine"].items()), sep=", ")
    cases = [*cpu_cases(), *(cuda_cases() if device.type == "cuda" else [])]
    for case in (case for case in cases if args.only in case.name):
        row = measure(case, args.seconds)
        report["rows"].append(row)
        print(f"{row['name']}: {row['median']:.3f} ms ({row['p5']:.3f} .. {row['p95']:.3f})")
        for name, times in row["peers"].items():
            same = "same result" if times["same"] else "OTHER RESULT"
            print(f"    {name:<12}{times['median']:10.3f} ms {times['ratio']:8.1f} times ours, {same}")
    write_json(args.json, report)
    print(f"figures in {args.json}")


if __name__ == "__main__":
    main()
