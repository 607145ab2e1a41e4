"""A detector as a page for a browser, with everything inside: it runs from the disk, and sends nothing anywhere."""

import base64
import gzip
from pathlib import Path
from typing import Any

import torch
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from lib import __version__
from lib.build_data import build_resize
from lib.inference.model_file import Loaded
from lib.inference.tiles import CUT_MARGIN, Tiles, tile_sides
from lib.utils.draw import class_color
from lib.utils.files import write_text
from lib.utils.packages import download_npm, read_tar
from lib.utils.template import render

RUNTIME = "onnxruntime-web@1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"  # of the archive that npm's registry has
CODE, BINARY = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
SCORE = 0.3  # from which on the page shows objects at first, as demo.py does
PAGE = Path(__file__).with_name("page")


def runtime_parts() -> dict[str, bytes]:
    """ONNX Runtime for browsers, ``code`` and ``binary``; npm downloads it once, into torch's cache (TORCH_HOME).

    Raises:
        PackageError: there is no npm, or it cannot get the package that is expected.
    """
    archive = download_npm(RUNTIME, SHA256, Path(torch.hub.get_dir()) / "packages")
    files = read_tar(archive, (CODE, BINARY))
    return {"code": files[CODE], "binary": files[BINARY]}


def write_page(
    folder: Path, model: bytes, loaded: Loaded, tiles: Tiles | None = None, single: bool = False
) -> list[Path]:
    """Writes the page of a detector, ``index.html`` and what belongs to it, and gives its files.

    Scripts carry the model and the runtime, compressed, because a page from the disk may not read other files.

    Args:
        model: ONNX that ends with detections, with the resize inside.
        tiles: of images that are larger; None: as ``Predictor`` chooses them. A user of the page can change the side.
        single: whether the scripts stand inside of index.html, and not beside it.

    Raises:
        ValueError: tiles that the page does not know.
        PackageError: the runtime cannot be had.
    """
    tiles = tiles or default_tiles(loaded)
    if tiles and (tiles.merge != "nms" or not tiles.whole):
        raise ValueError(f"tiles of a page must be merged by nms; got {tiles.merge}: choose nms")
    parts = runtime_parts()
    runtime = ", ".join(f"{name}: {_packed(content)}" for name, content in parts.items())
    sources = {"runtime.js": f"const RUNTIME = {{ {runtime} }};\n", "model.js": f"const MODEL = {_packed(model)};\n"}
    scripts = [_script(f"const ABOUT = {htmlsafe_json_dumps(_about(loaded, tiles))};\n")]
    if single:
        scripts += map(_script, sources.values())
    else:
        for name, source in sources.items():
            write_text(folder / name, source)
        scripts += [Markup('<script src="{}"></script>').format(name) for name in sources]
    scripts += [_script((PAGE / name).read_text(encoding="utf-8")) for name in ("detect.js", "page.js")]
    write_text(folder / "index.html", _html(loaded, tiles, scripts))
    return [folder / name for name in ("index.html", *(() if single else sources))]


def default_tiles(loaded: Loaded) -> Tiles | None:
    """The tiles of images that are larger than the network's input, where images keep their size; as in Predictor."""
    window = build_resize(loaded.cfg).window
    return Tiles(window) if window else None


def _html(loaded: Loaded, tiles: Tiles | None, scripts: list[Markup]) -> str:
    least = loaded.cfg.postprocess.score_threshold
    return render(
        PAGE / "index.html",
        title=loaded.cfg.run.name or "Detector",
        classes=loaded.classes,
        least=least,
        score=max(SCORE, least),
        tile=" x ".join(dict.fromkeys(map(str, tile_sides(tiles.size)))) if tiles else "none",
        about=f"Made by tools/export.py, version {__version__}.",
        runtime=f"ONNX Runtime Web {RUNTIME.rpartition('@')[2]}",
        scripts=scripts,
    )


def _about(loaded: Loaded, tiles: Tiles | None) -> dict[str, Any]:
    """What the scripts need to know of the detector."""
    rules = tiles or Tiles(0)
    return {
        "classes": loaded.classes,
        "colors": ["rgb({2}, {1}, {0})".format(*class_color(label + 1)) for label in range(len(loaded.classes))],
        "tile": tile_sides(tiles.size) if tiles else None,
        "rules": {"overlap": rules.overlap, "threshold": rules.threshold, "cutMargin": CUT_MARGIN},
    }


def _packed(content: bytes) -> str:
    """A literal of JavaScript: the content, compressed, in base64."""
    return f'"{base64.b64encode(gzip.compress(content, mtime=0)).decode()}"'


def _script(source: str) -> Markup:
    assert "</script" not in source.lower(), "a script must not end its own element"
    return Markup("<script>\n{}</script>").format(Markup(source))
