"""The BMVC code's configs and checkpoints, read by lib/legacy, compute what that code computed."""

import pytest
import torch
from golden_models import FILES, assert_outputs, assert_priors, formula_image, formula_weights

from lib.build import build_detector
from lib.config import load_config
from lib.legacy import translate_weights
from lib.legacy.ssds import vgg_row
from lib.models.cost import count_macs, count_parameters

BMVC = {name: golden for name, golden in FILES.items() if "nets" in golden}
FIRST, LAST = BMVC["ssd_lite_mobilenetv1_train_coco"], BMVC["ssd_vgg16_train_coco"]


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


@pytest.fixture(params=BMVC, scope="module")
def golden(request):
    values = BMVC[request.param]
    torch.manual_seed(0)
    model = build_detector(load_config(bmvc_mapping(values))).eval()
    return values, model


def test_forward_equals_the_ancestors(golden):
    values, model = golden
    model.load_state_dict(translate_weights(formula_weights(values["state_dict"]), model))
    with torch.no_grad():
        predictions = model(formula_image(*values["image_size"]))
    outputs = {"loc": predictions.deltas, "conf": predictions.logits}
    assert_outputs(outputs, values["outputs"])
    cells = [h * w * boxes for (h, w), boxes in zip(values["feature_maps"], values["boxes_per_cell"], strict=True)]
    for name, output in outputs.items():
        for level, ours in zip(values["levels"], output[0].split(cells), strict=True):
            assert ours.double().abs().sum().item() == pytest.approx(level[name]["abs_sum"], rel=1e-4)
            assert ours.double().sum().item() == pytest.approx(level[name]["sum"], abs=1e-4 * level[name]["abs_sum"])


def test_priors_equal_the_ancestors_to_the_bit(golden):
    values, model = golden
    maps = [tuple(size) for size in values["feature_maps"]]
    assert_priors(model.priors.fractions(maps, tuple(values["image_size"])), values["priors"])


def test_parameters_and_multiply_accumulates_equal_the_ancestors(golden):
    values, model = golden
    neck, head = model.neck, model.head
    parts = {"base": model.backbone, "norm": neck.norm, "extras": neck.extras, "loc": head.box, "conf": head.cls}
    parts |= {name: getattr(neck, name) for name in ("transforms", "pyramids") if hasattr(neck, name)}
    counts = {name: count_parameters(part) for name, part in parts.items()}
    assert {name: count for name, count in counts.items() if count} == values["params_by"]
    assert count_parameters(model) == values["params_total"]
    assert sum(count_macs(model, tuple(values["image_size"])).values()) == values["madds_total"]


def test_unknown_keys_and_values_of_a_bmvc_config_are_named():
    good = bmvc_mapping(FIRST)
    for section, key, value, message in (
        ("MODEL", "STEP", [], r"MODEL of a BMVC config must hold .*; got STEP \(did you mean 'STEPS'\?\)"),
        ("MODEL", "NETS", "vgg19", "MODEL.NETS must be one of"),
        ("MODEL", "SSDS", "yolo", "MODEL.SSDS must be one of"),
        ("MODEL", "FEATURE_LAYER", None, "MODEL.FEATURE_LAYER of a BMVC config must be given"),
        ("TEST", "BATCH", 3, "TEST of a BMVC config must hold BATCH_SIZE; got BATCH"),
        ("MODEL", "SIZES", [[10, 20]], "MODEL.SIZES must be a list of pairs of equal numbers"),
        ("TRAIN", "TRAINABLE_SCOPE", "base,cnof", "TRAIN.TRAINABLE_SCOPE must be one of"),
        ("TRIAN", "MAX_EPOCHS", 3, r"a section of a BMVC config must be one of .*did you mean 'TRAIN'"),
    ):
        bad = {**good, section: {**good.get(section, {}), key: value}}
        if value is None:
            del bad[section][key]
        with pytest.raises(ValueError, match=message):
            load_config(bad)


