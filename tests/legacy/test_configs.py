"""The content of a file decides which work it belongs to."""

import pytest

from lib.config import load_config
from lib.legacy.configs import find_reader, translate_config, translate_with_notes
from tests.legacy.keras_files import FILES as KERAS
from tests.legacy.yacs_files import FILES as YACS


@pytest.mark.parametrize(
    ("source", "work"),
    [
        *((file, "lufficc") for file in YACS.values()),
        *((file, "Keras") for file in KERAS.values()),
        ({"MODEL": {"NETS": "vgg16"}, "TEST": {"BATCH_SIZE": 3}}, "BMVC"),
        ({"SOLVER": {}}, "lufficc"),
    ],
)
def test_each_file_has_its_reader(source, work):
    assert work in find_reader(source).about


@pytest.mark.parametrize("source", [{}, {"train": {"epochs": 3}}, {"models": {}}])
def test_a_file_of_ours_or_of_no_known_work_stays_as_it_is(source):
    assert translate_config(source) is source


def test_a_file_of_no_known_work_is_refused_as_ours():
    with pytest.raises(ValueError, match="a config key must be one of input, data, .*; got models"):
        load_config({"models": {}})


def test_what_is_not_used_becomes_a_note():
    config, notes = translate_with_notes({**YACS["vgg_ssd300_voc0712"], "DATA_LOADER": {"PIN_MEMORY": True}})
    assert config["model"]["backbone"] == {"type": "vgg16"}
    assert "DATA_LOADER.PIN_MEMORY has no counterpart and is not used" in notes
