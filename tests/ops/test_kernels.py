import logging
import shutil

import pytest
import torch

from lib.ops import batched_nms, bbox_overlaps, kernels, multiclass_nms, nms, reference, soft_nms, weighted_box_fusion

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 5]])
SCORES = torch.tensor([0.5, 0.9, 0.1])


@pytest.fixture
def without_kernels(monkeypatch):
    """As on a machine where nobody ran `make`."""
    monkeypatch.setattr(kernels.importlib, "import_module", lambda name, package: exec("import missing_kernel"))
    for cached in (kernels.load, kernels._warn):
        cached.cache_clear()
    yield
    for cached in (kernels.load, kernels._warn):
        cached.cache_clear()


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
