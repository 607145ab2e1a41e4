"""Test a detector: AP by object size, over all classes and for each.

python test.py --checkpoint=runs/mobilenet_v1/S1L0_dual/best.pth
python test.py --cfg=experiments/... --checkpoint=... --json=result.json data.val.annotations=FILE.json
python test.py --checkpoint=... --tiles=512 'evaluation.ranges={tiny: [0, 256], rest: [256, .inf]}'
python test.py --checkpoint=model.onnx
torchrun --nproc_per_node=4 test.py --checkpoint=...
"""

import argparse
from pathlib import Path

from lib.build import build_dataset, build_detector
from lib.checkpoint import is_ours, load_weights, read_checkpoint, read_run
from lib.config import load_config
from lib.engine.distributed import processes
from lib.engine.evaluate import Evaluation
from lib.evaluation.evaluator import Evaluator
from lib.inference import Predictor, evaluate_predictor, parse_tiles
from lib.utils.files import refuse_sources, write_json
from lib.utils.log import setup_logging
from lib.utils.runtime import parse_with_overrides, readable_errors, script_parser, set_threads


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--cfg", metavar="FILE.yml", help="experiment file (default: the config inside the checkpoint)")
    add("--checkpoint", required=True, metavar="FILE", help=".pth of any supported work, or .onnx of ours")
    add("--json", metavar="FILE", help="file to write the metrics to")
    add("--detections", metavar="FILE", help="COCO results (default: detections.json, beside the checkpoint)")
    add("--tiles", metavar="SIDE[,OVERLAP[,nms|fusion]]", help="cut images into tiles, such as 512,0.25")
    add("--backend", default="torch", help="torch or onnxruntime (default: %(default)s)")
    add("--dtype", default="float32", help="float32, bfloat16 or float16 (default: %(default)s)")
    args = parse_with_overrides(parser, argv, "evaluation.batch_size=8")
    args.detections = args.detections or str(Path(args.checkpoint).with_name("detections.json"))
    return args


def detect(args: argparse.Namespace) -> Evaluator | None:
    """The model's detections in the data set; under torchrun the first process has those of all, the others None."""
    content = read_checkpoint(args.checkpoint)
    cfg = load_config(args.cfg or read_run(args.checkpoint)["config"], args.overrides)
    set_threads(cfg.run.threads)
    refuse_sources([args.json, args.detections], [args.checkpoint, args.cfg, cfg.data.val.annotations])
    dataset = build_dataset(cfg, "val", content["classes"] if is_ours(content) else None)
    cfg.data.classes = list(dataset.classes)
    model = build_detector(cfg)
    load_weights(model, args.checkpoint)
    with processes(cfg.run.device) as (world, device):
        evaluator = Evaluation(cfg, dataset, device, world)(model.to(device))
    return evaluator if world.is_writer else None


def detect_as_deployed(args: argparse.Namespace) -> Evaluator:
    """The detections that ``Predictor`` makes: with tiles, exported models, other backends and precisions."""
    options = {"backend": args.backend, "dtype": args.dtype, "tiles": parse_tiles(args.tiles)}
    predictor = Predictor(args.checkpoint, cfg=args.cfg, overrides=args.overrides, **options)
    cfg = predictor.cfg
    set_threads(cfg.run.threads)
    refuse_sources([args.json, args.detections], [args.checkpoint, args.cfg, cfg.data.val.annotations])
    return evaluate_predictor(predictor, build_dataset(cfg, "val", predictor.classes))


def main(argv: list[str] | None = None) -> None:
    """Tests one detector."""
    args = parse(argv)
    setup_logging()
    how = (args.checkpoint.endswith(".onnx"), args.backend, args.dtype, args.tiles)
    evaluator = detect(args) if how == (False, "torch", "float32", None) else detect_as_deployed(args)
    if evaluator is None:
        return
    result = evaluator.evaluate()
    write_json(args.detections, evaluator.results(), indent=None)
    print(result.table(), f"detections: {args.detections}", sep="\n")
    if args.json:
        write_json(args.json, result.to_json())
        print(f"metrics: {args.json}")


if __name__ == "__main__":
    with readable_errors():
        main()
