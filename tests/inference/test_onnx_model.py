"""ONNX files from elsewhere: damaged or foreign ones end in one line that names the file."""

import random
from pathlib import Path

import numpy as np
import pytest
from fuzz.attempts import Target, run_target

from lib.inference import Predictor
from lib.inference.onnx_model import OnnxModel

onnx = pytest.importorskip("onnx", reason="needs onnx: make")


def changed(file, path, change):
    """A copy of a model at ``path`` on which ``change(model)`` was called."""
    model = onnx.load(file)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def set_about(key, value):
    def change(model):
        for entry in model.metadata_props:
            if entry.key == key:
                entry.value = value

    return change


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("config", "a: [1", "must hold the config of its export; its text must be YAML"),
        ("config", "[1, 2]", "must hold the config of its export; it must hold keys and values; got list"),
        ("config", "input: {size: [0, 3]}", r"input.size must be \[height, width\] in pixels"),
        ("config", "loss: {negative_ratio: -3}", "loss.negative_ratio must be 0 or more and finite; got -3"),
        ("classes", "{", "must hold its class names as JSON"),
        ("classes", '["disc", 3]', "must hold its class names as a list of texts"),
        ("classes", '["disc"]', "must name its 2 classes; got 1 names"),
    ],
)
def test_what_a_model_says_of_itself_is_checked(files, tmp_path, key, value, message):
    path = changed(files["heads"], tmp_path / "x.onnx", set_about(key, value))
    with pytest.raises(ValueError, match=f"x.onnx .*{message}") as caught:
        Predictor(path)
    assert "\n" not in str(caught.value)


def as_constant(name, array):
    """Makes the output ``name`` a constant."""

    def change(model):
        for node in model.graph.node:
            node.output[:] = [f"old_{name}" if output == name else output for output in node.output]
            node.input[:] = [f"old_{name}" if value == name else value for value in node.input]
        for kept in [value for value in model.graph.initializer if value.name == name]:
            model.graph.initializer.remove(kept)
        tensor = onnx.numpy_helper.from_array(array, "constant")
        model.graph.node.append(onnx.helper.make_node("Constant", [], [name], value=tensor))
        for output in model.graph.output:
            if output.name == name:
                kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
                output.CopyFrom(onnx.helper.make_tensor_value_info(name, kind, array.shape))
        del model.graph.value_info[:]

    return change


@pytest.mark.parametrize(
    ("kind", "name", "array", "message"),
    [
        ("heads", "deltas", np.zeros((1, 3, 4), np.float32), r"deltas \(B, P, 4\).*got .*deltas \(1, 3, 4\)"),
        ("heads", "priors", np.zeros((5, 4), np.float32), r"priors \(P, 4\); got .* priors \(5, 4\)"),
        ("heads", "logits", np.zeros((1, 9), np.float32), r"logits \(B, P, K\).*got logits \(1, 9\)"),
        ("heads", "logits", np.zeros((1, 9, 3), np.float64), "logits must be an array of float32; got float64"),
        ("detections", "counts", np.array([21]), r"counts must be in 0 .. 20; got \[21\]"),
        ("detections", "counts", np.array([-1]), r"counts must be in 0 .. 20; got \[-1\]"),
        ("detections", "labels", np.full((1, 20), 7), r"labels must be in 1 .. 2; got \[7\]"),
        ("detections", "boxes", np.full((1, 20, 4), np.nan, np.float32), "boxes and scores must be finite"),
        ("detections", "scores", np.zeros((1, 3), np.float32), r"got boxes \(1, 20, 4\), scores \(1, 3\)"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(files, images, tmp_path, kind, name, array, message):
    path = changed(files[kind], tmp_path / "x.onnx", as_constant(name, array))
    with pytest.raises(ValueError, match=f"x.onnx must give what its export gave: .*{message}"):
        Predictor(path)(images[0])


def test_a_model_of_others_is_refused_by_its_inputs_and_outputs(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="x.onnx must be a model that tools/export.py wrote; its outputs are y"):
        OnnxModel(tmp_path / "x.onnx")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bits flipped, anywhere or near the end, where the metadata is; bytes cut off, left out, repeated or zeroed."""
    data, kind = bytearray(content), rng.randrange(6)
    first = 0 if rng.random() < 0.5 else max(0, len(data) - 4000)
    place, length = rng.randrange(first, len(data)), rng.randrange(1, 200)
    if kind <= 1:
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(first, len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + length]
    elif kind == 4:
        data[place:place] = data[place : place + length]
    else:
        data[place : place + length] = bytes(len(data[place : place + length]))
    return bytes(data)


def test_no_damage_ends_in_a_traceback(files, images, tmp_path):
    contents = [files[kind].read_bytes() for kind in ("detections", "heads")]

    def make(folder: Path, rng: random.Random) -> Path:
        (folder / "damaged.onnx").write_bytes(damaged(rng.choice(contents), rng))
        return folder / "damaged.onnx"

    run_target("onnx", Target(make, lambda path, rng: Predictor(path)(images[0])), tmp_path)
