"""Configs: defaults, files over bases, overrides, and errors that say what to do."""

from pathlib import Path

import pytest
import torch

import lib.config
from lib.build import build_detector, build_protocol, names_of_classes, num_classes, selection
from lib.build_data import describe_sizes
from lib.checkpoint import save_checkpoint
from lib.config import DEFAULTS, Maybe, dump_config, load_config
from lib.utils.yaml_files import read_yaml, value_at


def test_defaults_are_complete_and_reachable_by_attribute():
    cfg = load_config()
    assert cfg.train.optimizer.type == "sgd"
    assert cfg["input"]["size"] == [300, 300]
    assert cfg.model.dual_path is None
    assert set(cfg) == set(DEFAULTS)


def test_changing_a_config_leaves_the_defaults_alone():
    cfg = load_config()
    cfg.input.size.append(1)
    cfg.model.neck.taps[0] = 99
    assert load_config().input.size == [300, 300]
    assert load_config().model.neck.taps == [11, 13]


def test_base_files_overrides_and_types_merge(tmp_path):
    (tmp_path / "base.yml").write_text("train: {epochs: 7, optimizer: {type: sgd, lr: 0.5, momentum: 0.8}}\n")
    (tmp_path / "middle.yml").write_text("_base_: base.yml\ntrain: {optimizer: {lr: 1e-2}}\n")
    (tmp_path / "top.yml").write_text("_base_: middle.yml\nmodel: {backbone: {type: mobilenet_v1_S2L0_6}}\n")
    cfg = load_config(tmp_path / "top.yml", ["train.epochs=9", "model.backbone.width=0.5"])
    assert cfg.train.epochs == 9
    assert cfg.train.optimizer == {"type": "sgd", "lr": 0.01, "momentum": 0.8}
    assert cfg.model.backbone == {"type": "mobilenet_v1", "strides": {"0": 1, "6": 1}, "width": 0.5}
    other = load_config(tmp_path / "top.yml", ["train.optimizer={type: adamw, lr: 0.1}"])
    assert other.train.optimizer == {"type": "adamw", "lr": 0.1}  # nothing of sgd's is left


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(
    ("overrides", "part", "expected"),
    [
        (["train.optimizer.lr=0.01", "train.optimizer.type=adamw"], "train.optimizer", {"type": "adamw", "lr": 0.01}),
        (["train.schedule.every=8", "train.schedule.type=step"], "train.schedule", {"type": "step", "every": 8}),
        (["loss.gamma=1.5", "loss.type=focal"], "loss", {"type": "focal", "gamma": 1.5}),
        (["matcher.top_k=12", "matcher.type=atss"], "matcher", {"type": "atss", "top_k": 12}),
        (["model.backbone.strides.0=1", "model.backbone.strides.2=1"], "model.backbone.strides", {"0": 1, "2": 1}),
        (
            ["model.backbone.type=mobilenet_v1_S1L0", "model.backbone.strides.2=1"],
            "model.backbone",
            {"type": "mobilenet_v1", "strides": {"0": 1, "2": 1}},
        ),
        (
            ["evaluation.ranges.tiny=[0,256]", "evaluation.ranges.rest=[256,.inf]"],
            "evaluation.ranges",
            {"tiny": [0, 256], "rest": [256, float("inf")]},
        ),
    ],
)
def test_options_count_whether_the_type_is_given_before_or_after_them(overrides, part, expected, step):
    cfg = load_config({"train": {"optimizer": {"type": "sgd", "momentum": 0.8}}}, overrides[::step])
    assert value_at(cfg, part) == expected