def test_recipe_of_a_bmvc_config_is_taken_over(caplog):
    caplog.set_level("INFO")
    mapping = bmvc_mapping(FIRST) | {
        "TRAIN": {
            "MAX_EPOCHS": 60,
            "CHECKPOINTS_EPOCHS": 1,
            "BATCH_SIZE": 24,
            "TRAINABLE_SCOPE": "norm,extras,loc,conf",
            "RESUME_SCOPE": "base",
            "OPTIMIZER": {"OPTIMIZER": "sgd", "LEARNING_RATE": 0.004, "MOMENTUM": 0.9, "WEIGHT_DECAY": 0.0001},
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
    with pytest.raises(ValueError, match="a number of MODEL.FEATURE_LAYER for VGG16 must be one of .* got 21"):
        vgg_row(21)


def test_s2l2_5_takes_pool5_in_steps_of_three():
    mapping = bmvc_mapping(LAST)
    mapping["MODEL"]["NETS"] = "vgg16_S2L2_5"
    assert load_config(mapping).model.backbone.strides == {"2": 1, "5": 1, "17": 3}


def test_tensors_without_a_counterpart_are_named(golden):
    values, model = golden
    weights = formula_weights(values["state_dict"])
    with pytest.raises(ValueError, match="got 1 that the BMVC 2019 code .* does not have, such as stranger.weight"):
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


def test_scope_may_be_a_row_and_what_it_lacks_is_named(golden, monkeypatch):
    values, model = golden
    weights = formula_weights(values["state_dict"])
    taken = translate_weights(weights, model, ["backbone.layers.1"])
    assert taken.keys() == {name for name in model.state_dict() if name.startswith("backbone.layers.1.")}
    monkeypatch.setattr(model, "added", torch.nn.Linear(1, 1), raising=False)
    with pytest.raises(ValueError, match=r"nothing for our added.bias"):
        translate_weights(weights, model, ["added.bias"])


def bmvc_variant(ssds: str, nets: str, layers: list, channels: list) -> dict:
    mapping = bmvc_mapping(LAST)
    mapping["MODEL"] |= {"SSDS": ssds, "NETS": nets, "FEATURE_LAYER": [layers, channels]}
    return mapping


@pytest.mark.parametrize(
    ("mapping", "parameters"),
    [
        # published: RFB VGG16 42.76 M; the dual path's older form 19,145,226 with 6 boxes on level 5
        (bmvc_variant("rfb", "vgg16", [22, 34, "RBF", "RBF", "", ""], [512, 1024, 512, 256, 256, 256]), 42_758_624),
        (
            bmvc_variant(
                "ssd_lite_dual", "mobilenet_v1_S1L0", [11, 13, "E", "S", "S", "P"], [512, 1536, 512, 256, 256, 128]
            ),
            19_145_226 - 2 * 85 * (256 * 9 + 1),
        ),
    ],
)
def test_other_forms_have_the_ancestors_parameters(mapping, parameters):
    with torch.device("meta"):
        assert count_parameters(build_detector(load_config(mapping))) == parameters


@pytest.mark.parametrize(
    ("ssds", "nets", "layers", "channels"),
    [
        ("fssd", "vgg16", [[22, 34, "S"], [512, 1024, 512]], [["", "S", "S", "S", "", ""], [512, 512] + [256] * 4]),
        (
            "fssd_lite",
            "mobilenet_v1",
            [[5, 11, 13], [256, 512, 1024]],
            [["", "S", "S", "S", "", ""], [512, 512] + [256] * 4],
        ),
        ("rfb_lite", "mobilenet_v2_050", [13, 17, "RBF", "S", "S", "S"], [48, 160, 512, 256, 256, 128]),
    ],
)
def test_other_heads_of_bmvc_configs_build_and_run(ssds, nets, layers, channels):
    with torch.device("meta"):
        model = build_detector(load_config(bmvc_variant(ssds, nets, layers, channels))).eval()
        predictions = model(torch.empty(1, 3, 300, 300))
    assert predictions.logits.shape == (1, len(predictions.priors), 81)
    if ssds == "fssd":  # its extra layers are linear
        assert isinstance(model.neck.extras[0].conv.act, torch.nn.Identity)
