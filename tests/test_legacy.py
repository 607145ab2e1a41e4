"""The BMVC code's configs and checkpoints, read by lib/legacy, compute what that code computed."""

from pathlib import Path

import pytest
import torch
import yaml
from golden_models import FILES, assert_outputs, assert_priors, formula_image, formula_weights

from lib.build import build_detector, build_priors
from lib.config import load_config
from lib.legacy import translate_weights
from lib.models.cost import count_macs, count_parameters
from tests.legacy.bmvc_files import VOC, bmvc_file

BMVC = {name: golden for name, golden in FILES.items() if "nets" in golden}
SMALL, LAST = "ssd_lite_mobilenetv1_train_coco", BMVC["ssd_vgg16_train_coco"]


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
def golden(request, tmp_path_factory):
    values = BMVC[request.param]
    path = tmp_path_factory.mktemp("theirs") / f"{request.param}.yml"
    data = {"DATASET": VOC} if values["num_classes"] == 21 else {}
    path.write_text(yaml.safe_dump(bmvc_file(**bmvc_mapping(values), **data)))
    torch.manual_seed(0)
    model = build_detector(load_config(path)).eval()
    return values, model


@pytest.fixture(scope="module")
def small():
    """The weights of a small golden network as the BMVC code names them, and our model."""
    weights = formula_weights(BMVC[SMALL]["state_dict"])
    return weights, build_detector(load_config(bmvc_mapping(BMVC[SMALL])))


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


@pytest.mark.parametrize(
    ("experiment", "name"),
    [("mobilenet_v1/plain", "ssd_lite_mobilenetv1_train_coco"), ("vgg16/plain", "ssd_vgg16_train_coco")],
)
def test_priors_of_our_experiments_tile_the_image_and_lie_up_to_18_pixels_from_the_ancestors(experiment, name):
    size, maps = (300, 300), [tuple(sides) for sides in BMVC[name]["feature_maps"]]
    sources = (Path("experiments") / f"{experiment}.yml", bmvc_mapping(BMVC[name]))
    priors = [build_priors(load_config(source).model.priors, maps, size).fractions(maps, size) for source in sources]
    centers = [each[:, :2] * 300 for each in priors]
    assert (centers[0] - centers[1]).abs().max().item() == pytest.approx(18, abs=1e-3)


def test_parameters_and_multiply_accumulates_equal_the_ancestors(golden):
    values, model = golden
    neck, head = model.neck, model.head
    parts = {"base": model.backbone, "norm": neck.norm, "extras": neck.extras, "loc": head.box, "conf": head.cls}
    parts |= {name: getattr(neck, name) for name in ("transforms", "pyramids") if hasattr(neck, name)}
    counts = {name: count_parameters(part) for name, part in parts.items()}
    if getattr(neck, "refine", None) is not None:  # of RFB, on the second tap
        counts["norm"] += count_parameters(neck.refine)
    assert {name: count for name, count in counts.items() if count} == values["params_by"]
    assert count_parameters(model) == values["params_total"]
    assert sum(count_macs(model, tuple(values["image_size"])).values()) == values["madds_total"]


def test_tensors_without_a_counterpart_are_named(small):
    weights, model = small
    with pytest.raises(ValueError, match="got 1 that the BMVC 2019 code .* does not have, such as stranger.weight"):
        translate_weights({**weights, "stranger.weight": torch.zeros(1)}, model)
    missing = {name: tensor for name, tensor in weights.items() if name != "conf.0.bias"}
    with pytest.raises(ValueError, match=r"nothing for our head.cls.0.bias"):
        translate_weights(missing, model)
    with pytest.raises(ValueError, match=r"loc.0.bias \(3,\) for \(24,\) of our head.box.0.bias"):
        translate_weights({**weights, "loc.0.bias": torch.zeros(3)}, model)


def test_scope_takes_a_part_and_leaves_the_rest(small):
    weights, model = small
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    taken = translate_weights(wrapped, model, ["backbone"])
    assert taken.keys() == {name for name in model.state_dict() if name.startswith("backbone.")}


def test_scope_may_be_a_row_and_what_it_lacks_is_named(small, monkeypatch):
    weights, model = small
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
