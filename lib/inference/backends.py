"""What runs the network: one function for each backend, from a checkpoint or an exported file to what is called."""

import functools
import logging
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch

from lib.build_data import has_many_sizes
from lib.data.fit import Size
from lib.inference.model_file import Loaded
from lib.inference.network import Network
from lib.inference.onnx_model import OnnxModel
from lib.inference.openvino_engine import check_openvino
from lib.inference.tflite_model import TfliteModel
from lib.models.cost import map_sizes
from lib.models.detector import Detector
from lib.ops import PaddedDetections
from lib.structures import Predictions
from lib.utils.lookup import lookup
from lib.utils.runtime import choose_device, set_tf32

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"  # the name for whichever backend is the fastest on the first images
ROUNDS, WARM_UP = 5, 2  # of auto, in each of which every backend has its turn; the first ones do not count
Run = Callable[[np.ndarray], Predictions | PaddedDetections]  # images (B, H, W, 3) uint8 BGR -> the network's output
log = logging.getLogger(__name__)


class ExportedRun(Protocol):
    """What runs an exported file, with the config and the class names inside."""

    cfg: Mapping[str, object]
    classes: tuple[str, ...]

    def __call__(self, images: np.ndarray, /) -> Predictions | PaddedDetections: ...


class Options(NamedTuple):
    """How a network runs: see ``Predictor``."""

    device: torch.device
    dtype: str
    compiled: bool
    threads: int


class Source:
    """A detector, or the file of an exported one."""

    def __init__(self, model: Loaded | Path):
        self.model = model

    @functools.cached_property
    def onnx(self) -> bytes | Path:
        """As ONNX: the file; or the detector exported up to its heads, which takes seconds."""
        if isinstance(self.model, Path):
            return self.model
        from lib.inference.export import onnx  # needs ONNX, unlike the torch backend

        return (
            onnx.onnx_bytes(self.model, heads=True, resize=False)
            if self.priors is None
            else onnx.any_size_bytes(self.model)
        )

    @functools.cached_property
    def priors(self) -> Callable[[Size], torch.Tensor] | None:
        """(height, width) of an input -> its priors, of a detector whose inputs are of several sizes."""
        if isinstance(self.model, Path) or not has_many_sizes(self.model.cfg):
            return None
        detector = cast(Detector, self.model.detector)

        @functools.lru_cache(maxsize=100)
        def priors_of(size: Size) -> torch.Tensor:
            return cast(torch.Tensor, detector.priors(map_sizes(detector, size), size))

        return priors_of


def open_torch(source: Source, options: Options) -> Run:
    """In torch, on the CPU or a GPU. For the whole process, ``run.tf32`` of the config decides how GPUs round."""
    loaded = cast(Loaded, source.model)
    set_tf32(loaded.cfg["run"]["tf32"])
    network = Network(loaded.cfg, loaded.detector, DTYPES[options.dtype]).to(options.device)
    run: Callable[[torch.Tensor], Predictions] = torch.compile(network) if options.compiled else network
    return lambda images: run(torch.from_numpy(images).to(options.device, non_blocking=True))


def open_onnxruntime(source: Source, options: Options) -> Run:
    """In ONNX Runtime, on the CPU."""
    return OnnxModel(source.onnx, options.threads, priors=source.priors)


def open_openvino(source: Source, options: Options) -> Run:
    """In OpenVINO, on the CPU."""
    return OnnxModel(source.onnx, options.threads, "openvino", options.dtype, source.priors)


def open_litert(source: Source, options: Options) -> Run:
    """In LiteRT's interpreter, on the CPU: the file of an exported model."""
    return TfliteModel(cast(Path, source.model), options.threads)


class Backend(NamedTuple):
    """One way to run a network."""

    open: Callable[[Source, Options], Run]
    dtypes: tuple[str, ...]
    suffixes: tuple[str, ...] = ()  # of the exported files that it runs
    runs_detectors: bool = True  # else it runs exported files only
    check: Callable[[str], None] = lambda dtype: None  # a ValueError where it is not installed or cannot do it here


BACKENDS = {
    "torch": Backend(open_torch, ("float32", "bfloat16", "float16")),
    "onnxruntime": Backend(open_onnxruntime, ("float32",), (".onnx",)),
    "openvino": Backend(open_openvino, ("float32", "bfloat16"), (".onnx",), check=check_openvino),
    "litert": Backend(open_litert, ("float32",), (".tflite",), runs_detectors=False),
}
SUFFIXES = {suffix for backend in BACKENDS.values() for suffix in backend.suffixes}  # of exported files


def names_for(model: Loaded | Path) -> list[str]:
    """The backends that run a detector, or an exported file, of which the first is the default."""
    if isinstance(model, Path):
        return [name for name, backend in BACKENDS.items() if model.suffix in backend.suffixes]
    return [name for name, backend in BACKENDS.items() if backend.runs_detectors]


