"""Translate another project's configuration file into an experiment file; both load to the same config.

    python tools/translate_config.py rfb_lite_mobilenetv2_train_voc.yml --out=experiments/mine/rfb_lite.yml
    python tools/translate_config.py vgg_ssd300_voc0712.yaml --out=voc300.yml
    python tools/translate_config.py MobileNetV3_FPN_SSD.json --out=small_fpn.yml

It reads the files of the BMVC 2019 code and its parent, of lufficc's SSD, of SSDLite with MobileNetV2 and MobileNeXt,
and of the MobileNetV3 and MobileDet SSDLite in Keras. Comments at the top name what has no counterpart here.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.config import DEFAULTS, load_config, read_config
from lib.legacy.configs import READERS, find_reader, translate_with_notes
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.files import refuse_sources, write_text
from lib.utils.yaml_files import dump_yaml, to_plain


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    parser.add_argument("source", metavar="THEIRS", help="configuration file of another project")
    parser.add_argument("--out", required=True, metavar="OURS.yml", help="file to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Translates one file."""
    args = parse(argv)
    refuse_sources([args.out], [args.source])
    source = read_config(args.source)
    reader = find_reader(source)
    if reader is None:
        works = "; ".join(row.about for row in READERS)
        raise ValueError(f"{args.source} must be a configuration file of {works}; got one of ours, or of no known work")
    config, notes = translate_with_notes(source)
    load_config(config)  # refuses what our code cannot do
    config = {section: config[section] for section in DEFAULTS if section in config}
    lines = [f"# {Path(args.source).name}, a file of {reader.about}", *(f"# {note}" for note in notes)]
    write_text(args.out, "\n".join([*lines, dump_yaml(to_plain(config), flow=None)]))
    print(f"{args.out}: {len(notes)} comments")


if __name__ == "__main__":
    with readable_errors():
        main()
