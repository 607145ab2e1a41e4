"""Every experiment file loads, builds, and costs what its row is known to cost."""

from pathlib import Path

import pytest
import torch

from lib.build import build_detector, num_classes
from lib.build_data import input_size
from lib.config import load_config
from lib.models.cost import cost_of, count_macs, count_parameters, meta_copy
from lib.utils.yaml_files import value_at

ROOT = Path(__file__).resolve().parents[1] / "experiments"
FILES = sorted(path for path in ROOT.glob("*/*.yml") if path.parent.name != "_base_")

# experiment -> (sides of the maps, priors, 10^9 multiply-accumulates, 10^6 parameters), from the BMVC code's models
COSTS = {
    "mobilenet_v1/plain": ((19, 10, 5, 3, 2, 1), 2990, 2.51, 16.14),
    "mobilenet_v1/512": ((32, 16, 8, 4, 2, 1), 8180, 6.91, 16.14),
    "mobilenet_v1/600": ((38, 19, 10, 5, 3, 2), 11632, 9.74, 16.14),
    "mobilenet_v1/anchor10": ((19, 10, 5, 3, 2, 1), 2990, 2.51, 16.14),
    "mobilenet_v1/f6": ((38, 19, 10, 5, 3, 2, 1), 11654, 4.21, 17.32),
    "mobilenet_v1/S1L0": ((38, 19, 10, 5, 3, 1), 11638, 9.74, 16.53),
    "mobilenet_v1/S1L0_dual": ((38, 19, 5, 3, 2, 1), 11062, 10.41, 16.53),
    "mobilenet_v1/S1L4": ((38, 19, 10, 5, 3, 1), 11638, 9.08, 16.53),
    "mobilenet_v1/S1L6": ((38, 19, 10, 5, 3, 2), 11650, 8.66, 16.53),
    "mobilenet_v1/S2L0_6": ((75, 38, 19, 10, 5, 3), 45366, 33.92, 16.53),
    "mobilenet_v1/S1L0_dual_joined": ((38, 19, 10, 5, 3, 1), 11638, 11.72, 19.15),
    "mobilenet_v1/rfb_lite": ((19, 10, 5, 3, 2, 1), 2990, 3.00, 19.37),
    "vgg16/rfb": ((38, 19, 10, 5, 3, 1), 11620, 39.33, 42.76),
    "darknet/19": ((18, 9, 5, 3, 2, 1), 2654, 5.96, 34.42),
    "darknet/53": ((19, 10, 5, 3, 2, 1), 2990, 14.73, 55.19),
    "mobilenet_v2/ssdlite320": ((20, 10, 5, 3, 2, 1), 3232, 0.75, 4.30),
    "mobilenext/ssdlite320": ((20, 10, 5, 3, 2, 1), 3232, 0.84, 4.54),
    "vgg16/voc300": ((38, 19, 10, 5, 3, 1), 8732, 31.37, 26.29),
    "vgg16/voc512": ((64, 32, 16, 8, 4, 2, 1), 24564, 90.21, 27.19),
    "mobilenet_v2/voc320": ((20, 10, 5, 3, 2, 1), 3234, 0.68, 3.30),
    "mobilenet_v3/voc320": ((20, 10, 5, 3, 2, 1), 3234, 0.48, 3.86),
    "efficientnet/b3_voc300": ((38, 19, 10, 5, 3, 1), 8732, 1.97, 12.66),
    "vgg16/torchvision300_c91": ((38, 19, 10, 5, 3, 1), 8732, 34.86, 35.64),
    "mobilenet_v3/torchvision320_c91": ((20, 10, 5, 3, 2, 1), 3234, 0.69, 5.20),
    "mobilenet_v3/torchvision320_reduced_c91": ((20, 10, 5, 3, 2, 1), 3234, 0.58, 3.44),
    "vgg16/plain": ((38, 19, 10, 5, 3, 1), 11620, 35.49, 35.09),
    "vgg16/S1L2": ((75, 37, 19, 10, 5, 3), 44866, 128.82, 35.09),
    "vgg16/S1L2_dual": ((75, 37, 10, 5, 3, 1), 42754, 153.90, 35.09),
    "vgg16/S2L2_5": ((75, 25, 13, 7, 5, 3), 38944, 349.26, 35.09),
}


