"""How fast detectors train: beside torchvision's on random images, or with the loader.

    python tools/bench/training.py [--device cuda --precision bf16] [--json OUT]   beside torchvision's
    python tools/bench/training.py --models [NAME ...] [key=value ...]    images/s, memory, waiting for input

The first wants an interpreter that has torchvision; without it our side alone is timed. Both sides see the same
images and boxes, train all layers by SGD, and take turns; torchvision's floats are made beforehand.
"""

import argparse
import datetime
import json
import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.config import load_config  # noqa: E402
from lib.timing.stages import Spread, machine  # noqa: E402
from lib.timing.training import PAIRS, speed_with_loader, time_pair  # noqa: E402
from lib.utils.files import write_json  # noqa: E402
from lib.utils.runtime import choose_device, readable_errors, seed_everything, set_threads  # noqa: E402

try:
    from tools.bench.torchvision_peer import TrainingPeer
except ImportError as error:
    print(f"our side alone: {error}")
    TrainingPeer = None
MODELS = ["mobilenet_v1/plain", "mobilenet_v1/S1L0_dual", "vgg16/plain", "vgg16/S1L2_dual"]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--pairs", nargs="*", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--models", nargs="*", help="time these experiments instead")
    parser.add_argument("--steps", type=int, default=50, help="of each of --models")
    parser.add_argument("--seconds", type=float, default=60, help="of each of --pairs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args, args.overrides = parser.parse_known_args(argv)
    return args


def main(argv: list[str] | None = None) -> None:
    """Times, prints a line each, writes the figures."""
    args = parse(argv)
    set_threads(args.threads)
    device, figures = choose_device(args.device), {}
    is_paired = args.models is None
    for name in args.pairs if is_paired else args.models or MODELS:
        seed_everything(0)
        experiment = PAIRS[name].experiment if is_paired else name
        overrides = [f"train.precision={args.precision}", *args.overrides]
        cfg = load_config(ROOT / f"experiments/{experiment}.yml", overrides)
        if is_paired:
            times = time_pair(PAIRS[name], cfg, device, args.seconds, TrainingPeer)
            figures[name] = {row: Spread.of(values)._asdict() for row, values in times.items()}
        else:
            figures[name] = speed_with_loader(cfg, device, args.steps)
        print(name, json.dumps(figures[name]), flush=True)
    versions = {
        found.name: found.version for found in distributions() if found.name in ("torch", "torchvision")
    }
    about = {
        "machine": machine(device),
        "date": str(datetime.date.today()),
        **versions,
        "asked": sys.argv[1:],
    }
    if args.json:
        write_json(args.json, {**about, "figures": figures})


if __name__ == "__main__":
    with readable_errors():
        main()
