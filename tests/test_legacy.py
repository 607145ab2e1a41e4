"""The BMVC code's configs and checkpoints, read by lib/legacy.py, compute what that code computed."""

import json
import math
from pathlib import Path

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.legacy import translate_weights
from lib.models.count import count_macs, count_parameters

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


def bmvc_mapping(golden: dict) -> dict:
    model = {
        "NETS": golden["nets"],
        "SSDS": golden["ssds"],
        "IMAGE_SIZE": golden["image_size"],
        "NUM_CLASSES": golden["num_classes"],
        "FEATURE_LAYER": golden["feature_layer"],
        "STEPS": golden["steps"],
        "SIZES": golden["sizes"],
        "ASPECT_RATIOS": golden["aspect_ratios"],
        "CLIP": golden["clip"],
    }
    return {"MODEL": model, "PHASE": ["test"]}


def formula_weights(entries: list) -> dict[str, torch.Tensor]:
    """The golden files' weights: see golden/README.md."""
    tensors = {}
    for i, (name, shape) in enumerate(entries):
        j = torch.arange(math.prod(shape), dtype=torch.float64)
        s = torch.sin(0.37 * (j % 1009) + 0.11 * (i % 97))
        if name.endswith("num_batches_tracked"):
            values = torch.zeros(1)
        elif name == "norm.weight":
            values = torch.full_like(j, 20.0)
        elif len(shape) > 1:
            values = math.sqrt(2 / math.prod(shape[1:])) * s
        elif name.endswith("running_var"):
            values = 1 + 0.1 * torch.sin(j + i).abs()
        elif name.endswith("weight"):
            values = 1 + 0.1 * torch.sin(j + i)
        else:
            values = 0.05 * s
        tensors[name] = values.reshape(shape).float()
    return tensors


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem, scope="module")
def golden(request):
    values = json.loads(request.param.read_text())
    torch.manual_seed(0)
    model = build_detector(load_config(bmvc_mapping(values))).eval()
    return values, model


def test_forward_equals_the_ancestors(golden):
    values, model = golden
    model.load_state_dict(translate_weights(formula_weights(values["state_dict"]), model))
    height, width = values["image_size"]
    pixels = torch.arange(height * width, dtype=torch.float64).reshape(height, width)
    image = torch.sin(0.01 * pixels + torch.arange(3)[:, None, None]).float()[None]
    with torch.no_grad():
        predictions = model(image)
    cells = [
        h * w * boxes for (h, w), boxes in zip(values["feature_maps"], values["boxes_per_cell"], strict=True)
    ]
    for name, output in (("loc", predictions.deltas), ("conf", predictions.logits)):
        expected = values["outputs"][name]
        assert list(output.shape) == expected["shape"]
        samples = output.flatten()[torch.tensor(expected["idx"])]
        tolerance = 1e-4 * expected["max_abs"]
        torch.testing.assert_close(samples, torch.tensor(expected["samples"]), rtol=0, atol=tolerance)
        for level, ours in zip(values["levels"], output[0].split(cells), strict=True):
            assert ours.double().abs().sum().item() == pytest.approx(level[name]["abs_sum"], rel=1e-4)
            assert ours.double().sum().item() == pytest.approx(
                level[name]["sum"], abs=1e-4 * level[name]["abs_sum"]
            )


def test_priors_equal_the_ancestors_to_the_bit(golden):
    values, model = golden
    priors = model.priors.fractions(
        [tuple(size) for size in values["feature_maps"]], tuple(values["image_size"])
    )
    expected = values["priors"]
    assert len(priors) == expected["count"]
    assert torch.equal(priors[:6], torch.tensor(expected["first6"]))
    assert torch.equal(priors[-6:], torch.tensor(expected["last6"]))
    assert priors.double().sum(0).tolist() == pytest.approx(expected["col_sums"], rel=1e-12)


def test_parameters_and_multiply_accumulates_equal_the_ancestors(golden):
    values, model = golden
    parts = {"base": model.backbone, "norm": model.neck.norm, "extras": model.neck.extras}
    parts |= {"loc": model.head.box, "conf": model.head.cls}
    assert {name: count_parameters(part) for name, part in parts.items()} == values["params_by"]
    assert count_parameters(model) == values["params_total"]
    assert sum(count_macs(model, tuple(values["image_size"])).values()) == values["madds_total"]
