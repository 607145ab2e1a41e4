"""Test a detector: AP by object size, over all classes and class by class.

    python test.py --checkpoint=runs/mobilenet_v1/S1L0_dual/best.pth
    python test.py --cfg=experiments/... --checkpoint=... --json=result.json data.val.annotations=FILE.json
    python test.py --checkpoint=... --tiles=512 'evaluation.ranges={tiny: [0, 256], rest: [256, .inf]}'
    python test.py --checkpoint=model.onnx                   also --backend=onnxruntime, --dtype=bfloat16
    torchrun --nproc_per_node=4 test.py --checkpoint=...     the processes share the images

Without --cfg the checkpoint's own config counts. The detections are written in COCO's results format beside the
checkpoint, as detections.json, or where --detections says.
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
from lib.utils.files import write_json
from lib.utils.log import setup_logging
from lib.utils.runtime import parse_with_overrides, readable_errors, script_parser, set_threads


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--cfg", help="experiment file; by default the config inside the checkpoint")
    parser.add_argument("--checkpoint", required=True, help="weights (.pth), ours or of the BMVC 2019 code")
    parser.add_argument("--json", help="write the metrics to this file")
    parser.add_argument("--detections", help="write the detections to this file (COCO results format)")
    parser.add_argument("--tiles", help="SIDE[,OVERLAP[,nms|fusion]] of tiles, such as 512,0.25")
    parser.add_argument("--backend", default="torch", help="torch or onnxruntime")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16, float16")
    return parse_with_overrides(parser, argv, "evaluation.batch_size=8")


def detect(args: argparse.Namespace) -> Evaluator | None:
    """What the checkpoint's model finds in the data set; of torchrun's processes the first has it, of all."""
    content = read_checkpoint(args.checkpoint)
    cfg = load_config(args.cfg or read_run(args.checkpoint)["config"], args.overrides)
    set_threads(cfg.run.threads)
    dataset = build_dataset(cfg, "val", content["classes"] if is_ours(content) else None)
    cfg.data.classes = list(dataset.classes)
    model = build_detector(cfg)
    load_weights(model, args.checkpoint)
    with processes(cfg.run.device) as (world, device):
        evaluator = Evaluation(cfg, dataset, device, world)(model.to(device))
    return evaluator if world.is_writer else None


def detect_as_deployed(args: argparse.Namespace) -> Evaluator:
    """The same through Predictor: tiles, exported models, other backends and precisions."""
    options = {"backend": args.backend, "dtype": args.dtype, "tiles": parse_tiles(args.tiles)}
    predictor = Predictor(args.checkpoint, cfg=args.cfg, overrides=args.overrides, **options)
    set_threads(predictor.cfg.run.threads)
    return evaluate_predictor(predictor, build_dataset(predictor.cfg, "val", predictor.classes))


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    setup_logging()
    as_trained = (args.backend, args.dtype, args.tiles) == ("torch", "float32", None)
    is_deployed = args.checkpoint.endswith(".onnx") or not as_trained
    evaluator = detect_as_deployed(args) if is_deployed else detect(args)
    if evaluator is None:
        return
    result = evaluator.evaluate()
    print(result.table())
    file = Path(args.detections or Path(args.checkpoint).with_name("detections.json"))
    write_json(file, evaluator.results(), indent=None)
    print(f"detections: {file}")
    if args.json:
        write_json(args.json, result.to_json())
        print(f"metrics: {args.json}")


if __name__ == "__main__":
    with readable_errors():
        main()
