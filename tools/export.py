"""Exports a checkpoint as ONNX, LiteRT, a page for browsers or torch.export's archive, to run without this project.

python tools/export.py --checkpoint=runs/demo/plain/last.pth --out=model.onnx --check photos/
python tools/export.py --checkpoint=... --out=heads.onnx --heads      # logits and box deltas, no NMS
python tools/export.py --checkpoint=... --out=small.onnx --int8       # 8-bit convolutions; prints AP before and after
python tools/export.py --checkpoint=... --out=model.pt2
python tools/export.py --checkpoint=... --out=model.tflite            # for phones, also --int8; in .venv-extras
python tools/export.py --checkpoint=... --web=page/                   # a page that runs in a browser, from the disk
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build_data import build_reading
from lib.inference.export.agreement import compare, first_images
from lib.inference.export.onnx import OPSET, archive_bytes, check_target, onnx_bytes, with_nms
from lib.inference.export.tflite import tflite_bytes
from lib.inference.model_file import Loaded, load_detector
from lib.inference.predictor import Predictor
from lib.inference.tiles import parse_tiles
from lib.ops.checks import check_positive
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import refuse_sources, try_to_write, write_bytes
from lib.utils.log import setup_logging

# What a format does not take; a page holds an ONNX model
UNUSED = {
    "--web": ("batch", "heads", "no_resize", "check"),
    ".onnx": ("single",),
    ".pt2": ("batch", "opset", "single"),
    ".tflite": ("batch", "opset", "heads", "no_resize", "single"),
}
TILES = (
    "with --web or --int8: cut large images into tiles of SIDE pixels that overlap by OVERLAP of their side (default "
    "0.25), such as 512,0.25"
)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, help="weights (.pth)")
    add("--cfg", help="experiment file (default: the config inside the checkpoint)")
    add("--out", help="file to write: .onnx, .tflite for LiteRT, or .pt2 for torch.export")
    add("--web", metavar="DIR", help="instead of --out: a page that detects in a browser, without a server")
    add("--single", action="store_true", help="with --web: put the whole page into one file, DIR/index.html")
    add("--tiles", metavar="SIDE[,OVERLAP]", help=TILES)
    add("--heads", action="store_true", help="output logits, box deltas and priors: no decoding, no NMS")
    add("--no-resize", action="store_true", help="the model accepts only images of the network's input size")
    add("--opset", type=int, default=OPSET, help="version of the ONNX operators (default: %(default)s)")
    add("--batch", type=int, help="fixed batch size of the model (default: any)")
    add(
        "--int8",
        metavar="IMAGES",
        nargs="?",
        const="",
        help="quantize the convolutions to 8 bits, calibrated on these images (default: those of data.train)",
    )
    add("--force", action="store_true", help="write an --int8 model even if it is slower and worse, or untested")
    add("--check", metavar="IMAGES", help="compare the detections of checkpoint and exported model on these images")
    add("--limit", type=int, default=100, help="most images for --int8 and --check (default: %(default)s)")
    args = parse_with_overrides(parser, argv, "postprocess.score_threshold=0.3")
    if bool(args.out) == bool(args.web):
        parser.error("one of --out and --web must be given")
    form = "--web" if args.web else Path(args.out).suffix
    for name in UNUSED.get(form, ()):
        if getattr(args, name) != parser.get_default(name):
            other = "--web=DIR" if name == "single" else "--out=model.onnx"
            parser.error(f"{form} must come without --{name.replace('_', '-')}: leave it out, or choose {other}")
    if args.int8 is None and args.force:
        parser.error("--force must come with --int8: leave it out, or give --int8, too")
    if args.int8 is None and args.tiles and not args.web:
        parser.error("--tiles must come with --web or --int8, because a model file itself cuts no tiles: leave it out")
    if args.web:
        args.out = f"{args.web}/model.onnx"  # which is not written
    return args


def make_content(args: argparse.Namespace, loaded: Loaded) -> bytes:
    """The content of the file to write."""
    suffix = Path(args.out).suffix
    if suffix == ".pt2":
        return archive_bytes(loaded, args.heads, not args.no_resize)
    if suffix == ".tflite":
        content = tflite_bytes(loaded)
    else:
        content = onnx_bytes(loaded, args.heads, not args.no_resize, args.opset, args.batch)
    if args.int8 is None:
        return content
    from lib.timing.int8 import make_int8, testing_set, training_images  # needs ONNX

    reading = build_reading(loaded.cfg)
    images = first_images(args.int8, args.limit, reading) if args.int8 else training_images(loaded.cfg, args.limit)
    test_set, tiles = testing_set(loaded.cfg, args.force), parse_tiles(args.tiles)
    return make_int8(content, suffix, loaded, images, test_set, args.force, tiles)


def main(argv: list[str] | None = None) -> int:
    """Exports, and compares where asked to."""
    args = parse(argv)
    setup_logging()
    out = Path(args.out)
    refuse_sources([out], [args.checkpoint, args.cfg])
    check_target(out, needs_onnx=args.int8 is not None or bool(args.check))
    try_to_write({"--web=DIR" if args.web else "--out=FILE": out})
    check_positive(args.limit, "--limit")
    if args.batch is not None:
        check_positive(args.batch, "--batch")
    loaded = load_detector(args.checkpoint, args.cfg, tuple(args.overrides))
    images = first_images(args.check, args.limit, build_reading(loaded.cfg)) if args.check else iter(())
    if out.suffix == ".onnx" and not args.heads:
        loaded = with_nms(loaded)
    content = make_content(args, loaded)
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
    checkpoint.resize = exported.resize  # inputs of one size, also where the checkpoint alone takes several
    agreement = compare(
        lambda image: next(checkpoint.stream([image])), lambda image: next(exported.stream([image])), images
    )
    print(f"checkpoint and {out.name}: {agreement}")
    return 1 if agreement.unequal and args.int8 is None else 0


if __name__ == "__main__":
    with readable_errors():
        sys.exit(main())
