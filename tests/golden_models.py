"""The golden files' models, weights and input: see golden/README.md."""

import json
import math
from pathlib import Path

import pytest
import torch

from lib.models.cost import count_macs, count_parameters

GOLDEN = Path(__file__).parent / "golden"
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))}
AS_INITIALISED = ("l2_norm.weight", "scale_weight")  # 20, with the BMVC code's norm.weight where it is no BatchNorm's


def formula_weights(entries: list) -> dict[str, torch.Tensor]:
    """The tensors of a state dict that the golden files list as (name, shape)."""
    names = {name for name, _ in entries}
    tensors = {}
    for i, (name, shape) in enumerate(entries):
        count = math.prod(shape)
        period = torch.sin(0.37 * torch.arange(1009, dtype=torch.float64) + 0.11 * (i % 97))
        is_l2norm = name == "norm.weight" and "norm.running_mean" not in names
        if name.endswith("num_batches_tracked"):
            values = torch.zeros(1)
        elif is_l2norm or name.endswith(AS_INITIALISED):
            values = torch.full((count,), 20.0)
        elif len(shape) > 1 or not name.endswith(("running_var", "weight")):
            scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.05
            values = (scale * period).float().repeat(count // 1009 + 1)[:count]
        else:
            wave = torch.sin(torch.arange(count, dtype=torch.float64) + i)
            values = 1 + 0.1 * (wave.abs() if name.endswith("running_var") else wave)
        tensors[name] = values.reshape(shape).float()
    return tensors


def formula_image(height: int, width: int) -> torch.Tensor:
    """(1, 3, height, width) float32."""
    pixels = torch.arange(height * width, dtype=torch.float64).reshape(height, width)
    return torch.sin(0.01 * pixels + torch.arange(3)[:, None, None]).float()[None]


def assert_outputs(outputs: dict, expected: dict) -> None:
    """Shapes, and samples to 1e-4 of the largest value: {"loc": (1, P, 4), "conf": (1, P, K)}."""
    for name, output in outputs.items():
        wanted = expected[name]
        assert list(output.shape) == wanted["shape"]
        samples = output.flatten()[torch.tensor(wanted["idx"])]
        tolerance = 1e-4 * wanted["max_abs"]
        torch.testing.assert_close(samples, torch.tensor(wanted["samples"]), rtol=0, atol=tolerance)
        assert output.double().abs().sum().item() == pytest.approx(wanted["abs_sum"], rel=1e-4)


def assert_priors(priors: torch.Tensor, expected: dict) -> None:
    """(P, 4) as they are written down, to the bit."""
    assert len(priors) == expected["count"]
    assert torch.equal(priors[:6], torch.tensor(expected["first6"]))
    assert torch.equal(priors[-6:], torch.tensor(expected["last6"]))
    assert priors.double().sum(0).tolist() == pytest.approx(expected["col_sums"], rel=1e-12)


def assert_size(golden: dict, model: torch.nn.Module, size: tuple[int, int]) -> None:
    """That a detector at an input of ``size`` has a golden file's cost, and its priors where they are fractions."""
    assert count_parameters(model) == golden["params_total"]
    assert sum(count_macs(model, size).values()) == golden["madds_total"]
    if "priors" in golden:
        maps = [tuple(side) for side in golden["feature_maps"]]
        assert_priors(model.priors.fractions(maps, size), golden["priors"])


def assert_computes(golden: dict, model: torch.nn.Module, size: tuple[int, int]) -> None:
    """That a detector in evaluation mode, at an input of ``size``, has a golden file's outputs, cost and priors."""
    assert_size(golden, model, size)
    with torch.no_grad():
        predictions = model(formula_image(*size))
    assert_outputs({"loc": predictions.deltas, "conf": predictions.logits}, golden["outputs"])
    if "priors_xyxy" in golden:
        assert_priors(predictions.priors, golden["priors_xyxy"])
