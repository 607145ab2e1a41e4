"""The JSON files of the MobileNetV3 and MobileDet SSDLite in Keras build its networks, anchors and recipe."""

import copy
import json
import math

import pytest
import torch

from lib.build import build_detector, build_loss, build_schedule
from lib.build_data import input_size
from lib.config import load_config
from lib.models.cost import cost_of
from lib.structures import Predictions, Target
from tests.legacy.keras_files import FILES, FPN_ANCHORS, PFH_ANCHORS

# Weights that learn there, convolutions' multiply-accumulates there in units of 10^5 where they are known, anchors
COSTS = {
    "small_pfh": (1_680_836, 1555, 2034),
    "large_pfh": (3_116_844 + 1160, 4935, 2034),  # one squeeze has 24 channels here, 16 there
    "mobiledet_pfh": (4_076_780, 4413, 2034),
    "small_fpn": (None, None, 6804),
    "mobiledet_fpn": (None, None, 6804),
}


def changed(mapping: dict, name: str, value: object) -> dict:
    """The mapping with another value, by a key such as ``model_config.neck.name``; None: without it."""
    result = copy.deepcopy(mapping)
    *sections, key = name.split(".")
    place = result
    for section in sections:
        place = place[section]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return result


@pytest.mark.parametrize("name", FILES)
def test_network_costs_what_it_costs_there(name):
    cfg = load_config(FILES[name])
    with torch.device("meta"):
        model = build_detector(cfg)
        cost = cost_of(model, input_size(cfg))
    parameters, macs, priors = COSTS[name]
    assert cost.num_priors == priors
    cells = [h * w for h, w in cost.maps]
    boxes = model.priors.boxes_per_cell
    channels = model.neck.out_channels
    background = sum(n * (c + 1) for n, c in zip(boxes, channels, strict=True))  # our column 0, which theirs lack
    if parameters:
        assert cost.parameters - background == parameters
        extra = sum(n * c * area for n, c, area in zip(boxes, channels, cells, strict=True))
        assert round((cost.macs - extra) / 1e5) == macs


def their_anchors(maps: list[int], specs: list) -> torch.Tensor:
    """(P, 4) center y, center x, height, width as fractions, worked out cell by cell."""
    rows = []
    for cells, level in zip(maps, specs, strict=True):
        side = math.ceil(320 / cells)
        spacing = (320 - side) / (cells - 1) if cells > 1 else 0
        centers = [side / 2 + spacing * i for i in range(cells)]
        has_square, above = level[-1]
        for y in centers:
            for x in centers:
                for scale, ratio in level[:-1]:
                    rows.append((y / 320, x / 320, scale / math.sqrt(ratio), scale * math.sqrt(ratio)))
                if has_square:
                    rows.append((y / 320, x / 320, *[math.sqrt(level[-2][0] * above)] * 2))
    return torch.tensor(rows)


@pytest.mark.parametrize(
    ("name", "maps", "specs"),
    [("small_pfh", [20, 10, 5, 3, 2, 1], PFH_ANCHORS), ("small_fpn", [40, 20, 10, 5, 3], FPN_ANCHORS)],
)
def test_anchors_are_theirs_in_their_order_not_clipped(name, maps, specs):
    cfg = load_config(FILES[name])
    with torch.device("meta"):
        priors = build_detector(cfg).priors
    ours = priors.fractions([(cells, cells) for cells in maps], (320, 320))
    theirs = their_anchors(maps, specs)[:, [1, 0, 3, 2]]
    torch.testing.assert_close(ours[:, 2:], theirs[:, 2:], rtol=0, atol=1e-6)
    assert (ours[:, :2] - theirs[:, :2]).abs().max() < 0.17 / 320  # on the map of 3 cells, whose cells are 107 pixels
    assert ours[:, 2:].max() > 1 and ours.shape == theirs.shape


def test_recipe_is_taken_over(caplog):
    caplog.set_level("INFO")
    cfg = load_config(FILES["mobiledet_pfh"])
    assert cfg.loss == {
        **{"type": "focal", "alpha": 0.75, "gamma": 2.0, "cls_weight": 1.0},
        **{"box": "balanced_l1", "box_weight": 0.25},
    }
    assert cfg.train.optimizer == {"type": "sgd", "lr": 0.2, "momentum": 0.9, "weight_decay": 4e-5}
    assert (cfg.train.epochs, cfg.train.batch_size, cfg.train.decay_norms) == (600, 128, False)
    assert (cfg.model.num_classes, cfg.model.variances, cfg.data.layout) == (81, [0.1, 0.2], "coco2017")
    factor = build_schedule(cfg)
    assert [factor(epoch) for epoch in (0, 2, 4, 302, 600)] == pytest.approx([1 / 3, 2 / 3, 1, 0.5, 0], abs=1e-9)
    assert "data.layout=coco2017, the default data set" in caplog.text
    assert "centers of anchors differ by 0.17 pixels at most on the map of 3 cells a side" in caplog.text


