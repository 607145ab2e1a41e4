"""tools/convert_weights.py: other repositories' checkpoints compute what they computed there, or are refused."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from golden_models import FILES, assert_computes, formula_weights
from torch import nn

from lib.build import build_detector
from lib.build_data import input_size
from lib.checkpoint import load_weights, read_run, save_checkpoint
from lib.config import load_config
from lib.legacy import translate_weights
from lib.legacy.classes import COCO, COCO_IDS, VOC
from lib.utils.command_line import readable_errors
from tools import convert_weights as tool

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [name for name, golden in FILES.items() if "experiment" in golden]

TINY = {
    "input": {"size": [64, 96]},
    "model": {
        "num_classes": 21,
        "backbone": {"type": "mobilenet_v1", "width": 0.25},
        "neck": {"extras": [[32, 2]], "l2norm": False},
        "priors": {"sizes": [10, 20, 40, 80], "ratios": [2]},
    },
}


def tiny(num_classes: int = 21):
    torch.manual_seed(num_classes)
    return build_detector(load_config({**TINY, "model": {**TINY["model"], "num_classes": num_classes}}))


def bmvc_names(model: nn.Module) -> dict[str, torch.Tensor]:
    """A checkpoint of the BMVC code of the same model."""
    parts = {"backbone.layers.": "base.", "neck.extras.": "extras.", "head.box.": "loc.", "head.cls.": "conf."}
    renamed = {}
    for name, tensor in model.state_dict().items():
        ours = next(part for part in parts if name.startswith(part))
        renamed[parts[ours] + name.removeprefix(ours)] = tensor
    return renamed


@pytest.mark.parametrize("name", OTHERS)
def test_converted_checkpoint_computes_what_it_computed_there(name, tmp_path):
    golden = FILES[name]
    source, out = tmp_path / "source.pth", tmp_path / "out.pth"
    torch.save({"model": formula_weights(golden["state_dict"]), "optimizer": {"lr": 1.0}}, source)
    experiment = f"{ROOT}/experiments/{golden['experiment']}.yml"
    tool.main([str(source), f"--cfg={experiment}", f"--out={out}", "--classes=same"])
    run = read_run(out)
    cfg = load_config(run["config"])
    model = build_detector(cfg).eval()
    model.load_state_dict(run["model"])
    assert_computes(golden, model, input_size(cfg))


def test_priors_of_torchvision_keep_their_centres_on_inputs_that_are_not_square():
    cfg = load_config(ROOT / "experiments/mobilenet_v3/torchvision320.yml", ["input.size=[96, 160]"])
    with torch.device("meta"):
        model = build_detector(cfg)
    priors = model.priors([(6, 10), (3, 5), (2, 3), (1, 2), (1, 1), (1, 1)], (96, 160))
    torch.testing.assert_close((priors[:6, :2] + priors[:6, 2:]) / 2, torch.full((6, 2), 8.0))
    assert ((priors[:, 2:] - priors[:, :2]) <= torch.tensor([160.0, 96.0]) + 1e-3).all()


def test_a_fully_connected_layer_is_a_one_by_one_convolution():
    theirs = bmvc_names(tiny())
    theirs["base.3.pointwise.conv.weight"] = theirs["base.3.pointwise.conv.weight"].flatten(1)
    assert translate_weights(theirs, tiny())["backbone.layers.3.pointwise.conv.weight"].dim() == 4


def test_checkpoints_from_before_batch_counters_load():
    theirs = {name: x for name, x in bmvc_names(tiny()).items() if not name.endswith("num_batches_tracked")}
    translated = translate_weights(theirs, tiny())
    assert translated.keys() == tiny().state_dict().keys()


# classifier -> (names of its backbone's modules in order, those of the rest)
CLASSIFIERS = {
    "torchvision": ("features.{}.weight", "classifier.1.weight"),
    "timm": ("blocks.{}.weight", "classifier.weight"),
    "mobilenet_v1": ("model.{}.weight", "fc.weight"),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_gives_the_backbone_and_leaves_the_rest(kind, caplog):
    caplog.set_level("INFO")
    pattern, rest = CLASSIFIERS[kind]
    model = tiny()
    theirs, module, before = {}, -1, None
    for name, tensor in model.backbone.state_dict().items():
        owner, attribute = name.rsplit(".", 1)
        module, before = module + (owner != before), owner
        theirs[pattern.format(module).replace("weight", attribute)] = tensor + 1
    if kind == "timm":
        theirs = {name.replace("blocks.0.", "conv_stem."): tensor for name, tensor in theirs.items()}
    past = pattern.format(999)
    translated = translate_weights({**theirs, past: torch.zeros(3), rest: torch.zeros(1000, 3)}, model)
    assert translated.keys() == {f"backbone.{name}" for name in model.backbone.state_dict()}
    assert all(torch.equal(x, model.state_dict()[name] + 1) for name, x in translated.items())
    assert f"because the neck reads no later row: {past}" in caplog.text


def test_vggs_fully_connected_layers_become_convolutions():
    cfg = load_config(ROOT / "experiments/vgg16/plain.yml")
    with torch.device("meta"):
        model = build_detector(cfg)
        convs = {name: x for name, x in model.backbone.state_dict().items() if int(name.split(".")[1]) < 17}
    theirs = {f"features.{name.removeprefix('layers.').replace('conv.', '')}": x for name, x in convs.items()}
    first = torch.arange(4096.0)[:, None] * 100 + torch.arange(49).repeat(512)[None]
    theirs |= {"classifier.0.weight": first, "classifier.0.bias": torch.arange(4096.0)}
    theirs |= {"classifier.3.weight": torch.arange(4096.0).repeat(4096, 1), "classifier.3.bias": torch.zeros(4096)}
    translated = translate_weights(theirs, model)
    assert translated["backbone.layers.18.conv.weight"][1, 5].tolist() == [
        [400.0, 403, 406],
        [421, 424, 427],
        [442, 445, 448],
    ]
    assert translated["backbone.layers.18.conv.bias"][:3].tolist() == [0, 4, 8]
    assert translated["backbone.layers.19.conv.weight"][7, :3, 0, 0].tolist() == [0, 4, 8]


def class_rows(model: nn.Module) -> torch.Tensor:
    """The class predictor of the first level: (boxes, K, ...)."""
    return model.head.cls[0].weight.detach().unflatten(0, (-1, model.head.num_classes))


def converted(source: nn.Module, target: nn.Module, tmp_path: Path, classes: str, **options) -> torch.Tensor:
    torch.save(bmvc_names(source), tmp_path / "theirs.pth")
    load_weights(target, tmp_path / "theirs.pth", classes=classes, **options)
    return class_rows(target)


@pytest.mark.parametrize("counts", [(91, 81), (91, 80), (81, 80)])
def test_rows_are_taken_over_by_class_name(counts, tmp_path):
    theirs, ours = tiny(counts[0]), tiny(counts[1])
    names = COCO if counts[1] == 81 else COCO[:79]
    rows = converted(theirs, ours, tmp_path, "by_name", names=names)
    toothbrush, dog = COCO.index("hair drier") + 1, COCO.index("dog") + 1
    their_dog = COCO_IDS.index("dog") + 1 if counts[0] == 91 else dog
    their_drier = COCO_IDS.index("hair drier") + 1 if counts[0] == 91 else toothbrush
    assert torch.equal(rows[:, dog], class_rows(theirs)[:, their_dog])
    assert torch.equal(rows[:, toothbrush], class_rows(theirs)[:, their_drier])
    assert torch.equal(rows[:, 0], class_rows(theirs)[:, 0])  # background


def test_rows_of_classes_that_are_new_stay_as_they_were(tmp_path):
    theirs, ours = tiny(81), tiny(3)
    before = class_rows(ours).clone()
    rows = converted(theirs, ours, tmp_path, "by_name", names=["TVmonitor", "gargoyle"])
    assert torch.equal(rows[:, 1], class_rows(theirs)[:, COCO.index("tv") + 1])  # VOC's name of it
    assert torch.equal(rows[:, 2], before[:, 2])


def test_shifted_columns_move_by_one(tmp_path):
    theirs, ours = tiny(81), tiny(81)
    with torch.no_grad():
        theirs.head.cls[0].weight += 1
    rows = converted(theirs, ours, tmp_path, "shifted", names=COCO)
    assert torch.equal(rows[:, 1:], class_rows(theirs)[:, :-1])


def test_an_experiment_says_how_the_classes_of_its_public_checkpoint_are_taken(tmp_path):
    theirs = tiny(81)
    torch.save(bmvc_names(theirs), tmp_path / "theirs.pth")
    model = {**TINY["model"], "num_classes": 81, "weights_classes": "shifted"}
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump({**TINY, "model": model}))
    tool.main([str(tmp_path / "theirs.pth"), f"--cfg={tmp_path}/tiny.yml", f"--out={tmp_path}/ours.pth"])
    rows = read_run(tmp_path / "ours.pth")["model"]["head.cls.0.weight"].unflatten(0, (-1, 81))
    assert torch.equal(rows[:, 1:], class_rows(theirs)[:, :-1])


def test_columns_of_our_own_checkpoint_are_never_moved(tmp_path):
    theirs, ours = tiny(81), tiny(81)
    with torch.no_grad():
        theirs.head.cls[0].weight += 1
    save_checkpoint(tmp_path / "ours.pth", {"model": theirs.state_dict(), "classes": list(COCO)})
    load_weights(ours, tmp_path / "ours.pth", classes="shifted", names=COCO)
    assert torch.equal(class_rows(ours), class_rows(theirs))


def test_reset_takes_all_but_the_class_predictors(tmp_path):
    theirs, ours = tiny(81), tiny(5)
    before = class_rows(ours).clone()
    assert torch.equal(converted(theirs, ours, tmp_path, "reset"), before)
    assert torch.equal(ours.head.box[0].weight, theirs.head.box[0].weight)


def test_our_own_checkpoint_knows_its_class_names(tmp_path):
    theirs, ours = tiny(3), tiny(4)
    save_checkpoint(tmp_path / "ours.pth", {"model": theirs.state_dict(), "classes": ["cog", "bolt"]})
    load_weights(ours, tmp_path / "ours.pth", classes="by_name", names=["bolt", "nut", "cog"])
    assert torch.equal(class_rows(ours)[:, [1, 3]], class_rows(theirs)[:, [2, 1]])
    with pytest.raises(ValueError, match="must hold exactly the tensors of this model"):
        load_weights(ours, tmp_path / "ours.pth", names=["bolt", "nut", "cog"])


def test_other_classes_are_refused_unless_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"conf.0.weight .* for .* of our head.cls.0.weight.*weights_classes=by_name"):
        converted(tiny(91), tiny(81), tmp_path, "same")
    with pytest.raises(ValueError, match="got 7 columns: choose model.weights_classes=reset"):
        converted(tiny(7), tiny(81), tmp_path, "by_name")
    with pytest.raises(ValueError, match=r"weights_classes must be one of .* got 'by_nme'"):
        converted(tiny(91), tiny(81), tmp_path, "by_nme")


def run_tool(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tools" / "convert_weights.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_what_is_wrong_with_a_file_is_one_clear_line_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cfg = tmp_path / "tiny.yml"
    cfg.write_text(yaml.safe_dump(TINY))
    good = bmvc_names(tiny())
    torch.save(good, "good.pth")
    torch.save({"model": Malicious()}, "malicious.pth")
    Path("half.pth").write_bytes(Path("good.pth").read_bytes()[:5000])
    Path("text.pth").write_text("no checkpoint")
    torch.save({"weights": torch.zeros(3)}, "stranger.pth")
    torch.save({**good, "box_head.predictor.cls_headers.0.weight": torch.zeros(3)}, "mixed.pth")
    torch.save(
        {f"backbone.features.{i}.weight": torch.zeros(3) for i in range(3)} | {"box_head.predictor.x": torch.zeros(1)},
        "wrong.pth",
    )
    cases = {
        "malicious.pth": "must contain only tensors and plain values.*not loaded",
        "half.pth": "must be a whole torch checkpoint",
        "text.pth": "text.pth",
        "stranger.pth": "must come from this project or from one of: .*; got tensors such as weights",
        "mixed.pth": "got 1 that the BMVC 2019 code .* does not have, such as box_head",
        "wrong.pth": "the SSD code of lufficc.* does not have, such as box_head.predictor.x",
        "missing.pth": "does not exist",
    }
    for name, message in cases.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
            tool.main([name, f"--cfg={cfg}", "--out=out.pth"])
        assert "\n" not in str(raised.value)
    for digest in ("0" * 64, "12345678"):
        with pytest.raises(ValueError, match=f"must have the SHA-256 {digest}; got .*download it again"):
            tool.main(["good.pth", f"--cfg={cfg}", "--out=out.pth", f"--sha256={digest}"])
    assert not Path("pwned").exists()
    assert not Path("out.pth").exists()


def test_command_works_from_anywhere_and_from_an_address(tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(TINY))
    torch.save(bmvc_names(tiny()), tmp_path / "good.pth")
    digest = hashlib.sha256((tmp_path / "good.pth").read_bytes()).hexdigest()
    address = (tmp_path / "good.pth").as_uri()
    done = run_tool(
        address,
        "--cfg=tiny.yml",
        "--out=out.pth",
        f"--sha256={digest[:8]}",
        cwd=tmp_path,
        env={**os.environ, "TORCH_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 0, done.stderr
    assert read_run(tmp_path / "out.pth")["classes"] == list(VOC)
    assert [path.name for path in (tmp_path / "home/hub/checkpoints").glob("*/*")] == ["good.pth"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop, readable_errors():
        tool.main(["good.pth", "--cfg=tiny.yml", "--out=out2.pth", "model.num_classes=91"])
    error = capsys.readouterr().err
    assert (stop.value.code, error.count("\n")) == (2, 1)
    assert error.startswith("error: good.pth: a checkpoint of the BMVC 2019 code")


def test_unreachable_address_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="nowhere.pth could not be fetched .* by hand"):
        load_weights(tiny(), (tmp_path / "nowhere.pth").as_uri())
