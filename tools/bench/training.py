"""Times training: steps beside torchvision's or another checkout's on random images, or training with its input.

    python tools/bench/training.py --device=cuda --precision=bf16
    python tools/bench/training.py --against ../older
    python tools/bench/training.py --models mobilenet_v1/plain vgg16/plain --steps=20 train.batch_size=8

The first wants an interpreter that has torchvision; without it our side alone is timed. Both sides see the same
images and boxes, and train all layers by SGD; torchvision's float images are made beforehand. The second compares the
light recipe's step (experiments/light, batch 4) with another checkout's, by CPU time an image; kernels must be built
there. The third gives images a second, the most memory in use, and the share of the time that waits for input.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.config import load_config
from lib.timing.turns import machine, run_cases
from lib.utils import runtime
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import write_json
from tools.bench.peers import load_torchvision_peer
from tools.bench.peers.checkouts import compare_checkouts
from tools.bench.peers.training_case import PAIRS, pair_case, speed_with_loader

MODELS = ["mobilenet_v1/plain", "mobilenet_v1/S1L0_dual", "vgg16/plain", "vgg16/S1L2_dual"]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add(
        "--pairs",
        nargs="*",
        choices=PAIRS,
        default=list(PAIRS),
        help="pairs to time, ours beside torchvision (default: all)",
    )
    add("--against", type=Path, help="checkout of this project to compare with instead, on one CPU thread")
    add("--models", nargs="*", help="experiments to train instead; without names, four of this project")
    add("--steps", type=int, default=50, help="steps to time for each of --models (default: %(default)s)")
    add("--seconds", type=float, default=60, help="seconds to measure each of --pairs (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    add(
        "--precision",
        default="fp32",
        choices=["fp32", "bf16"],
        help="number type of the training (default: %(default)s)",
    )
    add("--threads", type=int, default=1, help="number of CPU threads (default: %(default)s)")
    add("--json", type=Path, help="JSON file for the figures")
    return parse_with_overrides(parser, argv, "train.batch_size=8")


def experiment(name: str, overrides: list[str]) -> Any:
    """The config of an experiment, whose random numbers begin anew."""
    runtime.seed_everything(0)
    return load_config(ROOT / f"experiments/{name}.yml", overrides)


def main(argv: list[str] | None = None) -> None:
    """Times, prints, writes."""
    args = parse(argv)
    if args.against:
        compare_checkouts({"ours": ROOT, "against": args.against}, args.seconds, args.json)
        return
    runtime.set_threads(args.threads)
    device = runtime.choose_device(args.device)
    overrides = [f"train.precision={args.precision}", *args.overrides]
    if args.models is None:
        peers = load_torchvision_peer()
        peer = peers.TrainingPeer if peers else None
        cases = (pair_case(name, experiment(PAIRS[name].experiment, overrides), device, peer) for name in args.pairs)
        run_cases(cases, args.seconds / (2 if peers else 1), device, args.json)
        return
    report: dict[str, Any] = {"machine": machine(device), "command": sys.argv, "models": {}}
    for name in args.models or MODELS:
        report["models"][name] = speed_with_loader(experiment(name, overrides), device, args.steps)
        print(name, json.dumps(report["models"][name]), flush=True)
    if args.json:
        write_json(args.json, report)


if __name__ == "__main__":
    with readable_errors():
        main()