def may_run_in_torch(name: str, is_exported: bool) -> bool:
    """Whether torch is the backend of this name, or one that it may choose, for a checkpoint or an exported file."""
    return name in ("torch", AUTO) and not is_exported


def device_for(device: str, name: str, is_exported: bool) -> torch.device:
    """A device by its name; ``auto`` is the CPU where another backend than torch runs the network."""
    return choose_device("cpu" if device == "auto" and not may_run_in_torch(name, is_exported) else device)


def usable_backends(model: Loaded | Path, dtype: str = "float32", device: str = "cpu") -> list[str]:
    """The backends that run a model on a type of device in a dtype and are installed; the log tells what is not."""
    usable = []
    for name in names_for(model):
        if dtype not in BACKENDS[name].dtypes or (device != "cpu" and name != "torch"):
            continue
        try:
            BACKENDS[name].check(dtype)
        except ValueError as error:
            log.info("backend=%s is left out: %s", name, error)
        else:
            usable.append(name)
    return usable


def open_backend(name: str, model: Loaded | Path, options: Options) -> Run:
    """What runs a detector, or an exported file, by the backend of a name.

    A file that torch cannot run is run by the first backend that can. ``auto`` has those that are installed, and that
    compute in this dtype, take turns at the first call.

    Raises:
        MissingPackage: the backend is not installed.
        ValueError: there is no such backend, or it does not compute in this dtype or on this device, cannot be
            compiled, or does not run such a file.
    """
    lookup((*BACKENDS, AUTO), name, "backend")
    lookup(DTYPES, options.dtype, "dtype")
    names, source = names_for(model), Source(model)
    what = model.name if isinstance(model, Path) else "a checkpoint"
    if not may_run_in_torch(name, isinstance(model, Path)):
        _check_runs_without_torch(what if isinstance(model, Path) else f"backend={name}", options)
    if name == AUTO:
        runs = {
            other: BACKENDS[other].open(source, options)
            for other in usable_backends(model, options.dtype, options.device.type)
        }
        if not runs:
            raise ValueError(f"dtype must be one that a backend has for {what}; got {options.dtype}: choose float32")
        return Fastest(runs) if len(runs) > 1 else next(iter(runs.values()))
    if name not in names:
        if name != "torch":
            advice = ""
            if name == "litert" and isinstance(model, Loaded):
                advice = ": to use LiteRT, export the checkpoint first (tools/export.py --out=model.tflite)"
            raise ValueError(f"backend must be one of {', '.join(names)} for {what}; got {name}{advice}")
        name = names[0]
    backend = BACKENDS[name]
    if options.dtype not in backend.dtypes:
        fits = [other for other in names if options.dtype in BACKENDS[other].dtypes]
        raise ValueError(
            f"dtype must be one of {', '.join(backend.dtypes)} with backend={name}; got {options.dtype}"
            + (f": it needs backend={' or '.join(fits)}" if fits else "")
        )
    backend.check(options.dtype)
    return backend.open(source, options)


def _check_runs_without_torch(where: str, options: Options) -> None:
    """That no option asks for what only torch does."""
    if options.device.type != "cpu":
        raise ValueError(
            f"device must be auto or cpu with {where}; got {options.device}: only checkpoints with backend=torch run "
            "on a GPU"
        )
    if options.compiled:
        raise ValueError(
            f"compiled (--compile) must be false with {where}; got true: only checkpoints with backend=torch are "
            "compiled"
        )


class Fastest:
    """The fastest of some backends, which take turns on the images of the first call; the log says what it is."""

    def __init__(self, runs: Mapping[str, Run]):
        self._runs, self._lock = dict(runs), threading.Lock()
        self._chosen: Run | None = None
        first = next(iter(runs.values()))
        self.cfg, self.classes = getattr(first, "cfg", None), getattr(first, "classes", None)

    def __call__(self, images: np.ndarray) -> Predictions | PaddedDetections:
        """The network's output for images (B, H, W, 3) uint8 BGR."""
        with self._lock:
            if self._chosen is None:
                self._chosen = self._runs[self._choose(images)]
                self._runs.clear()
        return self._chosen(images)

    def _choose(self, images: np.ndarray) -> str:
        """The name of the backend with the least median time."""
        times: dict[str, list[float]] = {name: [] for name in self._runs}
        for _ in range(WARM_UP + ROUNDS):
            for name, run in self._runs.items():
                start = time.perf_counter()
                run(images)
                times[name].append(1000 * (time.perf_counter() - start))
        medians = {name: statistics.median(own[WARM_UP:]) for name, own in times.items()}
        name = min(medians, key=lambda other: medians[other])
        figures = ", ".join(f"{other} {time_ms:.1f} ms" for other, time_ms in medians.items())
        log.info("backend=auto runs %s: %s for %d images of %dx%d", name, figures, *images.shape[:3])
        return name
