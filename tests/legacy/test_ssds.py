"""lib/legacy/ssds.py: what the keys of the BMVC code's YAML files mean here."""

import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.legacy.ssds_network import row_of
from lib.models.cost import count_macs, count_parameters
from tests.legacy.bmvc_files import VOC
from tests.legacy.bmvc_files import bmvc_file as theirs


def network(ssds: str, nets: str, layers: list, channels: list, **more) -> dict:
    return {"SSDS": ssds, "NETS": nets, "FEATURE_LAYER": [layers, channels], **more}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL": {"STEP": []}}, r"MODEL of a BMVC config must hold .*; got STEP \(did you mean 'STEPS'\?\)"),
        ({"MODEL": {"NETS": "vgg19"}}, "MODEL.NETS must be one of"),
        ({"MODEL": {"SSDS": "yolo"}}, "MODEL.SSDS must be one of"),
        ({"MODEL": {"SIZES": [[10, 20]]}}, "MODEL.SIZES must be a list of pairs of equal numbers"),
        ({"MODEL": {"FEATURE_LAYER": [[11, 13]]}}, "MODEL.FEATURE_LAYER must be two lists of the same length"),
        ({"MODEL": {"NUM_CLASSES": "many"}}, "MODEL.NUM_CLASSES of a BMVC config must be a whole number; got 'many'"),
        ({"MODEL": 3}, r"MODEL of a BMVC config must be a mapping; got 3"),
        ({"TEST": {"BATCH": 3}}, r"TEST of a BMVC config must hold BATCH_SIZE, TEST_SCOPE|TEST_SCOPE, BATCH_SIZE"),
        (
            {"TEST": {"TEST_SCOPE": 5}},
            r"TEST.TEST_SCOPE of a BMVC config must be a list \[a whole number, a whole number\]; got 5",
        ),
        ({"TRAIN": {"TRAINABLE_SCOPE": "base,cnof"}}, "TRAIN.TRAINABLE_SCOPE must be one of"),
        ({"TRAIN": {"OPTIMIZER": {"LR": 1}}}, r"TRAIN.OPTIMIZER of a BMVC config must hold OPTIMIZER, .*; got LR"),
        ({"TRIAN": 1}, r"a BMVC config must hold .*; got TRIAN \(did you mean 'TRAIN'\?\)"),
        ({"PHASE": ["tset"]}, "a word of PHASE must be one of train, eval, test"),
        ({"DATASET": {"DATASET": "kitti"}}, "DATASET.DATASET must be one of coco, voc; got 'kitti'"),
        (
            {"DATASET": {"TEST_SETS": ["2007"]}},
            r"DATASET.TEST_SETS of a BMVC config must be a list of lists .*; got \['2007'\]",
        ),
    ],
)
def test_unknown_keys_and_values_are_named(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        load_config(theirs(**changes) if "TRIAN" not in changes else theirs() | changes)


def test_keys_that_must_be_there_are_named():
    mapping = theirs()
    del mapping["MODEL"]["FEATURE_LAYER"]
    with pytest.raises(ValueError, match="MODEL.FEATURE_LAYER of a BMVC config must be given"):
        load_config(mapping)


@pytest.mark.parametrize(
    ("ssds", "nets", "experiment"),
    [("yolo_v2", "darknet_19", "darknet/19"), ("yolo_v3", "mobilenet_v2", "mobilenet_v2/plain")],
)
def test_heads_of_yolo_get_one_line_with_the_nearest_experiment(ssds, nets, experiment):
    model = network(ssds, nets, [["B", "B"], [13, "B"]], [[1024, 1024], [256, 512]], IMAGE_SIZE=[416, 416])
    with pytest.raises(ValueError, match=f"not part of this project: the nearest .*/{experiment}.yml") as caught:
        load_config(theirs(MODEL=model))
    assert "\n" not in str(caught.value)


def test_recipe_and_paths_are_taken_over(caplog, tmp_path, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    torch.save({"base.0.conv.0.weight": torch.zeros(1)}, tmp_path / "plain.pth")
    cfg = load_config(theirs())
    assert (cfg.train.epochs, cfg.train.batch_size, cfg.evaluation.batch_size) == (60, 24, 48)
    assert cfg.train.optimizer == {"type": "sgd", "lr": 0.004, "momentum": 0.9, "weight_decay": 0.0001}
    assert cfg.train.schedule == {"type": "cosine", "hold": 5.0, "by_epoch": True}
    assert cfg.train.trainable == ["neck.norm", "neck.refine", "neck.extras", "head.box", "head.cls"]
    assert (cfg.model.weights, cfg.model.weights_scope) == ("./plain.pth", ["backbone"])
    assert cfg.data.layout == {"train": ["coco_2017_train"], "val": ["coco_2017_val"]}
    assert cfg.data.root == "data/COCO"
    assert (cfg.run.dir, cfg.run.name) == ("experiments/models", "mine")
    assert next(step for step in cfg.data.augment if step["type"] == "expand")["p"] == 0.6
    unused = "LOG_DIR, TRAIN.CHECKPOINTS_EPOCHS, MATCHER.UNMATCHED_THRESHOLD"
    assert all(f"{name} has no counterpart and is not used" in caplog.text for name in unused.split(", "))


def test_a_short_file_has_the_defaults_of_their_code():
    cfg = load_config(
        {
            "MODEL": {key: theirs()["MODEL"][key] for key in ("FEATURE_LAYER", "SIZES", "ASPECT_RATIOS")}
            | {"NETS": "mobilenet_v1"}
        }
    )
    assert (cfg.model.num_classes, cfg.train.epochs, cfg.train.batch_size) == (21, 300, 128)
    assert cfg.data.layout == {"train": ["voc_2007_trainval", "voc_2012_trainval"], "val": ["voc_2007_test"]}
    assert cfg.train.schedule.milestones == list(range(300))  # STEPS [1], GAMMA 0.98
    assert cfg.train.trainable is None


def test_weights_that_are_not_there_are_left_out_with_a_warning(caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(theirs()).model.weights is None
    assert "RESUME_CHECKPOINT ./plain.pth is not there" in caplog.text


@pytest.mark.parametrize(
    ("ssds", "scope", "expected"),
    [
        ("ssd_lite", "base,norm,extras,loc,conf", None),
        ("ssd_lite", "", None),
        ("ssd_lite", "base, extras", ["backbone", "neck.extras"]),
        ("fssd_lite", "base,norm,extras,transforms,pyramids,loc,conf", None),
        # without the two parts that only FSSD has, these stay as they are
        (
            "fssd_lite",
            "base,norm,extras,loc,conf",
            ["backbone", "neck.norm", "neck.refine", "neck.extras", "head.box", "head.cls"],
        ),
    ],
)
def test_a_scope_of_all_parts_is_everything(ssds, scope, expected):
    layers = [[[5, 11, 13], [256, 512, 1024]], [["", "S", "S", "S", "", ""], [512, 512, 256, 256, 256, 256]]]
    model = {"SSDS": ssds, "FEATURE_LAYER": layers} if ssds.startswith("fssd") else {"SSDS": ssds}
    assert load_config(theirs(MODEL=model, TRAIN={"TRAINABLE_SCOPE": scope})).train.trainable == expected


@pytest.mark.parametrize("steps", [[], [0]])
def test_steps_of_no_epochs_are_refused_only_where_the_schedule_uses_them(steps):
    with pytest.raises(ValueError, match=r"TRAIN.LR_SCHEDULER.STEPS must begin with .* 1 or more; got \["):
        load_config(theirs(TRAIN={"LR_SCHEDULER": {"SCHEDULER": "step", "STEPS": steps}}))
    cfg = load_config(theirs(TRAIN={"MAX_EPOCHS": 3, "LR_SCHEDULER": {"SCHEDULER": "exponential", "STEPS": steps}}))
    assert cfg.train.schedule.milestones == [0, 1, 2]


@pytest.mark.parametrize(
    ("scheduler", "milestones"),
    [
        # theirs counts epochs from 1 and steps before an epoch: the rate of the fourth differs from the third's
        ({"SCHEDULER": "step", "STEPS": [4]}, [3, 7]),
        ({"SCHEDULER": "step", "STEPS": [4], "WARM_UP_EPOCHS": 2}, [5]),
        ({"SCHEDULER": "multi_step", "STEPS": [2, 5]}, [1, 4]),
        ({"SCHEDULER": "exponential"}, list(range(9))),
    ],
)
def test_rates_change_in_the_epochs_in_which_theirs_do(scheduler, milestones):
    cfg = load_config(theirs(TRAIN={"MAX_EPOCHS": 9, "LR_SCHEDULER": {**scheduler, "GAMMA": 0.5}}))
    steps = [milestone for milestone in cfg.train.schedule.milestones if milestone < 9]
    assert (steps, cfg.train.schedule.gamma) == (milestones, 0.5)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ({"OPTIMIZER": "rmsprop"}, {"type": "rmsprop", "momentum": 0.9, "alpha": 0.99}),
        ({"OPTIMIZER": "adam", "MOMENTUM_2": 0.999}, {"type": "adam", "betas": [0.9, 0.999]}),
    ],
)
def test_other_optimizers(optimizer, expected):
    cfg = load_config(theirs(TRAIN={"OPTIMIZER": optimizer}))
    assert cfg.train.optimizer == {"lr": 0.001, "weight_decay": 0.0001, **expected}


@pytest.mark.parametrize(
    ("phases", "data", "protocol", "eval_every", "line"),
    [
        (["test"], {}, "coco", 1, "names no train, so their train.py would only test; here train.py trains"),
        (["train", "test"], {}, "coco", 1, "evaluation.protocol=coco: as their phase test"),
        (["train", "eval"], {}, "voc12", 1, "evaluation.protocol=voc12: as their phase eval"),
        (["train"], {}, "coco", 0, "training tests only once, after its last epoch"),
        (["visualize"], {}, "coco", 1, "PHASE visualize has no counterpart: demo.py draws detections"),
        (["test"], VOC, "voc07", 1, "evaluation.protocol=voc07: AP over 11 points"),
        (["test"], {**VOC, "TEST_SETS": [["2012", "val"]]}, "voc12", 1, "AP over every point"),
        (["eval"], VOC, "voc12", 1, "as their phase eval"),
    ],
)
def test_phases_decide_the_protocol_and_whether_training_tests(phases, data, protocol, eval_every, line, caplog):
    caplog.set_level("INFO")
    cfg = load_config(theirs(PHASE=phases, DATASET=data))
    assert (cfg.evaluation.protocol, cfg.train.eval_every) == (protocol, eval_every)
    assert line in caplog.text


def test_checkpoints_of_the_epochs_to_test_are_kept(caplog):
    caplog.set_level("INFO")
    assert load_config(theirs()).train.keep_last == 5  # 56 to 60
    assert "TEST_SCOPE [56, 60]: training keeps the checkpoints of its last 5 epochs" in caplog.text
    assert load_config(theirs(TEST={"TEST_SCOPE": [90, 100]})).train.keep_last == 1


def test_sets_of_voc_are_joined(caplog):
    caplog.set_level("INFO")
    cfg = load_config(theirs(MODEL={"NUM_CLASSES": 21}, DATASET=VOC))
    assert cfg.data.layout == {"train": ["voc_2007_trainval", "voc_2012_trainval"], "val": ["voc_2007_test"]}
    assert cfg.data.root == "data/VOCdevkit"
    assert cfg.postprocess.max_detections == 100 * 20  # of each class there
    assert "difficult" in caplog.text


def test_numbers_of_their_modules_become_rows():
    assert [row_of("vgg16", module) for module in (4, 22, 29, 34)] == [2, 12, 16, 19]
    assert [row_of("resnet50", module) for module in (10, 16)] == [8, 14]
    assert row_of("resnet101", 33) == 31
    assert row_of("darknet53", 23) == 23
    with pytest.raises(ValueError, match="a number of MODEL.FEATURE_LAYER for VGG16 must be one of .* got 21"):
        row_of("vgg16", 21)


def test_s2l2_5_takes_pool5_in_steps_of_three():
    layers = [22, 34, "S", "S", "", ""], [512, 1024, 512, 256, 256, 256]
    cfg = load_config(theirs(MODEL=network("ssd", "vgg16_S2L2_5", *layers)))
    assert cfg.model.backbone.strides == {"2": 1, "5": 1, "17": 3}


# counted on their models: parameters and multiply-accumulates at 300x300
@pytest.mark.parametrize(
    ("model", "parameters", "macs"),
    [
        (
            network("ssd", "resnet_101", [10, 33, "S", "S", "", ""], [512, 1024, 512, 256, 256, 256]),
            42_140_256,
            18_424_944_896,
        ),
        (
            network("rfb", "darknet_53", [23, 28, "RBF", "RBF", "S", "S"], [512, 1024, 512, 256, 256, 256]),
            62_859_648,
            15_737_356_288,
        ),
        (
            network(
                "fssd",
                "darknet_19",
                [[8, 12, 16], [256, 512, 1024]],
                [["", "S", "S", "S", "", ""], [512, 512, 256, 256, 256, 256]],
            ),
            41_747_520,
            19_890_568_192,
        ),
    ],
)
def test_parameters_and_costs_are_theirs(model, parameters, macs):
    steps = [[8, 8], [16, 16], [32, 32], [64, 64], [100, 100], [300, 300]]
    with torch.device("meta"):
        detector = build_detector(load_config(theirs(MODEL={**model, "STEPS": steps}))).eval()
    assert count_parameters(detector) == parameters
    assert sum(count_macs(detector, (300, 300)).values()) == macs
