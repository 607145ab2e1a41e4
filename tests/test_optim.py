"""Learning-rate schedules, value by value."""

import math

import pytest
import torch

from lib.build import build_optimizer, build_schedule
from lib.config import load_config
from lib.optim import OPTIMIZERS, constant, cosine, exponential, orthogonalized, restarts, step, with_warmup


def test_cosine_falls_from_one_to_the_floor():
    factor = cosine(10.0, floor=0.1)
    assert [factor(epoch) for epoch in (0, 5, 10, 12)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_cosine_by_epoch_is_the_bmvc_schedule():
    factor = cosine(100, by_epoch=True)
    assert factor(0) == factor(0.99) == pytest.approx(0.99975, abs=1e-5)  # its first epoch: 0.00099975 of 0.001
    assert factor(99.5) == pytest.approx(0.0, abs=1e-12)  # its last epoch
    held = cosine(60, hold=5, by_epoch=True)
    assert [held(epoch) for epoch in (0, 4.9)] == [1.0, 1.0]
    assert held(5) == pytest.approx((1 + math.cos(math.pi / 55)) / 2)


@pytest.mark.parametrize("epochs", [1, 0.5])
def test_cosine_by_epoch_of_one_epoch_learns(epochs):
    factor = cosine(epochs, by_epoch=True)
    assert [factor(share * epochs) for share in (0, 0.5, 1)] == pytest.approx([1.0, 0.5, 0.0])
    assert [cosine(2, by_epoch=True)(epoch) for epoch in (0, 1)] == pytest.approx([0.5, 0.0])  # as in the BMVC code


def test_restarts_begin_again_each_time_longer():
    factor = restarts(100, period=2, growth=2)
    assert [factor(epoch) for epoch in (0, 1, 2, 4, 6, 10)] == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5])


def test_step_and_exponential():
    assert [step(9, milestones=[2, 5], gamma=0.1)(e) for e in (1.99, 2, 5)] == pytest.approx([1, 0.1, 0.01])
    assert [exponential(9, gamma=0.5)(e) for e in (0.9, 1, 3)] == [1, 0.5, 0.125]


def test_warmup_ramps_from_its_start_to_the_schedule():
    factor = with_warmup(constant(10), 2.0, 0.1)
    assert [factor(epoch) for epoch in (0, 1, 2, 7)] == pytest.approx([0.1, 0.55, 1, 1])


def test_config_builds_schedules_and_optimizers():
    for kind in OPTIMIZERS:
        cfg = load_config(overrides=[f"train.optimizer={{type: {kind}, lr: 0.5}}", "train.trainable=[head]"])
        model = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2), "neck": torch.nn.Linear(2, 2)})
        optimizer = build_optimizer(cfg, model)
        assert {group["lr"] for group in optimizer.param_groups} == {0.5}
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 2  # the neck is frozen
        assert not model["neck"].weight.requires_grad
    cfg = load_config(overrides=["train.schedule={type: step, milestones: [3], gamma: 0.5}", "train.warmup_epochs=1"])
    assert build_schedule(cfg)(4) == 0.5


@pytest.mark.parametrize("parts", ["[nekc]", "[head, nekc]"])
def test_a_part_to_train_that_is_nowhere_is_refused(parts):
    cfg = load_config(overrides=[f"train.trainable={parts}"])
    with pytest.raises(ValueError, match="train.trainable must name parts .*; got 'nekc', which holds nothing here"):
        build_optimizer(cfg, torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2)}))


def test_a_part_that_only_some_necks_have_may_be_named():
    cfg, model = load_config(overrides=["train.trainable=[head, neck.refine]"]), torch.nn.Linear(2, 2)
    optimizer = build_optimizer(cfg, torch.nn.ModuleDict({"head": model}))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    cfg = load_config(overrides=["train.trainable=[neck.refine]"])
    with pytest.raises(
        ValueError, match="train.trainable must name parts .*; got 'neck.refine', which holds nothing here"
    ):
        build_optimizer(cfg, torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2)}))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("{type: adamw, betas: [-0.5, 0.999]}", "train.optimizer: .*beta.*-0.5"),
        ("{type: sgd, lr: -1.0}", "train.optimizer: .*learning rate.*-1.0"),
        ("{type: muon, momentum: 1.0}", "train.optimizer: momentum must be at least 0 and below 1; got 1.0"),
    ],
)
def test_what_torch_refuses_names_the_key(optimizer, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(load_config(overrides=[f"train.optimizer={optimizer}"]), torch.nn.Linear(2, 2))


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (1, 4)])
def test_orthogonalized_keeps_singular_vectors_and_evens_out_singular_values(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    middle = left.T @ orthogonalized(matrix) @ right.T  # diagonal, if the singular vectors are the same
    assert (middle - middle.diag().diag()).abs().max() < 1e-9
    assert values.max() / values.min() > 1.5 or min(shape) == 1
    assert ((middle.diag() > 0.65) & (middle.diag() < 1.25)).all()
    assert orthogonalized(torch.zeros(shape)).tolist() == torch.zeros(shape).tolist()


def test_muon_turns_matrices_and_leaves_the_rest_to_adamw():
    torch.manual_seed(1)
    shapes = {"dense": (4, 2, 3, 3), "depthwise": (4, 1, 3, 3), "norm": (4,)}
    first = {name: torch.randn(shape) for name, shape in shapes.items()}
    gradients = [{name: torch.randn(shape) for name, shape in shapes.items()} for _ in range(2)]

    def trained(kind, names):
        parameters = {name: torch.nn.Parameter(first[name].clone()) for name in names}
        groups = [{"params": list(parameters.values()), "rate": 1.0}]
        optimizer = OPTIMIZERS[kind](groups, lr=0.1, weight_decay=0.5)
        for step_gradients in gradients:
            for name, parameter in parameters.items():
                parameter.grad = step_gradients[name].clone()
            optimizer.step()
        return {name: parameter.detach() for name, parameter in parameters.items()}

    of_muon, of_adamw = trained("muon", shapes), trained("adamw", ["depthwise", "norm"])
    assert torch.equal(of_muon["norm"], of_adamw["norm"])
    assert torch.equal(of_muon["depthwise"], of_adamw["depthwise"])
    wanted, average = first["dense"].reshape(4, 18), torch.zeros(4, 18)
    for step_gradients in gradients:
        gradient = step_gradients["dense"].reshape(4, 18)
        average = 0.95 * average + 0.05 * gradient
        update = orthogonalized(0.05 * gradient + 0.95 * average)
        wanted = wanted * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(18) * update
    torch.testing.assert_close(of_muon["dense"].reshape(4, 18), wanted)
