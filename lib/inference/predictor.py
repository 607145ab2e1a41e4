"""Predictor: from a checkpoint alone to the objects in images."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch

from lib.build import build_postprocess
from lib.build_data import build_reading, build_resize
from lib.config import load_config
from lib.data.augment.geometric import Resize
from lib.data.fit import Size
from lib.inference.backends import SUFFIXES, ExportedRun, Options, Run, device_for, open_backend
from lib.inference.input_image import Image, as_array, is_one_image
from lib.inference.model_file import Loaded, load_detector
from lib.inference.tiles import Tiles, as_tiles, detect_in_tiles
from lib.models.detector import Detector
from lib.ops import PaddedDetections
from lib.ops.boxes import clip_boxes, scale_boxes
from lib.structures import Detections, Predictions, Sample
from lib.utils.download import fetch
from lib.utils.runtime import memory_advice

BATCH_SIZE = "batch_size (evaluation.batch_size of the config; --batch-size of demo.py)"


class Prepared(NamedTuple):
    """The network's input for some images; sizes are (height, width)."""

    images: np.ndarray  # (B, H, W, 3) uint8 BGR
    sizes: torch.Tensor  # (B, 2) int64, of the originals
    frames: torch.Tensor  # (B, 2) float32, of what the input shows, padding included, in pixels of the originals


