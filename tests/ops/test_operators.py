import pytest
import torch

from lib.multibox.coder import BoxCoder
from lib.multibox.postprocess import PostProcess
from lib.ops import batched_nms, bbox_overlaps, multiclass_nms, soft_nms
from lib.ops.padded import Selection
from lib.structures import Predictions

OPS = torch.ops.multibox


def scored_boxes(generator, count=30):
    corner = torch.rand(count, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 30], dim=1)
    return boxes, torch.rand(count, generator=generator), torch.randint(0, 3, (count,), generator=generator)


def predictions(generator, batch=2):
    priors = scored_boxes(generator, 60)[0]
    logits = torch.randn(batch, 60, 4, generator=generator) * 3
    return Predictions(logits, torch.randn(batch, 60, 4, generator=generator), priors, (100, 200))


def calls(generator):
    boxes, scores, labels = scored_boxes(generator)
    given = predictions(generator)
    sizes = torch.tensor([[50, 60], [300, 200]])
    selected = (boxes[None], scores[None, :, None].expand(-1, -1, 3), 0.1, 0.5, 9, 20, 0)
    decoding = ([100, 200], [0.1, 0.2], "softmax")
    return {
        "nms": (boxes, scores, labels, 0.5, "iou"),
        "bbox_overlaps": (boxes, boxes[:5], "giou"),
        "multiclass_nms": selected,
        "multiclass_nms soft": (*selected, "soft", 0.5),
        "multiclass_nms fusion": (*selected, "fusion", None),
        "postprocess": (*given[:3], sizes, *decoding, 0.1, 0.5, 9, 20, "nms", None),
        "soft_nms": (boxes, scores, labels, "gaussian", 0.3, 0.5, 0.1),
        "weighted_box_fusion": (boxes, scores, labels, 0.5, 2),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("nms", "bbox_overlaps", "multiclass_nms", "multiclass_nms soft", "multiclass_nms fusion"),
        *("postprocess", "soft_nms", "weighted_box_fusion"),
    ],
)
def test_operator_passes_opcheck(name, generator):
    torch.library.opcheck(getattr(OPS, name.split()[0]).default, calls(generator)[name])


@pytest.mark.parametrize("suppression", ["nms", "soft", "fusion"])
@pytest.mark.parametrize("function", [PostProcess.padded, PostProcess.stepwise])
def test_postprocess_compiles_in_one_graph(function, suppression, generator):
    process, given = PostProcess(BoxCoder(), Selection(suppression=suppression)), predictions(generator)
    sizes = torch.tensor([[50, 60], [300, 200]])
    compiled = torch.compile(lambda *values: function(process, *values), fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(given, sizes), function(process, given, sizes), strict=True):
        torch.testing.assert_close(found, expected)


def test_operators_of_free_size_compile_in_one_graph(generator):
    def merge(boxes, scores, labels):
        keep = batched_nms(boxes, scores, labels, 0.5)
        indices, lowered = soft_nms(boxes[keep], scores[keep])
        return bbox_overlaps(boxes[keep][indices], boxes), lowered

    given = scored_boxes(generator)
    compiled = torch.compile(merge, fullgraph=True, backend="aot_eager", dynamic=True)
    for found, expected in zip(compiled(*given), merge(*given), strict=True):
        torch.testing.assert_close(found, expected)


class Detector(torch.nn.Module):
    """A network of one layer, with its post-processing."""

    def __init__(self, priors):
        super().__init__()
        self.layer = torch.nn.Linear(5, 8)
        self.process = PostProcess(BoxCoder(), Selection(score_threshold=0.2))
        self.register_buffer("priors", priors)

    def forward(self, features, sizes):
        out = self.layer(features)  # (B, P, 8)
        return self.process.padded(Predictions(out[..., :4], out[..., 4:], self.priors, (100, 200)), sizes)


@pytest.mark.parametrize("strict", [False, True])
def test_detector_with_its_postprocessing_exports(strict, generator):
    model = Detector(scored_boxes(generator, 40)[0])
    features, sizes = torch.randn(2, 40, 5, generator=generator), torch.tensor([[50, 60], [300, 200]])
    batch = torch.export.Dim("batch", min=1, max=64)
    shapes = {"features": {0: batch}, "sizes": {0: batch}}
    exported = torch.export.export(model, (features, sizes), dynamic_shapes=shapes, strict=strict)
    one = torch.randn(1, 40, 5, generator=generator), torch.tensor([[10, 20]])
    for given in ((features, sizes), one):
        for found, expected in zip(exported.module()(*given), model(*given), strict=True):
            torch.testing.assert_close(found, expected)


def test_multiclass_nms_exports_for_any_number_of_boxes(generator):
    class Select(torch.nn.Module):
        def forward(self, boxes, scores):
            return tuple(multiclass_nms(boxes, scores, 0.3, 0.5, max_detections=7))

    boxes, scores = torch.rand(1, 9, 4, generator=generator), torch.rand(1, 9, 3, generator=generator)
    count = torch.export.Dim("count", min=2)
    exported = torch.export.export(Select(), (boxes, scores), dynamic_shapes=({1: count}, {1: count}))
    more = torch.rand(1, 33, 4, generator=generator), torch.rand(1, 33, 3, generator=generator)
    for found, expected in zip(exported.module()(*more), Select()(*more), strict=True):
        assert torch.equal(found, expected)