def build_on_meta(name: str):
    """The experiment's detector at full size, without memory or time for its weights."""
    cfg = load_config(ROOT / f"{name}.yml")
    with torch.device("meta"):
        return cfg, build_detector(cfg).eval()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_experiment_loads_builds_and_costs_what_its_row_is_known_to_cost(path):
    name = f"{path.parent.name}/{path.stem}"
    cfg, detector = build_on_meta(name)
    height, width = input_size(cfg)
    predictions = meta_copy(detector)(torch.empty(1, 3, height, width, device="meta"))
    assert predictions.logits.shape == (1, len(predictions.priors), num_classes(cfg))
    assert predictions.deltas.shape == (1, *predictions.priors.shape)
    if name in COSTS:
        sides, num_priors, gmacs, megaparameters = COSTS[name]
        cost = cost_of(detector, (height, width))
        assert cost.maps == [(side, side) for side in sides]
        assert cost.num_priors == len(predictions.priors) == num_priors
        assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.006)
        assert cost.parameters / 1e6 == pytest.approx(megaparameters, abs=0.006)


def test_every_known_cost_is_of_an_experiment():
    assert COSTS.keys() <= {f"{path.parent.name}/{path.stem}" for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_experiment_is_short_and_says_how_to_run_it(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 20
    assert f"python train.py --cfg=experiments/{path.parent.name}/{path.name}" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_experiments_that_measure_cpu_time_use_one_core_and_others_all(path):
    cfg = load_config(path)
    if cfg.train.clock == "cpu":
        assert (cfg.run.threads, cfg.data.workers) == (1, 0)
    elif path.parent.name == "light":
        assert (cfg.run.threads, cfg.data.workers) == (0, 2)


KERAS = {"train.precision": "auto", "model.norm": {"eps": 0.001, "momentum": 0.01}, "model.init": "normal"}
# experiment -> values of its recipe, from the code of the work that it follows
RECIPES = {
    **{f"mobilenet_v1/{name}": {"train.batch_size": 32} for name in ("plain", "S1L4", "S1L6")},
    **{f"mobilenet_v1/S1L0{name}": {"train.batch_size": 24} for name in ("", "_dual", "_dual_joined", "_separable")},
    "mobilenet_v1/S2L0_6": {"train.batch_size": 16},
    **{f"vgg16/{name}": {"train.batch_size": 32} for name in ("plain", "S2L2_5", "fssd", "rfb")},
    **{f"vgg16/{name}": {"train.batch_size": 16} for name in ("S1L2", "S1L2_dual")},
    **{f"{name}320": KERAS for name in ("mobilenet_v3/large", "mobilenet_v3/small", "mobiledet/cpu")},
    **{
        f"{name}/ssdlite320": {"model.weights_classes": "shifted", "data.augment": "ssd_lufficc"}
        for name in ("mobilenet_v2", "mobilenext")
    },
    "vgg16/voc300": {"data.augment": "ssd_lufficc"},
    "vgg16/torchvision300": {"data.augment": "ssd_torchvision"},
}


# Experiments that quote an AP from pretrained weights, and whether model.weights=imagenet is of the same backbone
FROM_PRETRAINED = {
    **{f"vgg16/{name}": True for name in ("plain", "voc300", "voc512", "ssd300", "ssd512", "torchvision300")},
    **{"mobilenet_v2/voc320": True, "mobilenet_v2/ssdlite320": True, "vgg16/torchvision300_c91": True},
    **{"mobilenet_v1/plain": False, "mobilenext/ssdlite320": False},
    **{"mobilenet_v3/voc320": False, "efficientnet/b3_voc300": False},  # their own padding or order of layers
}


@pytest.mark.parametrize("name", FROM_PRETRAINED)
def test_published_ap_says_that_it_is_from_pretrained_weights_and_the_command_loads_some(name):
    text = (ROOT / f"{name}.yml").read_text()
    assert "(published, from pretrained weights; not run here)" in text
    assert (f"python train.py --cfg=experiments/{name}.yml model.weights=imagenet" in text) == FROM_PRETRAINED[name]
    if FROM_PRETRAINED[name]:
        cfg = load_config(ROOT / f"{name}.yml", ["model.weights=imagenet"])
        assert cfg.input.std == [58.395, 57.12, 57.375]
        assert cfg.input.channels == "rgb"


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_that_of_the_original(name):
    cfg = load_config(ROOT / f"{name}.yml")
    assert {key: value_at(cfg, key) for key in RECIPES[name]} == RECIPES[name]


def test_separable_predictors_make_s1l0_cheaper():
    _, detector = build_on_meta("mobilenet_v1/S1L0_separable")
    assert sum(count_macs(detector, (300, 300)).values()) / 1e9 == pytest.approx(5.0, abs=0.05)
    assert count_parameters(detector) / 1e6 == pytest.approx(5.8, abs=0.05)
