"""A step of training: parts, precision, averages, frozen norms, groups of parameters."""

import copy

import pytest
import torch
from torch import nn

from lib.build import build_detector
from lib.build_data import build_dataset, build_loader
from lib.config import load_config
from lib.engine.distributed import World
from lib.engine.learner import Average, Learner
from lib.ops import kernels
from lib.optim import centralize_, parameter_groups


@pytest.fixture
def learner(experiment):
    """Makes a Learner with double weights, and gives it with the batches of the first epoch."""

    def make(*overrides: str, dtype: torch.dtype = torch.float32):
        torch.manual_seed(0)
        cfg = load_config(experiment, ["data.augment=none", "input.std=[60, 60, 60]", *overrides])
        data = build_dataset(cfg, "train")
        cfg.data.classes = list(data.classes)
        learner = Learner(cfg, build_detector(cfg).to(dtype), torch.device("cpu"), World())
        learner.normalizer.to(dtype).register_forward_hook(lambda *given: given[-1].to(dtype))
        learner.start_training()
        return learner, list(build_loader(cfg, data))

    return make


# A single path that is cut after the backbone's fifth row, for a graph that is soon compiled.
SMALL = ("model.dual_path=null", "model.neck={taps: [3, 5], extras: [[16, 2]]}")


def gradients(learner):
    return {name: p.grad for name, p in learner.model.named_parameters() if p.grad is not None}


def test_parts_of_a_step_have_the_gradient_of_the_whole(learner):
    options = ("train.batch_size=8", "train.norm=frozen")
    whole, batches = learner(*options, dtype=torch.double)
    report = whole.step(batches[:1], (0.0, 2.5))
    in_parts, batches = learner(*options, "train.accumulate=4", dtype=torch.double)
    assert [len(batch.images) for batch in batches[:4]] == [2, 2, 2, 2]
    other = in_parts.step(batches[:4], (0.0, 2.5))
    assert sorted(report.image_ids) == sorted(other.image_ids)
    torch.testing.assert_close(report.values, other.values)
    assert report.values[-1] == 2.5
    for name, gradient in gradients(whole).items():
        torch.testing.assert_close(gradients(in_parts)[name], gradient, msg=name)


def test_a_batch_that_does_not_fit_into_memory_ends_in_advice(learner, monkeypatch):
    one, batches = learner()

    def fail(images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(one, "network", fail)
    with pytest.raises(ValueError, match="Tried to allocate 2.00 GiB.': raise train.accumulate, which is 1 and splits"):
        one.step(batches[:1])


def test_gradient_is_that_of_the_mean_over_the_positives(learner):
    one, batches = learner(dtype=torch.double)
    one.step(batches[:1])
    found = {name: gradient.clone() for name, gradient in gradients(one).items()}
    other, batches = learner(dtype=torch.double)
    losses = other.loss(other.model(other.normalizer(batches[0].images)), batches[0].target)
    (losses["loss_cls"] + losses["loss_box"]).backward()
    for name, gradient in gradients(other).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_frozen_norms_neither_learn_nor_count(learner):
    frozen, batches = learner("train.norm=frozen", "train.optimizer.lr=0.1")
    before = {name: value.clone() for name, value in frozen.model.state_dict().items()}
    frozen.step(batches[:1])
    after = frozen.model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    norms = {name for name, module in frozen.model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms
    assert changed
    assert not any(name.rpartition(".")[0] in norms for name in changed)


def test_half_precision_learns_as_single_does(learner):
    losses = {}
    for precision in ("fp32", "bf16", "fp16"):
        one, batches = learner(f"train.precision={precision}", "train.optimizer.lr=0.002", "train.batch_size=2")
        reports = [one.step([batches[0]]) for _ in range(5)]
        losses[precision] = [report.values[:2].sum().item() / report.values[2].item() for report in reports]
        assert all(p.dtype == torch.float32 for p in one.model.parameters())
    for precision in ("bf16", "fp16"):
        assert losses[precision][0] == pytest.approx(losses["fp32"][0], rel=0.05)
        assert losses[precision][0] != losses["fp32"][0]
        assert losses[precision][-1] < losses[precision][0]


def test_compiled_network_gives_the_same_gradient(learner, monkeypatch):
    plain, batches = learner(*SMALL, dtype=torch.double)
    plain.step(batches[:1])
    calls = []
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m: calls.append(m) or compile_(m, backend="aot_eager"))
    compiled, batches = learner(*SMALL, "train.compile=true", dtype=torch.double)
    compiled.step(batches[:1])
    assert len(calls) == 1
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(compiled)[name], gradient, msg=name)


