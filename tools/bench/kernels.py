"""Times the kernels against other implementations of the same jobs, in one run and on one thread.

    python tools/bench/kernels.py                               # make bench
    python tools/bench/kernels.py --only=nms --seconds=5
    python tools/bench/kernels.py --device=cuda                 # the CUDA kernels alone

Implementations that are not installed are left out; docs/kernels.md says how to get torchvision for the CPU. Those of
a job take turns, in blocks of several calls. On a machine with a GPU its kernels are timed too.
"""

import argparse
import itertools
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from lib.timing.turns import run_cases
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.runtime import choose_device, set_threads
from tools.bench.peers.kernel_cases import cpu_cases, cuda_cases


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--json", default="runs/bench_kernels.json", help="JSON file for the figures")
    parser.add_argument("--only", default="", help="time the jobs whose name contains this")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="time these kernels alone (default: all there are)")
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds to measure each implementation of a job")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Times, prints, writes."""
    args = parse(argv)
    set_threads(1)
    device = choose_device(args.device or "auto")
    kinds = [args.device] if args.device else dict.fromkeys(["cpu", device.type])
    cases = itertools.chain.from_iterable({"cpu": cpu_cases, "cuda": cuda_cases}[kind]() for kind in kinds)
    chosen = (case for case in cases if args.only in case.name)
    run_cases(chosen, args.seconds, device, args.json, warm_up=1, least=5, block_ms=20)


if __name__ == "__main__":
    with readable_errors():
        main()