def test_losses_are_sums_by_the_number_of_positives_and_of_their_offsets():
    """One prior, one object that it meets exactly but for one offset: 0.5 * 0.5^2 / 4 with SmoothL1."""
    criterion = build_loss(load_config(changed(FILES["small_pfh"], "training_config.num_classes", 1)))
    priors = torch.tensor([[0.0, 0.0, 40.0, 20.0]])
    predictions = Predictions(torch.zeros(1, 1, 2), torch.tensor([[[0.5, 0.0, 0.0, 0.0]]]), priors, (20, 40))
    losses = criterion(predictions, Target(priors[None], torch.ones(1, 1, dtype=torch.long)))
    assert losses["loss_box"].item() == pytest.approx(0.5 * 0.5**2 / 4)
    assert losses["loss_cls"].item() == pytest.approx(0.75 * 0.5**2 * math.log(2))


def test_frozen_parts_and_unequal_penalties_of_the_fpn_are_in_the_log(caplog):
    caplog.set_level("INFO")
    mapping = changed(FILES["small_fpn"], "model_config.neck.regularization", 3e-5)
    cfg = load_config(mapping)
    assert cfg.train.frozen == ["backbone"]
    assert cfg.train.optimizer.weight_decay == 6e-5
    assert (cfg.model.neck.type, cfg.model.neck.from_tap, cfg.model.head.predictor) == ("pyramid", True, "separable")
    for text in (
        "FPN cannot run there",
        "train.frozen=[backbone]",
        "one weight decay",
        "backbone.dropout has no counter",
    ):
        assert text in caplog.text


def test_other_names_of_the_same(tmp_path):
    mapping = changed(FILES["small_pfh"], "model_config.backbone.name", "MV3")
    mapping = changed(mapping, "training_config.ClfLoss.LossFunction", "QFocal")
    mapping = changed(mapping, "model_config.neck.name", "PFHLite")
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(mapping, indent=4))
    cfg = load_config(path)
    assert (cfg.loss.type, cfg.loss.of) == ("quality_focal", "prior")
    assert cfg.model.backbone.type == "mobilenet_v3_small"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model_config.widht", 1, "model_config of .* must hold .*target_size, .*; got widht"),
        ("model_config.target_size", None, "model_config.target_size of .* must be given"),
        ("model_config.target_size", "320", "model_config.target_size of .* must be a whole number; got '320'"),
        ("training_config.epoch", 3, r"training_config of .* must hold .*did you mean 'epochs'"),
        ("model_config.box_variances", [0.1, 0.2, 0.2, 0.2], "box_variances must be two pairs"),
        ("model_config.numAnchors", [3, 6], "numAnchors must be .3, 6, 6, 6, 6, 6., the anchors of AnchorSpecs"),
        ("model_config.AnchorSpecs", [[[0.1, -1.0], [False, None]]] * 6, "AnchorSpecs must be .* above 0"),
        ("model_config.AnchorSpecs", [[[0.1, 1.0], [True, None]]] * 6, "AnchorSpecs must be .* above 0"),
        ("model_config.AnchorSpecs", [[]] * 6, "AnchorSpecs must be .* above 0"),
        ("model_config.neck.filters", 128, "neck.filters of PFH must be"),
        ("model_config.neck.name", "BiFPN", "neck.name in small letters must be one of pfh, pfhlite, fpn"),
        ("model_config.head.name", "YOLO", "head.name in small letters must be one of ssd, ssdlite"),
        ("model_config.backbone.modelSize", "tiny", "backbone.name and modelSize .* must be one of mobilenetv3 small"),
        ("training_config.BoxLoss.Delta", 2.0, "BoxLoss.Delta must be 1"),
        ("training_config.ClfLoss.LossFunction", "CE", "ClfLoss.LossFunction in small letters must be one of focal"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(name, value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        load_config(changed(FILES["small_pfh"], name, value))