def test_gradient_in_single_precision_is_that_in_double(learner):
    """With torch's own BatchNorm some of these gradients are off by a twentieth: the first maps hardly vary."""
    if kernels.load("_batch_norm") is None:
        pytest.skip("csrc/build.py built no kernels here")
    single, batches = learner(*SMALL)
    single.step(batches[:1])
    double, batches = learner(*SMALL, dtype=torch.double)
    double.step(batches[:1])
    for name, gradient in gradients(double).items():
        torch.testing.assert_close(gradients(single)[name].double(), gradient, rtol=1e-2, atol=1e-3, msg=name)


def test_average_forgets_faster_at_first():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = Average(model, 0.9)
    for step, expected in enumerate([0.9, 0.9 + 0.1 * 9 / 11]):  # 1 - 1 / 10 of 1, then 1 - 2 / 11 of the rest
        nn.init.constant_(model.weight, 1.0)
        average.update_(model)
        assert average.steps == step + 1
        assert average.model.weight.item() == pytest.approx(expected)
    assert not average.model.training
    with pytest.raises(ValueError, match="train.ema must lie between 0 and 1"):
        Average(model, 1.0)


def test_momentum_may_begin_when_a_run_is_resumed(learner):
    one, batches = learner("train.optimizer={type: rmsprop, lr: 0.01, momentum: 0}")
    one.step(batches[:1])
    other, _ = learner("train.optimizer={type: rmsprop, lr: 0.01, momentum: 0.9}")
    other.load_state_(copy.deepcopy(one.state()))
    assert {float(state["momentum_buffer"].abs().max()) for state in other.optimizer.state.values()} == {0.0}
    for learner_ in (one, other):  # the first step with momentum is one without
        learner_.step(batches[1:2])
    for name, value in one.state()["model"].items():
        torch.testing.assert_close(other.state()["model"][name], value)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_averaged_weights_are_what_is_used_and_resumed(learner, optimizer):
    options = ("train.ema=0.9", f"train.optimizer={{type: {optimizer}, lr: 0.01}}")
    one, batches = learner(*options)
    one.step(batches[:1])
    state = copy.deepcopy(one.state())
    assert one.best_model is one.average.model
    assert any(not torch.equal(state["model"][name], value) for name, value in state["raw_model"].items())
    other, _ = learner(*options)
    other.load_state_(state)
    for learner_ in (one, other):
        learner_.step(batches[1:2])
    for name, value in one.state()["model"].items():
        assert torch.equal(other.state()["model"][name], value), name
    for name, value in one.state()["raw_model"].items():
        assert torch.equal(other.state()["raw_model"][name], value), name


def test_groups_have_their_rates_and_vectors_no_decay():
    model = nn.ModuleDict({"backbone": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
    groups = parameter_groups(model, {"backbone": 0.1, "backbone.bias": 0.5}, decay_norms=False)
    found = {(group["rate"], group.get("weight_decay")): [tuple(p.shape) for p in group["params"]] for group in groups}
    assert found == {(0.1, None): [(3, 2)], (0.5, 0.0): [(3,)], (1.0, None): [(1, 3)], (1.0, 0.0): [(1,)]}
    with pytest.raises(ValueError, match="train.rates must name parts such as backbone, .*got 'neck', which holds"):
        parameter_groups(model, {"neck": 0.1})


def test_rate_of_a_part_that_does_not_learn_is_unused():
    model = nn.ModuleDict({"backbone": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
    model["backbone"].requires_grad_(False)
    groups = parameter_groups(model, {"backbone": 0.1})
    assert [(group["rate"], [tuple(p.shape) for p in group["params"]]) for group in groups] == [(1.0, [(1, 3), (1,)])]


def test_rates_follow_the_schedule_each_by_its_factor(learner):
    one, _ = learner("train.rates={backbone: 0.1}", "train.optimizer.lr=0.5", "train.epochs=2")
    assert one.set_rate(1.0) == pytest.approx(0.025)
    assert [group["lr"] for group in one.optimizer.param_groups] == pytest.approx([0.025, 0.25])


def test_centralized_gradients_have_mean_zero_but_of_vectors():
    layer = nn.Conv2d(2, 3, (1, 2))
    layer.weight.grad = torch.arange(12.0).reshape(3, 2, 1, 2)
    layer.bias.grad = torch.ones(3)
    centralize_(layer.parameters())
    assert layer.weight.grad.flatten(1).tolist() == [[-1.5, -0.5, 0.5, 1.5]] * 3
    assert layer.bias.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.norm=synch", r"train.norm must be one of batch, sync, frozen; got 'synch' \(did you mean 'sync'"),
        ("train.precision=bf61", r"train.precision must be one of fp32, bf16, fp16, auto; .*did you mean 'bf16'"),
        ("train.rates={backbone: -1}", "train.rates.backbone must be 0 or more and finite; got -1"),
        ("train.accumulate=3", "train.batch_size must be a multiple of 3"),
    ],
)
def test_wrong_choices_are_refused(learner, override, message):
    with pytest.raises(ValueError, match=message):
        learner(override)
