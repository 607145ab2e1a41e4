"""Find objects in images or a video, draw their boxes, and write the detections to files.

    python demo.py photos/*.jpg --checkpoint=runs/demo/plain/last.pth
    python demo.py street.mp4 --checkpoint=... --score=0.5
    python demo.py street.mp4 --checkpoint=... --track --count-line=0,.5,1,.5
    python demo.py aerial.jpg --checkpoint=... --tiles=400
    python demo.py photos/ --checkpoint=... --save=coco,labelstudio
    python demo.py ortho.tif --checkpoint=...                  # a GeoTIFF of any size: GeoJSON and an overview
    python demo.py 0 --checkpoint=model.onnx
    python demo.py street.jpg --checkpoint=THEIRS.pth --cfg=THEIRS.yml

The pictures (or the video), detections.json and detections.csv go to --out. Where there is a display, a window shows
each frame, and the key q closes it. The exit status is 1 if something could not be read or written.
"""

import argparse
import logging
import sys
from pathlib import Path

from lib.inference import Predictor, parse_tiles
from lib.inference.display import has_display
from lib.inference.geo import is_map, search_map
from lib.inference.labels import plan_labels
from lib.inference.model_file import checkpoint_file
from lib.inference.option_help import BACKEND_HELP, DTYPE_HELP, TILES_HELP
from lib.inference.outputs import Output, check_folder, plan_outputs
from lib.inference.sources import Files, open_source
from lib.inference.track_files import plan_tracking
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.log import setup_logging
from lib.utils.runtime import keep_memory, set_threads

log = logging.getLogger("demo")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    kinds = "images, folders, patterns and videos, or one URL, camera index or device; names with spaces in quotes"
    add("sources", metavar="SOURCE", nargs="+", help=kinds)
    add("--checkpoint", metavar="FILE", help=".pth, .onnx or .tflite, or its address (default: model.weights of --cfg)")
    add("--cfg", metavar="FILE.yml", help="experiment file (default: the config in the checkpoint)")
    add("--out", default="runs/detections", help="folder for the results (default: %(default)s)")
    add("--score", type=float, default=0.3, help="lowest score of a detection (default: %(default)s)")
    add("--tiles", metavar="SIDE[,OVERLAP[,nms|fusion]]", help=TILES_HELP)
    add("--track", action="store_true", help="give each object a number through all frames (ByteTrack)")
    line = "count the tracks that cross this line, in pixels or in fractions of the frame; may be repeated"
    add("--count-line", action="append", metavar="X1,Y1,X2,Y2", help=f"{line}; implies --track")
    add("--save", action="append", metavar="FORMAT", help="draft labels for other tools: coco, yolo, labelstudio")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)")
    add("--backend", default="torch", help=BACKEND_HELP)
    add("--dtype", default="float32", help=DTYPE_HELP)
    add("--batch-size", type=int, default=8, help="images per batch; always 1 for a camera (default: %(default)s)")
    add("--threads", type=int, default=0, help="threads of torch and ONNX Runtime; 0: they choose (default)")
    add("--no-show", action="store_true", help="no window, even where there is a display")
    return parse_with_overrides(parser, argv, "postprocess.iou_threshold=0.5")


def main(argv: list[str] | None = None) -> int:
    """Shows and writes the detections; the exit status."""
    args = parse(argv)
    setup_logging()
    set_threads(args.threads)
    keep_memory()
    check_folder(Path(args.out), args.sources)
    source = open_source(*args.sources)
    targets = plan_outputs(Path(args.out), source)
    tracking = plan_tracking(args.track, args.count_line or (), args.score)
    least_score = tracking.options.low if tracking else args.score
    checkpoint = checkpoint_file(args.checkpoint, args.cfg, args.overrides)
    labels = plan_labels(args.save or (), Path(args.out), source, Path(checkpoint).name)
    predictor = Predictor(
        checkpoint,
        args.device,
        cfg=args.cfg,
        overrides=[f"postprocess.score_threshold={least_score}", *args.overrides],
        backend=args.backend,
        dtype=args.dtype,
        batch_size=1 if source.is_live else args.batch_size,
        tiles=parse_tiles(args.tiles),
    )
    if len(args.sources) == 1 and is_map(args.sources[0], predictor.reading):
        if args.track or args.save:
            log.warning("--track and --save are not for maps, and are left out")
        identity = [checkpoint, args.backend, args.dtype]
        search_map(Path(args.sources[0]), predictor, Path(args.out), args.score, identity)
        return 0
    if isinstance(source, Files):
        source.reading = predictor.reading
    is_shown = not args.no_show and has_display()
    with Output(Path(args.out), predictor.classes, args.score, is_shown, targets, tracking, labels) as output:
        output.write_all(source, predictor.stream)
    if source.skipped:
        log.warning("%d could not be read: %s", len(source.skipped), ", ".join(map(str, source.skipped)))
    return 1 if source.skipped or output.unwritten else 0


if __name__ == "__main__":
    with readable_errors():
        sys.exit(main())