def test_the_last_override_of_a_key_counts():
    cfg = load_config(overrides=["train.optimizer={type: adam, lr: 1.0}", "train.optimizer.lr=2.0", "run.seed=1"])
    assert cfg.train.optimizer == {"type": "adam", "lr": 2.0}
    other = ["train.optimizer={type: sgd, momentum: 0.8}", "train.optimizer={type: adamw}"]
    assert load_config(overrides=other).train.optimizer == {"type": "adamw"}
    assert load_config(overrides=other[::-1]).train.optimizer == {"type": "sgd", "momentum": 0.8}
    again = ["train.optimizer={type: sgd}", "train.optimizer.lr=1.0", "train.optimizer={type: sgd, lr: 2.0}"]
    assert load_config(overrides=again).train.optimizer == {"type": "sgd", "lr": 2.0}
    assert load_config(overrides=["model.dual_path.split=2", "model.dual_path=null"]).model.dual_path is None
    assert load_config(overrides=["model.dual_path=null", "model.dual_path.split=2"]).model.dual_path == {"split": 2}


def test_a_tilde_is_the_users_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "a.yml").write_text(
        "run: {dir: ~/runs}\ndata: {root: ~/coco, val: {images: ~/val}}\nmodel: {weights: runs/~/x.pth}\n"
    )
    cfg = load_config(tmp_path / "a.yml", ["data.train.images=~/data", "data.train.annotations=~/data/train.json"])
    assert (cfg.run.dir, cfg.data.root, cfg.data.val.images) == ("/home/me/runs", "/home/me/coco", "/home/me/val")
    assert cfg.data.train == {"images": "/home/me/data", "annotations": "/home/me/data/train.json"}
    assert cfg.model.weights == "runs/~/x.pth"
    assert load_config(overrides=["model.weights=~/x.pth"]).model.weights == "/home/me/x.pth"


def test_a_number_for_a_key_of_a_text_stays_as_it_is_typed():
    for typed in ("2024", "007", "1e5", "1.50", "true"):
        assert load_config(overrides=[f"run.name={typed}"]).run.name == typed
    assert load_config(overrides=["model.weights_sha256=57934424"]).model.weights_sha256 == "57934424"
    assert load_config(overrides=["run.name=null"]).run.name is None
    with pytest.raises(TypeError, match="run.name must be .*; got 2024: write it in quotes, such as '2024'"):
        load_config({"run": {"name": 2024}})


def test_keys_of_older_files_keep_working(tmp_path):
    (tmp_path / "old.yml").write_text("model: {priors: {clip_centres: false}}\n")
    assert load_config(tmp_path / "old.yml").model.priors.clip_centers is False
    (tmp_path / "new.yml").write_text("_base_: old.yml\nmodel: {priors: {clip_centers: true}}\n")
    cfg = load_config(tmp_path / "new.yml")
    assert cfg.model.priors.clip_centers is True
    assert "clip_centres" not in cfg.model.priors
    assert load_config(overrides=["model.priors.clip_centres=false"]).model.priors.clip_centers is False
    assert load_config({"model": {"priors": {"clip_centres": False}}}).model.priors.clip_centers is False


def test_strides_are_replaced_not_merged():
    for given in ("model.backbone.strides={5: 1}", "model.backbone.strides.5=1"):
        cfg = load_config({"model": {"backbone": {"type": "vgg16_S1L2"}}}, [given])
        assert cfg.model.backbone.strides == {"5": 1}


def test_strides_beside_a_name_of_taken_out_strides_are_added_to_them():
    cfg = load_config({"model": {"backbone": {"type": "vgg16_S1L2", "strides": {5: 1}}}})
    assert cfg.model.backbone == {"type": "vgg16", "strides": {"2": 1, "5": 1}}
    with pytest.raises(TypeError, match=r"model.backbone.strides must say row: stride, .*got \[5\]"):
        build_detector(load_config({"model": {"backbone": {"type": "vgg16_S1L2", "strides": [5]}}}))


