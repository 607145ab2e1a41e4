"""Backends: the same boxes from each, a clear line where one cannot be used, and the choice of the fastest."""

import importlib.util
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.inference import Predictor, backends, openvino_engine
from lib.inference.backends import BACKENDS, Backend, Fastest, Options, open_backend
from lib.inference.export.agreement import compare

pytest.importorskip("onnxscript", reason="needs onnxscript: make")
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = Options(torch.device("cpu"), "float32", False, 1)


def needs(backend):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs openvino: make extras")


@pytest.fixture(scope="module", autouse=True)
def exported_once(files):
    """The export, which takes seconds, is the one that all tests share."""
    patch = pytest.MonkeyPatch()

    def shared(loaded, heads=False, resize=True):
        assert (heads, resize) == (True, False)  # what the shared file was exported with
        return files["heads"].read_bytes()

    patch.setattr("lib.inference.export.onnx.onnx_bytes", shared)
    yield
    patch.undo()


@pytest.mark.parametrize("backend", [name for name in BACKENDS if BACKENDS[name].runs_detectors and name != "torch"])
@pytest.mark.parametrize("source", ["checkpoint", "heads"])
def test_every_backend_finds_the_boxes_of_torch_in_the_same_order(checkpoint, files, images, backend, source):
    needs(backend)
    exported = Predictor(files.get(source, checkpoint), "cpu", backend=backend)
    agreement = compare(Predictor(checkpoint, "cpu"), exported, images)
    assert agreement.unequal == ()
    assert agreement.detections > 20
    assert agreement.score_error < 1e-4
    assert agreement.box_error < 1e-2


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("source", ["checkpoint", "heads", "detections"])
def test_what_it_finds_can_be_changed_in_place(checkpoint, files, images, backend, source):
    needs(backend)
    found = Predictor(files.get(source, checkpoint), "cpu", backend=backend)(images[0])
    expected = [(value + 1).tolist() for value in found]
    for value in found:
        value += 1
    assert [value.tolist() for value in found] == expected


def test_openvino_selects_as_onnx_runtime_does_where_nms_is_inside(spread, images):
    needs("openvino")
    agreement = compare(*(Predictor(spread, backend=backend) for backend in ("onnxruntime", "openvino")), images)
    assert (agreement.unequal, agreement.detections) == ((), 120)
    assert agreement.score_error < 1e-5
    assert agreement.box_error < 1e-3


# The handler of a signal runs on the stack that OpenVINO laid last
SIGNAL = """
import signal, sys
from lib.inference.openvino_engine import OpenVinoEngine
from lib.inference.export.quantize import quantize
import numpy as np
image = np.zeros((1, 64, 96, 3), np.uint8)
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
engines = [OpenVinoEngine(sys.argv[1], 1, "float32") for _ in range(3)]
for engine in engines: engine(image)
while engines:
    del engine, engines[0]
    engine = engines[-1] if engines else None
    signal.raise_signal(signal.SIGTERM)
if sys.argv[2:]:
    quantize(open(sys.argv[1], "rb").read(), [image])
    signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_handled_after_openvino_ran(files):
    needs("openvino")
    int8 = ["int8"] if importlib.util.find_spec("nncf") else []
    command = [sys.executable, "-c", SIGNAL, str(files["heads"]), *int8]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.count("handled")) == (0, 3 + len(int8)), run.stderr[-1000:]


def test_openvino_gives_an_image_the_same_in_a_batch_and_from_several_threads(files, images):
    needs("openvino")
    for kind in files:
        predictor = Predictor(files[kind], backend="openvino")
        expected = [predictor(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            found = [*predictor(images), *pool.map(predictor, images * 3)]
        for place, detections in enumerate(found):
            for value, other in zip(detections, expected[place % len(images)], strict=True):
                assert torch.equal(value, other)


def test_shapes_beyond_the_first_ones_share_one_program(files, monkeypatch):
    needs("openvino")
    monkeypatch.setattr(openvino_engine, "MAX_SHAPES", 2)
    engine = openvino_engine.OpenVinoEngine(str(files["detections"]), 1, "float32")
    for height in (64, 70, 81, 90):
        assert engine(np.zeros((1, height, 96, 3), np.uint8))[0].shape == (1, 20, 4)
    assert list(engine._compiled) == [(1, 64, 96, 3), (1, 70, 96, 3), ()]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("checkpoint", {"backend": "tensorrt"}, "backend must be one of torch, onnxruntime, openvino, litert, auto"),
        (
            "checkpoint",
            {"backend": "litert"},
            "must be one of torch, onnxruntime, openvino for a checkpoint; got litert: to use LiteRT, export the",
        ),
        ("detections", {"backend": "litert"}, "must be one of onnxruntime, openvino for detections.onnx; got litert$"),
        ("checkpoint", {"dtype": "float64"}, "dtype must be one of float32, bfloat16, float16"),
        (
            "checkpoint",
            {"backend": "onnxruntime", "dtype": "bfloat16"},
            "dtype must be one of float32 with backend=onnxruntime; got bfloat16: it needs backend=torch or openvino",
        ),
        ("detections", {"dtype": "float16"}, "dtype must be one of float32 with backend=onnxruntime; got float16"),
        ("detections", {"backend": "auto", "dtype": "float16"}, "dtype must be one that a backend has"),
    ],
)
def test_what_a_backend_cannot_do_is_one_line(checkpoint, files, source, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        Predictor(files.get(source, checkpoint), "cpu", **options)
    assert "\n" not in str(caught.value)


@pytest.fixture
def with_gpu(monkeypatch):
    """As on a machine with a GPU, for what only asks for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.mark.parametrize(
    ("source", "backend"),
    [("heads", "torch"), ("heads", "auto"), ("detections", "auto"), ("checkpoint", "onnxruntime")],
)
def test_beside_a_gpu_other_backends_than_torch_run_on_the_cpu(checkpoint, files, images, with_gpu, source, backend):
    predictor = Predictor(files.get(source, checkpoint), backend=backend)
    assert predictor.device == torch.device("cpu")
    assert len(predictor(images[0]).boxes) > 0


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("heads", {"device": "cuda"}, "device must be auto or cpu with heads.onnx; got cuda: only checkpoints with"),
        ("heads", {"device": "cuda:0", "backend": "auto"}, "device must be auto or cpu with heads.onnx; got cuda:0"),
        ("checkpoint", {"device": "cuda", "backend": "onnxruntime"}, "auto or cpu with backend=onnxruntime; got cuda"),
        ("heads", {"compiled": True}, r"compiled \(--compile\) must be false with heads.onnx; got true: only checkpoi"),
        (
            "checkpoint",
            {"compiled": True, "backend": "onnxruntime"},
            "must be false with backend=onnxruntime; got true",
        ),
    ],
)
def test_what_only_torch_does_is_refused_elsewhere(checkpoint, files, with_gpu, source, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor(files.get(source, checkpoint), **options)


@pytest.mark.parametrize("allowed", [False, True])
def test_the_config_decides_how_gpus_round_products(checkpoint, monkeypatch, allowed):
    calls = []
    monkeypatch.setattr(backends, "set_tf32", calls.append)
    Predictor(checkpoint, "cpu", overrides=[f"run.tf32={str(allowed).lower()}"])
    assert calls == [allowed]


def test_a_processor_without_bfloat16_is_told_so(checkpoint, monkeypatch):
    needs("openvino")

    class Core:
        def get_property(self, device, name):
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino_engine, "_core", Core)
    with pytest.raises(ValueError, match="dtype=bfloat16 must be one that the processor .* FP32, INT8 here: choose"):
        Predictor(checkpoint, "cpu", backend="openvino", dtype="bfloat16")


