import contextlib
import logging
import shutil
from types import SimpleNamespace

import pytest
import torch

from lib.ops import batched_nms, bbox_overlaps, kernels, multiclass_nms, nms, reference, soft_nms, weighted_box_fusion

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 5]])
SCORES = torch.tensor([0.5, 0.9, 0.1])


@pytest.fixture
def as_first_loaded():
    """As in a process that has not loaded a kernel yet."""
    caches = (kernels.load, kernels._warn, kernels._cuda_on)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def without_kernels(monkeypatch, as_first_loaded):
    """As on a machine where nobody ran `make`."""
    monkeypatch.setattr(kernels.importlib, "import_module", lambda name, package: exec("import missing_kernel"))


def test_missing_kernels_fall_back_to_torch_with_one_warning(without_kernels, caplog):
    with caplog.at_level(logging.WARNING):
        assert nms(BOXES, SCORES, 0.5).tolist() == [1, 2]
        assert batched_nms(BOXES, SCORES, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]
        found = multiclass_nms(BOXES[None], SCORES[None, :, None], 0.2, 0.5, background=None)
        assert bbox_overlaps(BOXES[:1], BOXES[1:]).tolist() == [[pytest.approx(0.9), 0.0]]
        assert soft_nms(BOXES, SCORES)[0].tolist() == [1, 2, 0]
        assert len(weighted_box_fusion(BOXES, SCORES)[0]) == 2
    assert found.counts.tolist() == [1]
    assert len(caplog.records) == 1 and "run `make`" in caplog.text


def test_missing_cuda_kernels_are_told_with_what_to_install(without_kernels, caplog):
    with caplog.at_level(logging.WARNING):
        assert kernels.load("_cuda") is None
    assert caplog.messages == [kernels.MISSING_CUDA] and "install the CUDA toolkit and run `make`" in caplog.text


ONE_TWO = "25b6746d5172ed6352966a013d93ac846e1110d5a25e8f183b5931f4688842a1"  # sha256 of b"onetwo"


@pytest.mark.parametrize(
    ("files", "module", "is_used"),
    [
        ({"a.pyx": "one", "b.hpp": "two"}, {"SOURCES": ("a.pyx", "b.hpp"), "SOURCES_DIGEST": ONE_TWO}, True),
        ({"a.pyx": "one", "b.hpp": "2"}, {"SOURCES": ("a.pyx", "b.hpp"), "SOURCES_DIGEST": ONE_TWO}, False),
        ({"a.pyx": "one"}, {"SOURCES": ("a.pyx", "b.hpp"), "SOURCES_DIGEST": ONE_TWO}, False),
        (None, {"SOURCES": ("a.pyx", "b.hpp"), "SOURCES_DIGEST": ONE_TWO}, True),  # no csrc/ here
        ({"a.pyx": "one"}, {}, False),  # compiled before modules told from which
    ],
)
def test_kernels_of_other_sources_are_left_out(as_first_loaded, monkeypatch, tmp_path, caplog, files, module, is_used):
    for name, text in (files or {}).items():
        (tmp_path / name).write_text(text)
    core = SimpleNamespace(**module)
    monkeypatch.setattr(kernels, "SOURCES", tmp_path if files else tmp_path / "csrc")
    monkeypatch.setattr(kernels.importlib, "import_module", lambda name, package: core)
    assert kernels.load("_nms") is (core if is_used else None)
    assert kernels.load("_training") is (core if is_used else None)
    assert caplog.messages == [] if is_used else caplog.messages == [kernels.STALE]


def test_cuda_kernels_that_cannot_be_launched_are_left_out_with_the_reason(as_first_loaded, monkeypatch, caplog):
    tries = []

    def group_nms(*arguments):
        tries.append(arguments)
        raise RuntimeError("a CUDA kernel could not be launched: the provided PTX was compiled with an unsupported")

    monkeypatch.setattr(kernels, "load", lambda name: SimpleNamespace(group_nms=group_nms))
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=0))
    tensor = SimpleNamespace(is_cuda=True, device=torch.device("cpu"))
    assert (kernels.for_cuda(tensor), kernels.for_cuda(tensor)) == (None, None)
    assert len(tries) == 1 and tries[0][1:4] == (1, 1, 0.5)
    (message,) = caplog.messages
    assert "PTX was compiled with an unsupported): its boxes are copied to the CPU for NMS; set NVCC to" in message


@pytest.mark.skipif(kernels.load("_nms") is None, reason="csrc/build.py built no kernels here")
def test_without_cuda_kernels_boxes_of_another_device_go_through_the_compiled_ones(monkeypatch):
    monkeypatch.setattr(kernels, "is_on_host", lambda tensor: False)  # as on a GPU
    for name in ("nms", "multiclass_nms"):
        monkeypatch.setattr(reference, name, lambda *_: pytest.fail("the slow reference runs"))
    assert nms(BOXES, SCORES, 0.5).tolist() == [1, 2]
    assert batched_nms(BOXES, SCORES, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]
    padded = multiclass_nms(BOXES[None], SCORES[None, :, None], 0.05, 0.5, 400, 3, background=None)
    assert padded.counts.tolist() == [2] and padded.labels.tolist() == [[0, 0, -1]]


@pytest.mark.skipif(kernels.load("_pointwise") is None, reason="csrc/build.py built no kernels here")
@pytest.mark.parametrize(("has_openmp", "threads", "expected"), [(True, 2, True), (False, 2, False), (False, 1, True)])
def test_a_kernel_without_openmp_leaves_several_threads_to_torch(has_openmp, threads, expected, monkeypatch):
    monkeypatch.setattr(kernels.load("_pointwise"), "HAS_OPENMP", has_openmp)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert kernels.is_for_training("_pointwise", torch.zeros(1), torch.zeros(1)) is expected


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs a C++ compiler")
def test_the_kernels_that_this_machine_can_build_are_built():
    assert all(kernels.load(name) for name in kernels.MODULES if name != "_cuda")
    assert set(kernels.MODULES) - {"_cuda"} <= set(kernels.built()) <= set(kernels.MODULES)