def test_dumped_config_loads_to_the_same_config(tmp_path):
    cfg = load_config(
        {"evaluation": {"ranges": {"tiny": [0, 64], "rest": [64, float("inf")]}}}, ["model.backbone.type=vgg16_S1L2"]
    )
    (tmp_path / "dump.yml").write_text(dump_config(cfg))
    assert load_config(tmp_path / "dump.yml") == cfg


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", r"got train.epoch \(did you mean 'epochs'\?\)"),
        ("trian.epochs=3", r"got trian \(did you mean 'train'\?\)"),
        ("train.epochs=three", "train.epochs must be a number; got 'three'"),
        ("train.batch_size=2.5", "train.batch_size must be a whole number; got 2.5"),
        ("train.epochs=true", "train.epochs must be a number; got True"),
        (
            "train.rates={backbone: '12'}",
            r"train.rates must be a mapping \(key: value\) of numbers or null; got {'backbone': '12'}",
        ),
        ("input.resize=strech", r"input.resize must be one of .*\(did you mean 'stretch'\?\)"),
        ("input.test_resize=nativ", r"input.test_resize must be one of .*\(did you mean 'native'\?\)"),
        ("input.channels=RGB", r"input.channels must be one of bgr, rgb; got 'RGB'"),
        ("input.channels={type: rgb}", "input.channels must be one of bgr, rgb; got {'type': 'rgb'}"),
        ("train=3", "train must hold the keys epochs, batch_size"),
        ("model.backbone.type=vgg61", r"model.backbone.type must be one of .*got 'vgg61' \(did you mean 'vgg16'\?\)"),
        ("model.backbone.widht=0.5", r"got model.backbone.widht \(did you mean 'width'\?\)"),
        ("model.backbone.width=wide", "model.backbone.width must be a number; got 'wide'"),
        ("model.backbone.type=mobilenet_v1_S2L0", "S2 must be followed by L and 2 rows; got 'mobilenet_v1_S2L0'"),
        ("train.optimizer.momentun=1", r"got train.optimizer.momentun \(did you mean 'momentum'\?\)"),
        ("train.schedule={type: cosine, milestones: [3]}", "got train.schedule.milestones"),
        ("loss=multibox", "loss must be a mapping with a type"),
        ("input.depth=deep", r"input.depth must be full, percentile, or two numbers \[low, high\].*got 'deep'"),
        ("input.depth=[4, 4]", r"input.depth must be .* with low < high; got \[4, 4\]"),
        ("input.bands=[0, 1, 2]", r"input.bands must be three numbers of bands, from 1, .*got \[0, 1, 2\]"),
        ("data.augment=3", "data.augment must be the name of a preset or a list of transforms; got 3"),
        ("data.augment=sdd", r"data.augment must be one of .*got 'sdd' \(did you mean 'ssd'\?\)"),
        ("data.augment=[{type: flip, q: 1}]", r"got data.augment\[0\].q"),
        ("train.optimizer={type: adam, betas: [0.9]}", "train.optimizer.betas must be"),
        ("epochs", "an override must read key=value, such as train.epochs=10; got 'epochs'"),
        ("train.epochs=[1", "the value of train.epochs must be YAML"),
    ],
)
def test_bad_override_is_named(override, message):
    with pytest.raises((ValueError, TypeError), match=message):
        load_config({"model": {"backbone": {"type": "mobilenet_v1"}}}, [override])


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("train.epochs=0", "greater than 0"),
        ("train.epochs=-0.5", "greater than 0"),
        ("train.time_limit_s=0", "greater than 0"),
        ("train.clip_norm=0", "greater than 0"),
        ("model.norm.eps=0", "greater than 0"),
        ("model.norm.momentum=1.1", "in 0 .. 1"),
        ("postprocess.score_threshold=-0.1", "in 0 .. 1"),
        ("train.patience=0", "at least 1"),
        ("evaluation.batch_size=0", "at least 1"),
        ("train.eval_every=-1", r"0 or more and below 2\*\*31"),
        ("train.keep_last=-1", r"0 or more and below 2\*\*31"),
        ("train.save_every_steps=-1", r"0 or more and below 2\*\*31"),
        ("train.log_every=-1", r"0 or more and below 2\*\*31"),
    ],
)
def test_a_value_out_of_its_range_is_refused_when_the_config_is_read(override, rule):
    key, value = override.split("=")
    with pytest.raises(ValueError, match=f"^{key} must be {rule}; got {value}$"):
        load_config(overrides=[override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epochs: 1, epochs: 2}", "key 'epochs' is given twice"),
        ("train: [", "must be YAML"),
        ("- 1\n- 2", "must hold keys and values; got list"),
        ("_base_: self.yml", "must not lead back to itself"),
        ("_base_: 3", "_base_ must be the path of a YAML file; got 3"),
        ("run: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_bad_file_is_named(tmp_path, text, message):
    (tmp_path / "self.yml").write_text(text)
    with pytest.raises((ValueError, TypeError), match=message):
        load_config(tmp_path / "self.yml")
    (tmp_path / "self.yml").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match="self.yml must be YAML in UTF-8"):
        load_config(tmp_path / "self.yml")


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a YAML file; got .*, which is a folder: name a file in it"):
        load_config(tmp_path)


def test_missing_file_suggests_a_neighbor(tmp_path):
    (tmp_path / "S1L0.yml").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"S1LO.yml, which does not exist \(did you mean 'S1L0.yml'\?\)"):
        load_config(tmp_path / "S1LO.yml")


