"""Test a detector: AP by object size, over all classes and for each.

python test.py --checkpoint=runs/mine/best.pth
python test.py --cfg=experiments/... --checkpoint=... --json=result.json data.val.annotations=FILE.json
python test.py --checkpoint=... --tiles=512 'evaluation.ranges={tiny: [0, 256], rest: [256, .inf]}'
python test.py --checkpoint=model.onnx
python test.py --cfg=THEIRS.yml --checkpoint=THEIRS.pth
torchrun --nproc_per_node=4 test.py --checkpoint=...
"""

import argparse
import logging
from pathlib import Path

from lib.build_data import build_dataset
from lib.config import load_config
from lib.engine.distributed import processes
from lib.engine.evaluate import evaluate
from lib.evaluation.evaluator import Evaluator
from lib.inference import Predictor, parse_tiles
from lib.inference.backends import SUFFIXES, device_for
from lib.inference.model_file import checkpoint_file, load_detector
from lib.inference.option_help import BACKEND_HELP, DTYPE_HELP, TILES_HELP
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import refuse_sources, try_to_write, write_json
from lib.utils.log import setup_logging
from lib.utils.runtime import keep_memory, set_threads

log = logging.getLogger("test")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--cfg", metavar="FILE.yml", help="experiment file (default: the config inside the checkpoint)")
    add(
        "--checkpoint",
        metavar="FILE",
        help=".pth of this or another project, .onnx or .tflite, or its address (default: model.weights of --cfg)",
    )
    add("--json", metavar="FILE", help="JSON file for the metrics")
    detections = "file for the detections, a COCO results list (default: detections.json beside --checkpoint"
    add("--detections", metavar="FILE", help=f"{detections}; without it, or of an address, in this folder)")
    add("--tiles", metavar="SIDE[,OVERLAP[,nms|fusion]]", help=TILES_HELP)
    add("--backend", default="torch", help=BACKEND_HELP)
    add("--dtype", default="float32", help=DTYPE_HELP)
    args = parse_with_overrides(parser, argv, "evaluation.batch_size=8")
    given, args.checkpoint = args.checkpoint, checkpoint_file(args.checkpoint, args.cfg, args.overrides)
    folder = Path(given).parent if given and "://" not in given else Path()
    args.detections = args.detections or str(folder / "detections.json")
    return args


def detect(args: argparse.Namespace) -> Evaluator | None:
    """The model's detections in the data set; under torchrun the first process has those of all, the others None."""
    is_exported = args.checkpoint.endswith(tuple(SUFFIXES))
    model = args.checkpoint if is_exported else load_detector(args.checkpoint, args.cfg, args.overrides)
    run = (load_config({}, args.overrides) if is_exported else model.cfg).run
    set_threads(run.threads)
    if run.keep_memory:
        keep_memory()
    options = {"backend": args.backend, "dtype": args.dtype, "tiles": parse_tiles(args.tiles)}
    with processes(str(device_for(run.device, args.backend, is_exported))) as (world, device):
        predictor = Predictor(model, device, cfg=args.cfg, overrides=args.overrides, **options)
        cfg = predictor.cfg
        predictor.batch_size = cfg.evaluation.batch_size
        refuse_sources([args.json, args.detections], [args.checkpoint, args.cfg, cfg.data.val.annotations])
        try_to_write({"--json=FILE": args.json, "--detections=FILE": args.detections})
        dataset = build_dataset(cfg, "val")
        if world.is_writer:
            log.info("%s", dataset.report())
        evaluator = evaluate(predictor, dataset, world)
    return evaluator if world.is_writer else None


def main(argv: list[str] | None = None) -> None:
    """Tests one detector."""
    args = parse(argv)
    setup_logging()
    evaluator = detect(args)
    if evaluator is None:
        return
    result = evaluator.evaluate()
    print(result.table())
    if args.json:
        write_json(args.json, result.to_json())
        print(f"metrics: {args.json}")
    write_json(args.detections, evaluator.results(), indent=None)
    print(f"detections: {args.detections}")


if __name__ == "__main__":
    with readable_errors():
        main()
