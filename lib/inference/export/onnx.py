"""A detector as one file that runs without this project: ONNX, or torch.export's archive."""

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lib import __version__
from lib.build import build_postprocess
from lib.build_data import build_resize, input_size, testing_size
from lib.config import dump_config
from lib.data.augment.geometric import Resize
from lib.inference.export.about import about_model
from lib.inference.model_file import Loaded
from lib.inference.network import Network
from lib.inference.onnx_model import DETECTIONS, HEADS, LOGITS
from lib.models.cost import largest_stride
from lib.models.detector import Detector
from lib.multibox.postprocess import PostProcess
from lib.ops.boxes import clip_boxes, scale_boxes
from lib.utils.fields import error_text

log = logging.getLogger(__name__)
OPSET = 18  # of ONNX: the first that has all operators which are needed
EXAMPLE_SCALE = (1.4, 2.3)  # sides of the example image of an export, relative to the network's input


class HeadsModel(nn.Module):
    """Images of the network's size -> logits (B, P, K), deltas (B, P, 4), priors (P, 4), all float32."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, H, W, 3) uint8 BGR of the network's size."""
        predictions = self.network(images)
        return predictions.logits.float(), predictions.deltas.float(), predictions.priors


class AnySizeModel(nn.Module):
    """Images of any size that the network takes -> logits (B, P, K), deltas (B, P, 4), float32; no priors, which depend
    on the size.

    The sides come in cells of the network's largest stride. The size of every map is then a plain multiple for
    torch.export, which spent minutes over roundings otherwise.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, rows, stride, columns, stride, 3) uint8 BGR: (B, H, W, 3), seen so."""
        batch, rows, stride, columns, _, _ = cells.shape
        images = cells.reshape(batch, rows * stride, columns * stride, 3)
        detector: Any = self.network.detector
        logits, deltas = detector.head(detector.maps(self.network.normalize(images)))
        return logits.float(), deltas.float()


class DetectionModel(nn.Module):
    """Images -> boxes (B, D, 4) in their pixels, scores (B, D), labels (B, D) and counts (B,), padded to D.

    With a ``resize`` images may have any size, and are resized inside to that of the network's input.
    """

    def __init__(self, network: Network, postprocess: PostProcess, size: tuple[int, int], resize: Resize | None):
        super().__init__()
        self.network, self.postprocess, self.size, self.resize = network, postprocess, size, resize

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, H, W, 3) uint8 BGR; the images of a batch are of one size."""
        network_sizes = torch.tensor([self.size]).expand(images.shape[0], 2)  # (B, 2)
        if self.resize is None:
            return tuple(self.postprocess.stepwise(self.network(images), network_sizes))
        prepared, frame = resize_images(images, self.resize)
        detections = self.postprocess.stepwise(self.network(prepared), network_sizes)
        boxes = scale_boxes(detections.boxes, self.size, frame)
        sides = torch.stack([torch.scalar_tensor(side, dtype=torch.float32) for side in images.shape[1:3]])
        return tuple(detections._replace(boxes=clip_boxes(boxes, sides)))


def resize_images(images: torch.Tensor, resize: Resize) -> tuple[torch.Tensor, torch.Tensor]:
    """What ``resize`` does with whole images, in operators that export: the network's input (B, h, w, 3) uint8, and the
    (2,) float32 (height, width) of what it shows, in pixels of the images (B, H, W, 3) uint8.

    The pixels are equal except for rounding: OpenCV rounds the mean of four pixels up where it is a half, and all
    other means to even. That is a gray level or two in some pixels. With ``native``, images that are larger than the
    input at their scale are letterboxed.
    """
    size, sides = resize.size, images.shape[1:3]
    lengths = torch.stack([torch.scalar_tensor(side, dtype=torch.float32) for side in sides])
    factors = lengths / torch.tensor(size)  # (2,) pixels of the image for one of the input
    steps = [side // most for side, most in zip(sides, size, strict=True)]  # the same in whole pixels
    if resize.resize != "stretch":
        factors, steps = factors.max().expand(2), [torch.sym_max(*steps)] * 2
    if resize.resize == "native":
        factors = factors.clamp(min=1 / resize.scale)
    blocks = images.float()
    counts, ratios = [], []
    for axis, (length, step) in enumerate(zip(sides, steps, strict=True), start=1):
        block = torch.sym_max(step, 1)
        count = (length + block - 1) // block
        pixels = torch.arange(count * block, dtype=torch.float32).clamp(max=length - 1)  # the last block is filled up
        blocks = blocks.index_select(axis, pixels.long()).unflatten(axis, (count, block)).mean(axis + 1)
        counts.append(count)
        ratios.append(factors[axis - 1] / block)
    blocks = blocks.round()
    for axis, (side, ratio, count) in enumerate(zip(size, ratios, counts, strict=True), start=1):
        places = (torch.arange(side) + 0.5) * ratio - 0.5
        low = places.floor()
        share = (places - low).reshape(-1, *[1] * (3 - axis))
        first, second = (index.clamp(min=0).clamp(max=count - 1).long() for index in (low, low + 1))
        blocks = blocks.index_select(axis, first) * (1 - share) + blocks.index_select(axis, second) * share
    if resize.resize != "stretch":
        rows, columns = (torch.arange(side) < end for side, end in zip(size, (lengths / factors).round(), strict=True))
        blocks = torch.where((rows[:, None] & columns)[..., None], blocks, torch.from_numpy(resize.fill).float())
    return blocks.round().to(torch.uint8), torch.tensor(size) * factors


def check_target(path: Path, needs_onnx: bool) -> None:
    """Raises a ValueError unless the name of the file to write ends as an ONNX file's, LiteRT's, or an archive's."""
    suffixes = (".onnx", ".tflite") if needs_onnx else (".onnx", ".tflite", ".pt2")
    if path.suffix not in suffixes:
        only = " with --int8 or --check" if needs_onnx else ""
        raise ValueError(f"--out must end in {' or '.join(suffixes)}{only}; got {path}")