def test_numbers_in_scientific_notation_are_numbers():
    assert read_yaml("{a: 1e-3, b: 5E2, c: 1e, d: '1e3', e: -2.5e1}", "text") == {
        "e": -25.0,
        "a": 0.001,
        "b": 500.0,
        "c": "1e",
        "d": "1e3",
    }


def test_every_default_has_a_comment():
    source = Path(lib.config.__file__).read_text()
    block = source[source.index("DEFAULTS:") : source.index("\n}\n")]
    lines = [line.strip() for line in block.splitlines()]
    keys = [row for row, line in enumerate(lines) if line.startswith('"') and not line.endswith("{")]
    assert len(keys) > 50
    assert [lines[row] for row in keys if "#" not in lines[row] and not lines[row - 1].startswith("#")] == []


def test_none_is_allowed_only_where_declared():
    assert isinstance(DEFAULTS["model"]["weights"], Maybe)
    assert load_config(overrides=["model.weights=null"]).model.weights is None
    with pytest.raises(TypeError, match="train.epochs must be a number; got None"):
        load_config(overrides=["train.epochs=null"])


def test_number_of_classes_follows_the_data(tmp_path):
    assert num_classes(load_config()) == 81
    assert num_classes(load_config(overrides=["data.layout=voc0712"])) == 21
    assert num_classes(load_config(overrides=["data.classes=[car]"])) == 2
    images, categories = ('[{"id": 1, "file_name": "a.jpg"}]', '[{"id": 1, "name": "a"}, {"id": 7, "name": "b"}]')
    (tmp_path / "a.json").write_text(f'{{"images": {images}, "annotations": [], "categories": {categories}}}')
    assert num_classes(load_config(overrides=[f"data.train.annotations={tmp_path / 'a.json'}"])) == 3
    with pytest.raises(
        ValueError, match="model.num_classes must be 2 .the 1 classes of the data, plus background.; got 81"
    ):
        num_classes(load_config(overrides=["data.classes=[car]", "model.num_classes=81"]))
    with pytest.raises(ValueError, match="must be 2 or more"):
        num_classes(load_config(overrides=["model.num_classes=1"]))


def test_names_of_classes_are_those_of_the_data_or_told_by_their_number():
    assert names_of_classes(load_config(overrides=["data.classes=[car, bus]"])) == ["car", "bus"]
    assert names_of_classes(load_config(overrides=["model.num_classes=3"])) == ["class 1", "class 2"]
    assert names_of_classes(load_config())[79] == "toothbrush"