class Predictor:
    """Detects objects in images; an image gives the same ones, in whatever batch it comes.

    Images become the network's input as ``input.test_size`` and ``input.test_resize`` say. Where they keep their size,
    those that are larger than the network's are cut into tiles. One predictor may be called from several threads.

    Args:
        checkpoint: a file of train.py, or a model (.onnx, .tflite) of tools/export.py, or the address of one; also a
            checkpoint of another repository, with its ``cfg``; or a detector that ``load_detector`` gave.
        device: auto, cpu, cuda, cuda:1 ...; auto is a GPU only where torch runs the network.
        cfg: an experiment to use instead of the config inside the checkpoint; not for exported models.
        overrides: ``key=value`` texts that change the config, such as ``postprocess.score_threshold=0.3``; what is
            part of an exported model stays.
        backend: what runs the network: torch; on a CPU also onnxruntime and openvino; or auto, the fastest of those
            that are installed, which take turns on the first images and are told in the log. An exported model runs in
            ONNX Runtime unless one of the others is chosen.
        dtype: that the network computes in: float32; also bfloat16 in torch and openvino; also float16 in torch.
        compiled: whether torch.compile builds the network, which takes a minute at the first call of each
            batch size.
        batch_size: images that pass the network at once.
        tiles: for images much larger than the network's input: overlapping tiles, and the whole image; or the side of
            a tile, in pixels.
        threads: of ONNX Runtime and OpenVINO; 0: as many as torch has.

    Attributes:
        classes, cfg: names of label 1, 2, ...; the resolved config.
        device: what the network runs on.
        size: (height, width) of the network's input; where images keep their size, the largest.
        resize: what makes an image the network's input.
        reading: how files of images are read, which are shown upright.
    """

    def __init__(
        self,
        checkpoint: str | Path | Loaded,
        device: str | torch.device = "auto",
        *,
        cfg: str | Path | Mapping[str, Any] | None = None,
        overrides: Sequence[str] = (),
        backend: Literal["torch", "onnxruntime", "openvino", "litert", "auto"] = "torch",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        compiled: bool = False,
        batch_size: int = 8,
        tiles: Tiles | int | None = None,
        threads: int = 0,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more; got {batch_size}")
        self.batch_size, self.tiles = batch_size, as_tiles(tiles)
        checkpoint = checkpoint if isinstance(checkpoint, Loaded) else fetch(checkpoint)
        is_exported = not isinstance(checkpoint, Loaded) and checkpoint.suffix in SUFFIXES
        if is_exported and cfg is not None:
            raise ValueError(
                f"an exported model has its own config; got {checkpoint} with cfg={cfg!s:.60}: leave --cfg out and "
                "give settings as key=value"
            )
        self.device = device_for(str(device), backend, is_exported)
        options = Options(self.device, dtype, compiled, threads or torch.get_num_threads())
        if is_exported:
            self.network: Run = open_backend(backend, cast(Path, checkpoint), options)
            exported = cast(ExportedRun, self.network)
            self.cfg, self.classes = load_config(exported.cfg, overrides), exported.classes
            self.resize = build_resize(self.cfg)
        else:
            loaded = checkpoint if isinstance(checkpoint, Loaded) else load_detector(checkpoint, cfg, overrides)
            self.cfg, self.classes = loaded.cfg, loaded.classes
            self.network = open_backend(backend, loaded, options)
            self.resize = build_resize(self.cfg, cast(Detector, loaded.detector))
        self.size: Size = self.resize.size
        self.postprocess = build_postprocess(self.cfg)
        self.reading = build_reading(self.cfg)

    def __call__(self, images: Image | Sequence[Image] | np.ndarray) -> Detections | list[Detections]:
        """Detections on the CPU, boxes in pixels of the image as it was given; of several images, a list of them.

        ``images`` is an array (H, W, 3) uint8 BGR, the path of a file, or an image of PIL; the last two are seen
        upright, as their EXIF data say. Or it is a list of those, or (B, H, W, 3).
        """
        if is_one_image(images):
            return next(self.stream([cast(Image, images)]))
        return list(self.stream(cast(Iterable[Image], images)))

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """The objects of one image after the other; ``batch_size`` images are read ahead."""
        for tiles, group in itertools.groupby((as_array(image, self.reading) for image in images), self._tiles_of):
            if tiles is None:
                yield from self.detect(group)
            else:
                yield from (detect_in_tiles(self.detect, image, tiles) for image in group)

    def _tiles_of(self, image: np.ndarray) -> Tiles | None:
        """How an image is tiled; None: it is seen as a whole."""
        window = self.resize.window
        if self.tiles is None and window and (image.shape[0] > window[0] or image.shape[1] > window[1]):
            return Tiles(window)
        return self.tiles

    def detect(self, images: Iterable[np.ndarray]) -> Iterator[Detections]:
        """The objects of images (H, W, 3) uint8 BGR, of any sizes, each seen as a whole."""
        for _, group in itertools.groupby(images, lambda image: self.resize.fit(image.shape[:2]).canvas):
            while batch := list(itertools.islice(group, self.batch_size)):
                prepared = self.prepare(batch)
                with memory_advice(
                    f"lower {BATCH_SIZE}, which is {self.batch_size}, or choose a smaller input.test_size"
                ):
                    found = self.select(self.forward(prepared.images), prepared)
                yield from found

    def prepare(self, images: Sequence[np.ndarray]) -> Prepared:
        """The network's input for images (H, W, 3) uint8 BGR whose inputs are of one size."""
        return prepare(images, self.resize)

    @torch.inference_mode()
    def forward(self, prepared: np.ndarray) -> Predictions | PaddedDetections:
        """The network's output for its input, (B, H, W, 3) uint8."""
        return self.network(prepared)

    def select(self, output: Predictions | PaddedDetections, prepared: Prepared) -> list[Detections]:
        """Detections on the CPU in the frames of the original images, of the network's output for these."""
        # Copied, as tensors of the inference mode cannot be changed in place outside of it.
        boxes, scores, labels, counts = (value.clone() for value in self._select(output, prepared))
        rows = zip(boxes, scores, labels, counts.tolist(), strict=True)
        return [Detections(box[:count], score[:count], label[:count]) for box, score, label, count in rows]

    @torch.inference_mode()
    def _select(self, output: Predictions | PaddedDetections, prepared: Prepared) -> PaddedDetections:
        canvas = prepared.images.shape[1], prepared.images.shape[2]
        if isinstance(output, Predictions):
            output = self.postprocess.padded(output, torch.tensor([canvas]).expand(len(prepared.sizes), 2))
        boxes = scale_boxes(output.boxes, canvas, prepared.frames[:, None])
        padded = output._replace(boxes=clip_boxes(boxes, prepared.sizes[:, None]))
        return PaddedDetections(*(value.cpu() for value in padded))


def prepare(images: Sequence[np.ndarray], resize: Resize) -> Prepared:
    """The network's input for images (H, W, 3) uint8 BGR whose inputs are of one size."""
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    samples = [Sample(image, *nothing, 0, image.shape[:2]) for image in images]
    rng = np.random.default_rng(0)  # nothing is drawn from it
    prepared = np.stack([resize(sample, rng).image for sample in samples])
    frames = torch.tensor([resize.fit(sample.size).frame for sample in samples], dtype=torch.float32)
    return Prepared(prepared, torch.tensor([sample.size for sample in samples]), frames)