def test_without_openvino_the_line_says_what_to_install_and_auto_goes_without(checkpoint, images, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match="backend=openvino needs the package openvino, .*pip install openvino=="):
        Predictor(checkpoint, "cpu", backend="openvino")
    with caplog.at_level(logging.INFO):
        found = Predictor(checkpoint, "cpu", backend="auto")(images[0])
    assert found.labels.tolist() == Predictor(checkpoint, "cpu")(images[0]).labels.tolist()
    assert "backend=openvino is left out: backend=openvino needs the package openvino" in caplog.text
    assert "backend=auto runs " in caplog.text


def test_auto_runs_the_fastest_and_says_so(caplog):
    calls = []

    def takes(name, seconds):
        def run(images):
            calls.append(name)
            time.sleep(seconds)
            return name

        return run

    fastest = Fastest({"slow": takes("slow", 0.02), "quick": takes("quick", 0), "slower": takes("slower", 0.03)})
    with caplog.at_level(logging.INFO):
        assert fastest(np.zeros((2, 30, 40, 3), np.uint8)) == "quick"
    assert calls == ["slow", "quick", "slower"] * 7 + ["quick"]
    assert fastest(np.zeros((2, 30, 40, 3), np.uint8)) == "quick"
    assert len(calls) == 23
    assert "backend=auto runs quick: slow 2" in caplog.text
    assert caplog.text.strip().endswith("for 2 images of 30x40")


def test_auto_takes_only_backends_of_this_dtype_device_and_file(monkeypatch):
    opened = {name: lambda source, options, name=name: name for name in ("torch", "half", "file", "other")}
    table = {
        "torch": Backend(opened["torch"], ("float32", "bfloat16")),
        "half": Backend(opened["half"], ("bfloat16",), (".x",)),
        "file": Backend(opened["file"], ("float32",), (".x",)),
        "other": Backend(opened["other"], ("float16",), (".y",)),
    }
    monkeypatch.setattr(backends, "BACKENDS", table)
    monkeypatch.setattr(backends, "Fastest", lambda runs: list(runs))
    loaded, file = None, Path("a.x")  # a detector is only handed on
    assert open_backend("auto", loaded, OPTIONS) == ["torch", "file"]
    assert open_backend("auto", loaded, OPTIONS._replace(dtype="bfloat16")) == ["torch", "half"]
    assert open_backend("auto", loaded, OPTIONS._replace(device=torch.device("cuda"))) == "torch"
    assert open_backend("auto", file, OPTIONS) == "file"
    assert open_backend("torch", file, OPTIONS._replace(dtype="bfloat16")) == "half"
    with pytest.raises(ValueError, match=r"backend must be one of half, file for a.x; got other"):
        open_backend("other", file, OPTIONS)