SMALL = {"model": {"backbone": {"type": "mobilenet_v1", "width": 0.25}, "num_classes": 3}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("input.size=[300]", r"input.size must be \[height, width\]"),
        ("input.size=[300, -1]", r"input.size must be \[height, width\]"),
        ("model.neck.taps=[11, 77]", "must be rows of mobilenet_v1, 0 to 13; got 77"),
        ("model.neck.taps=[11, last]", "must be rows such as 11 or coarse.13; got 'last'"),
        ("model.neck.taps=[11, coarse.13]", "needs model.dual_path, which is null"),
        ("model.priors={sizes: [10, 20], ratios: [2]}", "priors.sizes must have 7 entries for 6 maps, .* got 2"),
        ("model.priors.boxes=[[[9, 9]]]", "priors.boxes must have 6 entries for 6 maps, one per map; got 1"),
        ("model.priors.fit=date", r"model.priors.fit must be one of data; got 'date' \(did you mean 'data'\?\)"),
        ("model.head.type=sdd", r"model.head.type must be one of .*\(did you mean 'ssd'\?\)"),
        ("model.head.predictor=deep", "model.head.predictor must be one of dense, separable"),
        ("model.dual_path={spilt: 0}", r"got model.dual_path.spilt \(did you mean 'split'\?\)"),
        ("model.dual_path={pool: mean}", "model.dual_path.pool must be"),
    ],
)
def test_impossible_model_is_refused_with_its_key(override, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build_detector(load_config(SMALL, [override]))


FOUR_LEVELS = ["model.neck={taps: [11, 13], extras: [[64, 2], [64, 2]]}"]


@pytest.mark.parametrize(
    ("override", "counts"),
    [
        ("model.priors.boxes=[[[9, 9]], [[9, 20], [20, 9]], [[40, 40]], [[80, 80]]]", [1, 2, 1, 1]),
        ("model.priors.fit=data", [2, 2, 2, 2]),
        ("model.priors={fit: data, boxes: [[[9, 9]], [[9, 20], [20, 9]], [[40, 40]], [[80, 80]]]}", [1, 2, 1, 1]),
    ],
)
def test_given_and_fitted_boxes_need_no_sizes_and_ratios(override, counts):
    detector = build_detector(load_config(SMALL, [*FOUR_LEVELS, override]))
    assert detector.priors.boxes_per_cell == counts


def test_input_too_small_for_the_pyramid_is_refused():
    cfg = load_config(
        SMALL, ["input.size=[64, 64]", "model.neck.extras=[[64, 2, 0], [64, 2, 0], [64, 2, 0], [64, 2, 0]]"]
    )
    with pytest.raises(ValueError, match="input.size must leave a map for each level; got .64, 64., too small"):
        build_detector(cfg)


def test_names_of_classes_are_texts_and_others_are_explained():
    assert load_config(overrides=["data.classes=[no, yes, on]"]).data.classes == ["no", "yes", "on"]
    assert load_config(overrides=["run.seed=012"]).run.seed == 12
    for override, message in (
        (
            "data.classes=[car, 7]",
            "data.classes must be a list of strings; got 7 in it: write it in quotes, such as '7'",
        ),
        ("train.compile=yes", "train.compile must be true or false; got 'yes': write true or false"),
        ("model.backbone.strides={2:1}", r"write \{2: 1\}, with a space after the colon"),
        ("input.mean=[1, x, 2]", "input.mean must be a list of numbers; got 'x' in it"),
        ("model.backbone.width=.inf", "model.backbone.width must be a finite number; got inf"),
        ("matcher.type={1: 2}", "matcher.type must be one of"),
        ("model.neck.taps=[null]", "model.neck.taps must be"),
        ("a\nb=1", r"an override must read key=value, such as train.epochs=10; got 'a\\nb=1'"),
    ):
        with pytest.raises((ValueError, TypeError), match=message) as raised:
            build_detector(load_config(overrides=[override]))
        assert "\n" not in str(raised.value)


def test_paths_of_a_file_count_from_it_if_they_exist_there(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    save_checkpoint(tmp_path / "configs" / "start.pth", {"model": {}})
    (tmp_path / "images").mkdir()
    (tmp_path / "configs" / "base.yml").write_text(
        "model: {weights: start.pth}\ndata: {train: {images: ../images, annotations: nowhere.json}}\n"
    )
    (tmp_path / "top.yml").write_text("_base_: configs/base.yml\n")
    monkeypatch.chdir("/")
    cfg = load_config(tmp_path / "top.yml")
    assert cfg.model.weights == str(tmp_path / "configs" / "start.pth")
    assert cfg.data.train == {"images": str(tmp_path / "images"), "annotations": "nowhere.json"}
    assert load_config(tmp_path / "top.yml", ["model.weights=start.pth"]).model.weights == "start.pth"
    experiment = Path(__file__).resolve().parents[1] / "experiments" / "synthetic" / "plain.yml"
    assert load_config(experiment).model.weights == str(experiment.with_name("plain.pth"))


def test_cap_of_detections_follows_the_evaluation(caplog):
    for overrides, cap, candidates in (
        ([], 100, 400),
        (["evaluation.protocol=aitod"], 1500, 1500),
        (["evaluation.protocol=voc07"], 200, 400),
        (["evaluation.max_detections=[1, 700]"], 700, 700),
        (["evaluation.protocol=aitod", "postprocess.max_detections=300"], 300, 400),
    ):
        cfg = load_config(overrides=overrides)
        assert selection(cfg)[2:4] == (candidates, cap)
        caplog.clear()
        build_protocol(cfg)
        text = "max_detections=300 is below the 1500 detections of each class in an image that aitod counts"
        assert (text in caplog.text) is (cap == 300)
        assert "max_candidates" not in caplog.text


@pytest.mark.parametrize(("protocol", "limit"), [("coco", 0), ("visdrone", 500), ("aitod", 1500), ("voc07", 0)])
def test_candidates_below_the_limit_of_the_evaluation_are_named(caplog, protocol, limit):
    build_protocol(load_config({}, ["postprocess.max_candidates=300", f"evaluation.protocol={protocol}"]))
    of = "an image that visdrone" if protocol == "visdrone" else f"each class in an image that {protocol}"
    text = f"max_candidates=300 is below the {limit} detections of {of} counts"
    assert (f"{text}, which lowers recall in dense images: choose postprocess.max_candidates=null" in caplog.text) is (
        limit > 0
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v1/S1L0_dual", (1000, 8000)),
        ("vgg16/plain", (1000, 8000)),
        ("darknet/19", (1000, 8000)),
        ("vgg16/torchvision300", (400, 200)),
        ("mobilenet_v3/torchvision320", (300, 300)),
        ("light/small", (300, 100)),
    ],
)
def test_experiments_of_the_bmvc_work_keep_100_detections_of_each_class(name, expected):
    experiment = Path(__file__).resolve().parents[1] / "experiments" / f"{name}.yml"
    assert selection(load_config(experiment))[2:4] == expected


def test_a_value_that_yaml_cannot_hold_is_refused_before_it_is_used():
    config = {"model": {"neck": {"type": "extras"}, "head": {"type": torch.zeros(3)}}}
    with pytest.raises(TypeError, match="model.head.type must be a plain value; got Tensor"):
        load_config(config)


@pytest.mark.parametrize(("augment", "name"), [("crops", "crops"), ("[{type: flip}, {type: turn}]", "2 steps")])
def test_sizes_in_the_log_are_those_after_augmentation(augment, name):
    sizes = ["input.size=[320, 256]", "input.test_size=[1280, 960]", "input.test_resize=native"]
    assert describe_sizes(load_config({}, [*sizes, f"data.augment={augment}"])) == (
        f"images (height x width): in training stretched to 320x256, after augmentation ({name}); in testing at their "
        "own size, up to 1280x960"
    )
