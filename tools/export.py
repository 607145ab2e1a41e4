"""Writes a checkpoint as ONNX, or as an archive of torch.export, that runs without this project.

python tools/export.py --checkpoint=runs/demo/plain/last.pth --out=model.onnx --check photos/
python tools/export.py --checkpoint=... --out=heads.onnx --heads          logits and deltas, for other NMS
python tools/export.py --checkpoint=... --out=small.onnx --int8 photos/   8-bit network, calibrated on photos/
python tools/export.py --checkpoint=... --out=model.pt2
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
from lib.inference.model_file import Loaded, load_detector  # noqa: E402
from lib.inference.predictor import Predictor, prepare  # noqa: E402
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
    add("--out", required=True, help="file to write: .onnx, or .pt2 for torch.export")
    add("--heads", action="store_true", help="end with logits, deltas and priors: no decoding, no NMS")
    add("--no-resize", action="store_true", help="take images of the network's size only")
    add("--int8", metavar="IMAGES", help="quantize the network, calibrated on a folder of images")
    add("--check", metavar="IMAGES", help="compare the detections of checkpoint and ONNX on images")
    add("--limit", type=int, default=50, help="images for --int8 and --check (default: %(default)s)")
    return parse_with_overrides(parser, argv, "postprocess.score_threshold=0.3")


def make_content(args: argparse.Namespace, loaded: Loaded, samples: Iterator[np.ndarray]) -> bytes:
    """The content of the file to write; ``samples`` are for --int8."""
    if Path(args.out).suffix == ".pt2":
        return archive_bytes(loaded, args.heads, not args.no_resize)
    content = onnx_bytes(loaded, args.heads, not args.no_resize)
    if not args.int8:
        return content
    from lib.inference.export.quantize import quantize  # needs ONNX Runtime's tools

    resize = build_resize(loaded.cfg)
    return quantize(content, (prepare([image], resize).images for image in samples))


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
    write_bytes(out, make_content(args, loaded, samples))
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
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
