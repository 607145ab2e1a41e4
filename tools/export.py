"""Writes a checkpoint as ONNX, LiteRT, a page for browsers or torch.export's archive, to run without this project.

python tools/export.py --checkpoint=runs/demo/plain/last.pth --out=model.onnx --check photos/
python tools/export.py --checkpoint=... --out=heads.onnx --heads          logits and deltas, for other NMS
python tools/export.py --checkpoint=... --out=small.onnx --int8 photos/   8-bit network, calibrated on photos/
python tools/export.py --checkpoint=... --out=model.pt2
python tools/export.py --checkpoint=... --out=model.tflite [--int8 photos/]   for phones; in .venv-extras
python tools/export.py --checkpoint=... --web=page/                        a page that runs in a browser, from the disk
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build_data import build_resize  # noqa: E402
from lib.inference.export.agreement import compare, first_images  # noqa: E402
from lib.inference.export.onnx import archive_bytes, check_target, onnx_bytes  # noqa: E402
from lib.inference.export.tflite import tflite_bytes  # noqa: E402
from lib.inference.model_file import Loaded, load_detector  # noqa: E402
from lib.inference.predictor import Predictor, prepare  # noqa: E402
from lib.inference.tiles import parse_tiles  # noqa: E402
from lib.ops.checks import check_positive  # noqa: E402
from lib.utils.files import refuse_sources, write_bytes  # noqa: E402
from lib.utils.log import setup_logging  # noqa: E402
from lib.utils.runtime import parse_with_overrides, readable_errors, script_parser  # noqa: E402


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, help="weights (.pth)")
    add("--cfg", help="experiment file; by default the config inside the checkpoint")
    add("--out", help="file to write: .onnx, .tflite for LiteRT, or .pt2 for torch.export")
    add("--web", metavar="DIR", help="instead of --out: a page that detects in a browser, without a server")
    add("--single", action="store_true", help="put all of the page into one file, DIR/index.html")
    add("--tiles", metavar="SIDE[,OVERLAP]", help="in the page, cut large images into tiles, such as 512,0.25")
    add("--heads", action="store_true", help="end with logits, deltas and priors: no decoding, no NMS")
    add("--no-resize", action="store_true", help="take images of the network's size only")
    add("--int8", metavar="IMAGES", help="quantize the network, calibrated on a folder of images")
    add("--check", metavar="IMAGES", help="compare the detections of checkpoint and ONNX on images")
    add("--limit", type=int, default=50, help="images for --int8 and --check (default: %(default)s)")
    args = parse_with_overrides(parser, argv, "postprocess.score_threshold=0.3")
    if bool(args.out) == bool(args.web):
        parser.error("one of --out and --web must be given")
    if args.web and (args.heads or args.no_resize or args.check):
        parser.error("--web must come without --heads, --no-resize and --check")
    if args.web:
        args.out = f"{args.web}/model.onnx"  # which is not written
    return args


def make_content(args: argparse.Namespace, loaded: Loaded, samples: Iterator[np.ndarray]) -> bytes:
    """The content of the file to write; ``samples`` are for --int8."""
    if Path(args.out).suffix == ".pt2":
        return archive_bytes(loaded, args.heads, not args.no_resize)
    resize = build_resize(loaded.cfg)
    inputs = (prepare([image], resize).images for image in samples)
    if Path(args.out).suffix == ".tflite":
        return tflite_bytes(loaded, list(inputs))
    content = onnx_bytes(loaded, args.heads, not args.no_resize)
    if not args.int8:
        return content
    from lib.inference.export.quantize import quantize  # needs ONNX Runtime's tools

    return quantize(content, inputs)


def main(argv: list[str] | None = None) -> int:
    """Exports, and compares where asked to."""
    args = parse(argv)
    setup_logging()
    out = Path(args.out)
    refuse_sources([out], [args.checkpoint, args.cfg])
    check_target(out, needs_onnx=bool(args.int8 or args.check))
    check_positive(args.limit, "--limit")
    samples, images = (first_images(source, args.limit) if source else iter(()) for source in (args.int8, args.check))
    loaded = load_detector(args.checkpoint, args.cfg, tuple(args.overrides))
    content = make_content(args, loaded, samples)
    if args.web:
        from lib.inference.export.web import write_page

        files = write_page(out.parent, content, loaded, parse_tiles(args.tiles), args.single)
    else:
        write_bytes(out, content)
        files = [out]
    for file in files:
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    if not args.check:
        return 0
    checkpoint, exported = Predictor(loaded, "cpu"), Predictor(out)
    agreement = compare(
        lambda image: next(checkpoint.stream([image])), lambda image: next(exported.stream([image])), images
    )
    print(f"checkpoint and {out.name}: {agreement}")
    return 1 if agreement.unequal and not args.int8 else 0


if __name__ == "__main__":
    with readable_errors():
        sys.exit(main())
