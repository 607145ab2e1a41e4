"""The agreement tests on a GPU. They need one, and the CUDA kernels that `make` builds where it finds nvcc."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from cases import make_case

from lib.multibox.coder import BoxCoder
from lib.multibox.postprocess import PostProcess
from lib.ops import batched_nms, bbox_overlaps, kernels, multiclass_nms, nms
from lib.structures import Predictions

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def assert_same(found, expected, what=""):
    for a, b in zip(found, expected, strict=True):
        assert a.is_cuda and torch.equal(a.cpu(), b), what


def test_the_cuda_kernels_are_built():
    assert kernels.load("_cuda") is not None


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_cuda_gives_what_the_cpu_gives(first):
    for seed in range(first, first + 20):
        case = make_case(seed)
        boxes, scores, labels = (torch.from_numpy(array) for array in case[:3])
        device = [tensor.cuda() for tensor in (boxes, scores, labels)]
        for mode in ("iou", "iof"):
            expected = batched_nms(boxes, scores, labels, case.threshold, mode)
            assert_same([batched_nms(*device, case.threshold, mode)], [expected], (seed, mode))
        for mode in ("iou", "iof", "giou"):
            expected = bbox_overlaps(boxes, boxes[::2], mode)
            assert_same([bbox_overlaps(device[0], device[0][::2], mode)], [expected], (seed, mode))
        given, limits = ((boxes[None], scores[None, :, None].expand(-1, -1, 3)), (0.1, case.threshold, 9, 20, 0))
        on_device = [tensor.cuda() for tensor in given]
        assert_same(multiclass_nms(*on_device, *limits), multiclass_nms(*given, *limits), seed)


def test_without_cuda_kernels_boxes_are_copied_to_the_cpu_and_results_back(generator, monkeypatch):
    monkeypatch.setattr(kernels, "for_cuda", lambda tensor: None)
    boxes = torch.rand(300, 4, generator=generator) * 100
    boxes[:, 2:] += boxes[:, :2]
    scores, labels = torch.rand(300, generator=generator), torch.arange(300) % 3
    on_device = boxes.cuda(), scores.cuda(), labels.cuda()
    assert_same([batched_nms(*on_device, 0.5)], [batched_nms(boxes, scores, labels, 0.5)])
    given, limits = (boxes[None], scores[None, :, None].expand(-1, -1, 3)), (0.1, 0.5, 9, 20, 0)
    assert_same(multiclass_nms(*(tensor.cuda() for tensor in given), *limits), multiclass_nms(*given, *limits))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 2047, 2048, 2049, 70000])
def test_cuda_nms_of_any_number_of_boxes(count, generator):
    boxes = torch.rand(count, 4, generator=generator) * 300
    boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] / 10
    scores = torch.rand(count, generator=generator)
    assert_same([nms(boxes.cuda(), scores.cuda(), 0.5)], [nms(boxes, scores, 0.5)])


def test_cuda_nms_runs_on_the_callers_stream(generator):
    boxes, scores = (torch.rand(500, 4, generator=generator).cuda(), torch.rand(500, generator=generator).cuda())
    with torch.cuda.stream(torch.cuda.Stream()):
        keep = nms(boxes + 0, scores + 0, 0.5)
        torch.cuda.current_stream().synchronize()
    assert_same([keep], [nms(boxes.cpu(), scores.cpu(), 0.5)])


def test_postprocessing_of_a_batch_does_not_wait_for_the_device(generator):
    priors = torch.rand(500, 4, generator=generator) * 100
    priors[:, 2:] += priors[:, :2]
    logits, deltas = torch.randn(4, 500, 6, generator=generator), torch.randn(4, 500, 4, generator=generator)
    given = Predictions(logits.cuda(), deltas.cuda(), priors.cuda(), (100, 200))
    sizes = torch.tensor([[100, 200]] * 4).cuda()
    process = PostProcess(BoxCoder())
    process.padded(given, sizes)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = process.padded(given, sizes)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = process.padded(Predictions(logits, deltas, priors, (100, 200)), sizes.cpu())
    assert found.labels.cpu().tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.boxes.cpu(), expected.boxes)
