"""LiteRT files from elsewhere: damaged or foreign ones end in one line that names the file."""

import random
import zipfile

import pytest

from lib.config import dump_config, load_config
from lib.inference import Predictor
from lib.inference.tflite_model import join, split

NETWORK = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 8  # begins as a network does, and is none
CONFIG = {"input": {"size": [64, 96]}, "data": {"classes": ["disc", "ring"]}}


@pytest.fixture(scope="module")
def about():
    """What a file says of itself."""
    return {"classes": ["disc", "ring"], "config": dump_config(load_config(CONFIG))}


def refused(path, content):
    """The message with which a file is refused."""
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.tflite must ") as caught:
        Predictor(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_holds_what_was_joined_and_is_the_same_each_time(about):
    content = join(NETWORK, about)
    network, told = split(content, "x")
    assert network == NETWORK
    assert told.pop("sha256")
    assert told == about
    assert join(NETWORK, about) == content


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": "a: [1"}, "must hold the config of its export; its text must be YAML"),
        ({"config": None}, "must hold the config of its export"),
        ({"config": "input: {size: [0, 3]}"}, "input.size must be [height, width] in pixels"),
        ({"classes": "disc"}, "must hold its class names as a list of texts"),
        ({"classes": ["disc"]}, "must name its 2 classes; got 1 names"),
    ],
)
def test_what_a_model_says_of_itself_is_checked(about, tmp_path, changed, message):
    assert message in refused(tmp_path / "x.tflite", join(NETWORK, about | changed))


def test_files_of_others_are_refused(about, tmp_path):
    path = tmp_path / "x.tflite"
    assert "must be a LiteRT model, with TFL3 at byte 4; it has b''" in refused(path, b"")
    assert "with about.json at its end" in refused(path, NETWORK)
    path.write_bytes(NETWORK)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("labels.txt", "disc")
    assert "with about.json at its end" in refused(path, path.read_bytes())
    with pytest.raises(FileNotFoundError, match="a LiteRT model must be a file; got .*y.tflite, which does not exist"):
        Predictor(tmp_path / "y.tflite")


def test_what_only_begins_as_a_network_is_refused_by_the_interpreter(about, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert: make extras")
    assert "must be a LiteRT model; its interpreter says" in refused(tmp_path / "x.tflite", join(NETWORK, about))


def test_each_damaged_copy_is_refused_before_the_interpreter_sees_it(about, tmp_path):
    content, rng = join(NETWORK, about), random.Random(0)
    for _ in range(60):
        damaged, start = bytearray(content), rng.randrange(len(NETWORK))
        kind = rng.choice(["flip", "cut", "zero"])
        if kind == "flip":
            damaged[start] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del damaged[start : start + rng.randrange(1, 90)]
        else:
            damaged[start : start + 40] = bytes(40)
        message = refused(tmp_path / "x.tflite", bytes(damaged))
        assert "its interpreter says" not in message