def make_program(
    loaded: Loaded, heads: bool = False, resize: bool = True, batch: int | None = None
) -> torch.export.ExportedProgram:
    """A detector as torch.export has it, for any batch or one of a size and, with ``resize``, any size of image.

    Unless it ends with the heads, ``lib.ops`` must be imported where it runs, because of NMS.
    """
    own, network = build_resize(loaded.cfg), Network(loaded.cfg, loaded.detector)
    size = own.size
    with torch.inference_mode(False), torch.no_grad():
        network(torch.zeros(1, *size, 3, dtype=torch.uint8))  # the priors become constants of the export
    model: nn.Module = HeadsModel(network)
    sides, free = list(size), {} if batch else {0: torch.export.Dim("batch", min=1, max=1024)}
    if not heads:
        model = DetectionModel(network, build_postprocess(loaded.cfg), size, own if resize else None)
    if resize and not heads:
        sides = [int(side * scale) for side, scale in zip(size, EXAMPLE_SCALE, strict=True)]
        free |= dict.fromkeys((1, 2), torch.export.Dim.DYNAMIC)
    example = torch.zeros(batch or 2, *sides, 3, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(model.eval(), (example,), dynamic_shapes=({**free},), strict=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses a library's own messages: of a missing torchvision, of deprecations inside torch, of advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def with_nms(loaded: Loaded) -> Loaded:
    """The detector with NMS, the only suppression that an ONNX model may end with; warns where it had another."""
    suppression = loaded.cfg.postprocess.suppression
    if suppression == "nms":
        return loaded
    log.warning(
        "postprocess.suppression=%s cannot be written into an ONNX model, which uses NMS instead: boxes and scores "
        "will differ slightly from the checkpoint's. To keep %s, export with --heads and run the file with Predictor",
        *(suppression, suppression),
    )
    cfg = copy.deepcopy(loaded.cfg)
    cfg.postprocess.suppression = "nms"
    return loaded._replace(cfg=cfg)


def onnx_bytes(
    loaded: Loaded, heads: bool = False, resize: bool = True, opset: int = OPSET, batch: int | None = None
) -> bytes:
    """The content of an ONNX file, in standard operators of an opset, with class names, config, our version and the
    numbers of ``about_model`` inside.

    Args:
        heads: end with logits, deltas and priors instead of detections.
        resize: take images of any size, resized inside; otherwise of the network's.
        opset: version of ONNX's operators. The file has the IR version that came with it, so that older runtimes read
            it.
        batch: images that the model takes at once; None: any number.
    """
    resize, suppression = resize and not heads, loaded.cfg.postprocess.suppression
    if not heads and suppression != "nms":
        raise ValueError(
            f"postprocess.suppression must be nms in an ONNX model that ends with detections; got {suppression}: "
            "choose heads=True, and Predictor suppresses in that way, or take with_nms of the detector"
        )
    program = make_program(loaded, heads, resize, batch)
    sizes = "" if resize else ", of the network's size {}x{}".format(*testing_size(loaded.cfg))
    detections = "boxes (batch, D, 4) xyxy in pixels of the images, scores, labels from 1, counts; padded to D"
    about = {
        "classes": json.dumps(list(loaded.classes), ensure_ascii=False),
        "config": dump_config(loaded.cfg),
        "version": __version__,
        "input": f"images: ({batch or 'batch'}, height, width, 3) uint8 BGR{sizes}",
        "outputs": ", ".join(HEADS) if heads else detections,
        "about": json.dumps(about_model(loaded), ensure_ascii=False),
    }
    return _to_onnx(program, HEADS if heads else DETECTIONS, about, opset)


def any_size_bytes(loaded: Loaded) -> bytes:
    """The content of an ONNX file that takes batches of any number and size, and ends with logits and deltas; for
    ``OnnxModel`` alone, which is told the priors. A network that torch cannot export so is a ValueError.
    """
    model = AnySizeModel(Network(loaded.cfg, loaded.detector)).eval()
    stride = largest_stride(cast(Detector, loaded.detector), input_size(loaded.cfg))
    rows, columns = (3 * side // stride for side in testing_size(loaded.cfg))  # no size of the network equals these
    free = {0: torch.export.Dim("batch", min=1, max=1024)} | dict.fromkeys((1, 3), torch.export.Dim.DYNAMIC)
    about = {"classes": json.dumps(list(loaded.classes), ensure_ascii=False), "config": dump_config(loaded.cfg)}
    try:
        with torch.inference_mode(False), torch.no_grad():
            example = torch.zeros(2, rows, stride, columns, stride, 3, dtype=torch.uint8)
            program = torch.export.export(model, (example,), dynamic_shapes=({**free},), strict=False)
        return _to_onnx(program, LOGITS, about, OPSET)
    except RuntimeError as error:  # that of which all errors of the exporter are kinds
        raise ValueError(
            "input.test_resize=native must have a network that torch exports for inputs of any size; it cannot do that "
            f"with this one ({error_text(error)}): choose backend=torch, or input.test_resize=letterbox"
        ) from None


def _to_onnx(
    exported: torch.export.ExportedProgram, outputs: Sequence[str], about: Mapping[str, str], opset: int
) -> bytes:
    """An exported program as the content of an ONNX file, whose metadata are ``about``."""
    import onnx  # needed only for ONNX, as the next one

    from lib.inference.export.onnx_operators import TRANSLATIONS

    with quiet():
        program = torch.onnx.export(
            exported,
            input_names=["images"],
            output_names=list(outputs),
            opset_version=opset,
            custom_translation_table=TRANSLATIONS,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "torch.onnx.export with dynamo gives a program"
    program.model.metadata_props.update(about)
    model = program.model_proto
    written = max(entry.version for entry in model.opset_import if not entry.domain)
    if written != opset:
        raise ValueError(f"--opset must be one that torch can write this model in; got {opset}, it wrote {written}")
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    return model.SerializeToString()


def archive_bytes(loaded: Loaded, heads: bool = False, resize: bool = True) -> bytes:
    """The content of a torch.export archive (.pt2), with class names, config and our version as extra files."""
    names, config = json.dumps(list(loaded.classes)), dump_config(loaded.cfg)
    about = {"classes.json": names, "config.yml": config, "version.txt": __version__}
    archive = io.BytesIO()
    torch.export.save(make_program(loaded, heads, resize), archive, extra_files=about)
    return archive.getvalue()
