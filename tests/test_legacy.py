"""The BMVC code's configs and checkpoints, read by lib/legacy.py, compute what that code computed."""

import json
import math
from pathlib import Path

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.legacy import translate_weights, vgg_row
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


def test_unknown_keys_and_values_of_a_bmvc_config_are_named():
    good = bmvc_mapping(json.loads(GOLDEN[0].read_text()))
    for section, key, value, message in (
        ("MODEL", "STEP", [], r"MODEL of a BMVC config must hold .*; got STEP \(did you mean 'STEPS'\?\)"),
        ("MODEL", "NETS", "vgg19", "MODEL.NETS must be one of"),
        ("MODEL", "SSDS", "yolo", "MODEL.SSDS must be one of"),
        ("MODEL", "SIZES", [[10, 20]], "MODEL.SIZES must be a list of pairs of equal numbers"),
        ("TRAIN", "TRAINABLE_SCOPE", "base,cnof", "TRAIN.TRAINABLE_SCOPE must be one of"),
        ("TRIAN", "MAX_EPOCHS", 3, r"a section of a BMVC config must be one of .*did you mean 'TRAIN'"),
    ):
        bad = {**good, section: {**good.get(section, {}), key: value}}
        with pytest.raises(ValueError, match=message):
            load_config(bad)


def test_recipe_of_a_bmvc_config_is_taken_over(caplog):
    caplog.set_level("INFO")
    mapping = bmvc_mapping(json.loads(GOLDEN[0].read_text())) | {
        "TRAIN": {
            "MAX_EPOCHS": 60,
            "CHECKPOINTS_EPOCHS": 1,
            "BATCH_SIZE": 24,
            "TRAINABLE_SCOPE": "norm,extras,loc,conf",
            "RESUME_SCOPE": "base",
            "OPTIMIZER": {
                "OPTIMIZER": "sgd",
                "LEARNING_RATE": 0.004,
                "MOMENTUM": 0.9,
                "WEIGHT_DECAY": 0.0001,
            },
            "LR_SCHEDULER": {"SCHEDULER": "SGDR", "WARM_UP_EPOCHS": 5},
        },
        "TEST": {"BATCH_SIZE": 48, "TEST_SCOPE": [26, 26]},
        "MATCHER": {"MATCHED_THRESHOLD": 0.5, "UNMATCHED_THRESHOLD": 0.5, "NEGPOS_RATIO": 3},
        "POST_PROCESS": {"SCORE_THRESHOLD": 0.01, "IOU_THRESHOLD": 0.6, "MAX_DETECTIONS": 100},
        "DATASET": {
            "DATASET": "coco",
            "DATASET_DIR": "./data/COCO",
            "TRAIN_SETS": [["2017", "train"]],
            "TEST_SETS": [["2017", "val"]],
            "PROB": 0.6,
        },
        "EXP_DIR": "./experiments/models/mine",
        "RESUME_CHECKPOINT": "./weights/plain.pth",
        "PHASE": ["test"],
    }
    cfg = load_config(mapping)
    assert (cfg.train.epochs, cfg.train.batch_size, cfg.evaluation.batch_size) == (60, 24, 48)
    assert cfg.train.optimizer == {"type": "sgd", "lr": 0.004, "momentum": 0.9, "weight_decay": 0.0001}
    assert cfg.train.schedule == {"type": "cosine", "hold": 5.0, "by_epoch": True}
    assert cfg.train.trainable == ["neck.norm", "neck.refine", "neck.extras", "head.box", "head.cls"]
    assert (cfg.model.weights, cfg.model.weights_scope) == ("./weights/plain.pth", ["backbone"])
    assert cfg.data.train.annotations == "data/COCO/annotations/instances_train2017.json"
    assert (cfg.run.dir, cfg.run.name) == ("experiments/models", "mine")
    assert next(step for step in cfg.data.augment if step["type"] == "expand")["p"] == 0.6
    assert "PHASE ['test'] says nothing here: train.py trains and test.py tests" in caplog.text
    assert "TEST.TEST_SCOPE" in caplog.text


def test_numbers_of_vgg_modules_become_rows():
    assert [vgg_row(module) for module in (4, 22, 29, 34)] == [2, 12, 16, 19]
    with pytest.raises(
        ValueError, match="a number of MODEL.FEATURE_LAYER for VGG16 must be one of .* got 21"
    ):
        vgg_row(21)


def test_s2l2_5_takes_pool5_in_steps_of_three():
    mapping = bmvc_mapping(json.loads(GOLDEN[-1].read_text()))
    mapping["MODEL"]["NETS"] = "vgg16_S2L2_5"
    assert load_config(mapping).model.backbone.strides == {"2": 1, "5": 1, "17": 3}


def test_tensors_without_a_counterpart_are_named(golden):
    values, model = golden
    weights = formula_weights(values["state_dict"])
    with pytest.raises(
        ValueError, match="got 1 that the BMVC 2019 code .* does not have, such as stranger.weight"
    ):
        translate_weights({**weights, "stranger.weight": torch.zeros(1)}, model)
    missing = {name: tensor for name, tensor in weights.items() if name != "conf.0.bias"}
    with pytest.raises(ValueError, match=r"nothing for our head.cls.0.bias"):
        translate_weights(missing, model)
    with pytest.raises(ValueError, match=r"loc.0.bias \(3,\) for \(24,\) of our head.box.0.bias"):
        translate_weights({**weights, "loc.0.bias": torch.zeros(3)}, model)


def test_scope_takes_a_part_and_leaves_the_rest(golden):
    values, model = golden
    weights = {f"module.{name}": x for name, x in formula_weights(values["state_dict"]).items()}
    taken = translate_weights(weights, model, ["backbone"])
    assert taken.keys() == {name for name in model.state_dict() if name.startswith("backbone.")}
