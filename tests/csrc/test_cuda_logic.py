"""The CUDA kernels and all that calls them, run on the CPU: what tests/csrc/cuda_on_cpu offers in CUDA's place."""

import contextlib
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from lib.ops import batched_nms, bbox_overlaps, cuda, nms, reference
from lib.ops.padded import Selection
from tests.modules import load_build, load_module

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from cases import make_case

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """The module `_cuda`, compiled for the CPU."""
    script = load_build()
    script.BUILD = tmp_path_factory.mktemp("cuda_on_cpu")
    try:
        compiler, include = script.find_compiler(), script.python_include()
    except script.Skip as reason:
        pytest.skip(str(reason))
    sources = [script.SOURCE / name for name in script.CUDA_KERNEL.cores if name.endswith(".cu")]
    target = script.BUILD / "_cuda.so"
    about = script.source_flags(script.CUDA_KERNEL)
    flags = [*script.CPU_FLAGS, "-O1", *include, f"-I{HERE / 'cuda_on_cpu'}", *about, *script.LINK_FLAGS]
    script.run(*compiler, *flags, "-x", "c++", *sources, script.translate(script.CUDA_KERNEL), "-o", target)
    return load_module("_cuda", target)


@pytest.fixture(autouse=True)
def without_device(monkeypatch):
    monkeypatch.setattr(cuda, "_stream", lambda tensor: 0)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())


def test_cuda_logic_gives_what_the_cpu_gives_on_hard_cases(core):
    for seed in range(60):
        case = make_case(seed)
        boxes, scores = torch.from_numpy(case.boxes).double(), torch.from_numpy(case.scores).double()
        labels = torch.from_numpy(case.labels)
        for values in ((boxes, scores), (boxes.float(), scores.float())):
            for mode in ("iou", "iof"):
                expected = batched_nms(*values, labels, case.threshold, mode)
                found = cuda.nms(core, *values, labels, case.threshold, mode == "iof")
                assert torch.equal(found, expected), (seed, mode)
            for mode in ("iou", "iof", "giou"):
                found = cuda.bbox_overlaps(core, values[0], values[0][::2], mode)
                assert torch.equal(found, bbox_overlaps(values[0], values[0][::2], mode)), (seed, mode)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 2047, 2048, 2049, 4500])
def test_cuda_logic_holds_around_the_size_of_words_and_chunks(core, count, generator):
    boxes = torch.rand(count, 4, generator=generator) * 300
    boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] / 6
    scores = torch.rand(count, generator=generator)
    assert torch.equal(cuda.nms(core, boxes, scores, None, 0.5, False), nms(boxes, scores, 0.5))


def test_cuda_logic_of_many_classes_equals_the_reference(core, generator):
    boxes = torch.rand(2, 40, 4, generator=generator) * 30
    boxes[..., 2:] += boxes[..., :2]
    scores = (torch.rand(2, 40, 3, generator=generator) * 8).round() / 8
    boxes[1, 3, 2], scores[1, 5, 1] = torch.inf, torch.nan
    limits = Selection(0.1, 0.4, 9, 20), 0
    found = cuda.multiclass_nms(partial(cuda.group_nms, core), boxes, scores, *limits)
    expected = reference.multiclass_nms(boxes, scores, *limits)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
