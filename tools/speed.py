"""Measures what a detector costs and how long each stage takes, alone or compared with others in the same run.

    python tools/speed.py --cfg=experiments/mobilenet_v1/S1L0.yml --threads=1
    python tools/speed.py --checkpoint=runs/.../best.pth --images photos/ --backend=onnxruntime
    python tools/speed.py --cfg=A.yml --against B.yml C.yml --json=speed.json
    python tools/speed.py --sweep 'experiments/**/*.yml' --plot=speed.png

Weights from --cfg are random: then nearly every score passes the threshold, which is the worst case for NMS.
"""

import argparse
import glob
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.inference.option_help import BACKEND_HELP, DTYPE_HELP
from lib.timing.report import known_ap_small, plot_time_against_ap, speed_table
from lib.timing.stages import make_images, open_models, run_speed, shared_device
from lib.utils import runtime
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import write_json
from lib.utils.log import setup_logging


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cfg", help="experiment file (.yml)")
    what.add_argument("--checkpoint", help="weights (.pth), or an exported model (.onnx, .tflite)")
    what.add_argument("--sweep", metavar="PATTERN", help="pattern in quotes: compare all these experiments in one run")
    add("--against", nargs="+", default=[], metavar="OTHER", help="more configs or checkpoints to compare with")
    add("--images", help="image, folder or video whose first images are used (default: noise)")
    add("--size", type=int, nargs=2, default=(480, 640), help="height and width of the noise images (default: 480 640)")
    add("--batch", type=int, default=1, help="images per batch (default: %(default)s)")
    add("--seconds", type=float, default=10, help="seconds to measure, all models together (default: 10)")
    add("--threads", type=int, default=0, help="threads of torch, ONNX Runtime and OpenVINO; 0: they choose (default)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    add("--backend", default="torch", help=BACKEND_HELP)
    add("--dtype", default="float32", help=DTYPE_HELP)
    add("--compile", action="store_true", help="compile the network with torch.compile")
    add("--seed", type=int, default=0, help="seed of the random weights and the noise (default: 0)")
    add("--json", help="JSON file for all figures")
    add("--plot", help="picture to draw: time against AP of small objects")
    return parse_with_overrides(parser, argv, "model.num_classes=21")


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, writes."""
    args = parse(argv)
    setup_logging()
    runtime.set_threads(args.threads)
    runtime.keep_memory()
    runtime.seed_everything(args.seed)
    rng = np.random.default_rng(args.seed)
    found = sorted(path for path in glob.glob(args.sweep or "", recursive=True) if Path(path).parent.name != "_base_")
    first = found if args.sweep else [args.cfg or args.checkpoint]
    sources = [*first, *args.against]
    options = {"backend": args.backend, "dtype": args.dtype, "compiled": args.compile}
    models = open_models(sources, args.device, args.overrides, **options, batch_size=args.batch)
    reading = next(iter(models.values())).reading
    images = make_images(args.images, tuple(args.size), args.batch, rng, reading)
    report = run_speed(models, images, args.seconds, shared_device(models))
    report["header"] |= options
    for source, model in zip(sources, report["models"].values(), strict=True):
        model["ap_small"] = known_ap_small(source)
    print(speed_table(report))
    if args.json:
        write_json(args.json, report)
    if args.plot and not plot_time_against_ap(report, Path(args.plot)):
        print(f"{args.plot} is not drawn, because no experiment file states an AP of small objects")


if __name__ == "__main__":
    with readable_errors():
        main()
