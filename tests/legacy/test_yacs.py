"""The files of lufficc's SSD and of its fork build what their code builds, and train as they say."""

import copy
from pathlib import Path

import pytest
import torch
from golden_models import FILES as GOLDEN
from golden_models import assert_size

from lib.build import build_detector, build_schedule
from lib.build_data import input_size
from lib.config import load_config
from lib.models.cost import cost_of
from lib.models.pretrained import implied_config, warn_of_other_input
from tests.legacy.yacs_files import FILES

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
VGG = FILES["vgg_ssd300_voc0712"]


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    monkeypatch.delenv("VOC_ROOT", raising=False)
    monkeypatch.delenv("COCO_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def changed(mapping: dict, **values) -> dict:
    """The mapping with other values, by keys such as ``MODEL__NUM_CLASSES``."""
    result = copy.deepcopy(mapping)
    for name, value in values.items():
        *sections, key = name.split("__")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return result


@pytest.mark.parametrize("name", sorted(FILES.keys() & GOLDEN.keys()))
def test_their_file_builds_the_detector_that_computes_what_theirs_does(name):
    """That of the experiment which test_convert_weights.py runs with their weights; its classes come from its data."""
    golden, cfg = GOLDEN[name], load_config(FILES[name])
    experiment = load_config(EXPERIMENTS / f"{golden['experiment']}.yml")
    assert changed(cfg.model, num_classes=None) == experiment.model
    assert input_size(cfg) == input_size(experiment)
    with torch.device("meta"):
        model = build_detector(cfg)
    assert_size(golden, model, input_size(cfg))


FORK_VOC = changed(
    FILES["mobilenet_v2_ssd320_voc0712"],
    MODEL__BOX_HEAD__LOSS="MultiBoxLoss",
    MODEL__PRIORS__MIN_SIZES=[45, 90, 135, 180, 225, 270],
    MODEL__PRIORS__MAX_SIZES=[120, 180, 220, 260, 300, 320],
    SOLVER__BATCH_SIZE=24,
    SOLVER__MAX_ITER=240000,
)
FPN = changed(
    FILES["mobilenet_v2_ssd320_coco"],
    MODEL__BACKBONE__OUT_CHANNELS="(128, 128, 128, 128, 128)",
    MODEL__PRIORS={
        "FEATURE_MAPS": [40, 20, 10, 5, 3],
        "STRIDES": [8, 16, 32, 64, 128],
        "MIN_SIZES": [45, 90, 135, 180, 270],
        "MAX_SIZES": [90, 135, 180, 270, 315],
        "ASPECT_RATIOS": [[2, 3]] * 5,
        "BOXES_PER_LOCATION": [6] * 5,
    },
)


@pytest.mark.parametrize(
    ("mapping", "parameters", "priors"),
    [
        (FILES["mobilenet_v2_ssd320_voc0712"], 3_304_708, 3_234),
        (FILES["mobilenet_v3_ssd320_voc0712"], 3_860_436, 3_234),
        (FORK_VOC, 3_425_988, 3_234),
        (FPN, 2_919_542, 12_804),  # the parameters are ours: no code of theirs has an FPN
    ],
)
def test_files_without_a_golden_forward_have_their_parameters_and_priors(mapping, parameters, priors):
    cfg = load_config(mapping)
    with torch.device("meta"):
        cost = cost_of(build_detector(cfg), input_size(cfg))
    assert (cost.parameters, cost.num_priors) == (parameters, priors)


def test_squares_that_do_not_end_where_the_next_level_begins_become_boxes():
    boxes = load_config(FORK_VOC).model.priors.boxes
    sides = [round(side, 3) for box in boxes[0] for side in box]
    assert sides == [45, 45, 73.485, 73.485, 63.64, 31.82, 31.82, 63.64, 77.942, 25.981, 25.981, 77.942]
    assert load_config(VGG).model.priors.sizes == [30, 60, 111, 162, 213, 264, 315]


def test_recipe_becomes_epochs_of_the_published_data(caplog):
    caplog.set_level("INFO")
    cfg = load_config(VGG)
    assert cfg.data.layout == {"train": ["voc_2007_trainval", "voc_2012_trainval"], "val": ["voc_2007_test"]}
    assert (cfg.train.epochs, cfg.train.batch_size) == (232, 32)
    assert cfg.train.schedule == {"type": "step", "milestones": [154.673, 193.342], "gamma": 0.1}
    assert (cfg.train.warmup_epochs, cfg.train.warmup_start) == (0.967, 1 / 3)
    assert cfg.train.optimizer == {"type": "sgd", "lr": 0.001, "momentum": 0.9, "weight_decay": 0.0005}
    assert (cfg.input.mean, cfg.input.std, cfg.input.channels) == ([123, 117, 104], [1, 1, 1], "rgb")
    assert (cfg.evaluation.protocol, cfg.run.dir, cfg.run.name) == ("voc07", "outputs", "mine")
    assert (cfg.postprocess.score_threshold, cfg.postprocess.iou_threshold) == (0.01, 0.45)
    assert "120000 iterations of 32 images are 232 epochs of the 16551 images of voc_2007_trainval, " in caplog.text
    assert "as published" in caplog.text


def test_the_fork_trains_on_eight_gpus_with_cosine_and_focal_loss(caplog):
    caplog.set_level("INFO")
    cfg = load_config(FILES["mobilenext_ssd320_coco"])
    assert (cfg.train.batch_size, cfg.train.optimizer.lr, cfg.train.norm) == (256, 0.08, "sync")
    assert (cfg.train.epochs, cfg.train.schedule, cfg.train.warmup_epochs) == (433, {"type": "cosine"}, 1.082)
    assert cfg.loss == {"type": "focal", "alpha": 0.25, "gamma": 2.0, "cls_weight": 5.0}
    assert (cfg.model.head.initial_score, cfg.model.weights_classes) == (0.01, "shifted")
    assert cfg.input.std == [58.395, 57.12, 57.375]
    assert "made for 8 GPUs of 32 images each: train.batch_size=256, lr=0.08" in caplog.text
    assert "SOLVER.LR_STEPS and SOLVER.GAMMA are not used" in caplog.text


def test_the_fork_warms_up_and_steps_where_its_four_gpus_do():
    cfg = load_config(FORK_VOC)
    factor = build_schedule(cfg)
    iteration = 96 / 16551  # in epochs; four GPUs do 60,000 iterations
    assert factor(0) == pytest.approx(1 / 3)
    assert factor(250 * iteration) == pytest.approx(2 / 3, abs=1e-3)
    assert factor(501 * iteration) == 1
    assert [factor(k * iteration) for k in (19_990, 20_010)] == pytest.approx([1, 0.1])  # 80,000 / 4


def test_images_are_counted_where_they_are(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    for year, count in ((2007, 5), (2012, 3)):
        folder = tmp_path / "elsewhere" / f"VOC{year}"
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / name).mkdir(parents=True)
        (folder / "ImageSets/Main/trainval.txt").write_text("".join(f"{i:06}\n" for i in range(count)))
    mapping = changed(VGG, SOLVER__MAX_ITER=10, SOLVER__BATCH_SIZE=4)
    assert load_config(mapping).train.epochs == 1  # of the published data
    given = load_config(mapping, [f"data.root={tmp_path}/elsewhere"])
    monkeypatch.setenv("VOC_ROOT", str(tmp_path / "elsewhere"))
    told = load_config(mapping)
    (tmp_path / "datasets").symlink_to(tmp_path / "elsewhere")
    monkeypatch.delenv("VOC_ROOT")
    usual = load_config(mapping)
    assert [cfg.train.epochs for cfg in (given, told, usual)] == [5, 5, 5]  # 10 * 4 / 8
    assert usual.data.root == "datasets"
    assert "are 5 epochs of the 8 images" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MODEL__NUM_CLASES": 21}, r"MODEL of .* must hold .*; got NUM_CLASES \(did you mean 'NUM_CLASSES'\?\)"),
        ({"SOLVR__LR": 1.0}, r"a config of lufficc's SSD .* must hold .*; got SOLVR \(did you mean 'SOLVER'\?\)"),
        ({"SOLVER__LR": "much"}, "SOLVER.LR of .* must be a number; got 'much'"),
        ({"SOLVER": 5}, "SOLVER of .* must be a mapping; got 5"),
        ({"SOLVER__BATCH_SIZE": 0}, "SOLVER must have BATCH_SIZE and MAX_ITER of 1 or more; got 0"),
        ({"SOLVER__LR_SCHEDULE": "Poly"}, "SOLVER.LR_SCHEDULE must be one of WarmupMultiStepLR, WarmupCosLR"),
        ({"MODEL__BACKBONE__NAME": "resnet"}, "MODEL.BACKBONE.NAME must be one of vgg, mobilenet_v2"),
        ({"MODEL__BACKBONE__OUT_CHANNELS": "(1, 2, 3, 4, 5, 6)"}, r"OUT_CHANNELS must be \(512, 1024, .*the channels"),
        ({"INPUT__IMAGE_SIZE": 400}, "INPUT.IMAGE_SIZE of vgg must be one of 300, 512; got 400"),
        ({"MODEL__PRIORS__STRIDES": [8]}, r"MODEL.PRIORS.STRIDES must have 6 entries, .*; got \[8\]"),
        ({"MODEL__PRIORS__BOXES_PER_LOCATION": [4] * 6}, r"BOXES_PER_LOCATION must be \[4, 6, 6, 6, 4, 4\]"),
        ({"MODEL__PRIORS__MIN_SIZES": [0, 1, 2, 3, 4, 5]}, "MODEL.PRIORS must have sizes and aspect ratios above 0"),
        ({"DATASETS__TRAIN": ["voc_2010_train"]}, "DATASETS.TRAIN must be one of .*; got 'voc_2010_train'"),
        ({"DATASETS__TRAIN": "(voc"}, "DATASETS.TRAIN of .* must be"),
        ({"MODEL__BOX_HEAD__LOSS": "L2"}, "MODEL.BOX_HEAD.LOSS must be one of MultiBoxLoss, FocalLoss"),
        ({"MODEL__META_ARCHITECTURE": "YOLO"}, "MODEL.META_ARCHITECTURE must be one of SSDDetector"),
    ],
)
def test_what_their_code_would_not_take_is_named(values, message):
    with pytest.raises((ValueError, TypeError), match=message):
        load_config(changed(VGG, **values))


def test_pretrained_of_their_file_says_what_to_give(caplog):
    caplog.set_level("INFO")
    load_config(VGG)
    assert "random weights, unless model.weights=imagenet is given" in caplog.text
    given = ["model.weights=imagenet", "input.std=[58.395,57.12,57.375]"]
    assert load_config(VGG, given).input.std == [58.395, 57.12, 57.375]
    warn_of_other_input("the ImageNet weights", implied_config("vgg16"), load_config(VGG, given[:1]))
    assert "expect input.mean [123.675, 116.28, 103.53], input.std [58.395, 57.12, 57.375]" in caplog.text


def test_keys_without_counterpart_are_in_the_log(caplog):
    caplog.set_level("INFO")
    load_config(changed(VGG, TEST__MAX_PER_CLASS=-1, DATA_LOADER={"PIN_MEMORY": True, "NUM_WORKERS": 3}))
    for name in ("TEST.MAX_PER_CLASS", "DATA_LOADER.PIN_MEMORY"):
        assert f"{name} has no counterpart and is not used" in caplog.text
    assert load_config(changed(VGG, DATA_LOADER={"NUM_WORKERS": 3})).data.workers == 3
