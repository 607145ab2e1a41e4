"""Names of a model's parts."""

import pytest

from lib.utils.parts import is_in, is_in_any, names_in

NAMES = [f"backbone.layers.{row}.conv.weight" for row in (0, 1, 2, 3, 10, 21)] + ["head.box.0.weight", "neck.norm"]


@pytest.mark.parametrize(
    ("part", "inside"),
    [
        ("backbone", NAMES[:6]),
        ("backbone.layers.1", NAMES[1:2]),
        ("backbone.layers.1-3", NAMES[1:4]),
        ("backbone.layers.2-10", NAMES[2:5]),
        ("backbone.layers.0-10.conv", NAMES[:5]),
        ("backbone.layers.1.conv.weight", NAMES[1:2]),
        ("backbone.lay", []),
        ("back", []),
        ("head.box.0", NAMES[6:7]),
        ("neck", NAMES[7:]),
        ("neck.norm.weight", []),
    ],
)
def test_a_part_covers_whole_steps_of_a_name(part, inside):
    assert [name for name in NAMES if is_in(name, part)] == inside


def test_parts_are_joined_and_one_that_holds_nothing_is_named():
    assert names_in(NAMES, ["neck", "backbone.layers.21"], "train.frozen") == {NAMES[5], "neck.norm"}
    assert names_in(NAMES, None, "train.frozen") == set()
    with pytest.raises(
        ValueError, match=r"train.frozen must name parts .* got 'backbone.layers.4-9', which holds nothing"
    ):
        names_in(NAMES, ["neck", "backbone.layers.4-9"], "train.frozen")


def test_a_part_that_only_some_models_have_must_not_be_all_that_is_named():
    assert names_in(NAMES, ["neck.extras", "neck.norm"], "train.trainable") == {"neck.norm"}
    with pytest.raises(
        ValueError, match=r"model.weights_scope must name parts .* got 'neck.extras', which holds nothing"
    ):
        names_in(NAMES, ["neck.extras", "neck.pyramids"], "model.weights_scope")


def test_name_in_any_of_the_parts_and_without_parts_in_any_case():
    assert is_in_any(NAMES[0], ["neck", "backbone.layers.0"])
    assert not is_in_any(NAMES[4], ["neck", "backbone.layers.1"])
    assert is_in_any(NAMES[4], None) and not is_in_any(NAMES[4], [])
