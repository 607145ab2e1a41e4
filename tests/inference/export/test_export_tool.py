"""tools/export.py from the command line: a model is written whole or not at all, and a check of nothing fails."""

import errno
import os

import cv2
import numpy as np
import pytest

from lib.build_data import build_resize
from lib.data.synthetic.dataset import generate
from lib.inference import Predictor
from lib.inference.export import web
from lib.timing import int8
from lib.utils.files import WriteError
from tests.data.image_files import tiff
from tools import export

PARTS = {"images": "", "annotations": ".json"}  # key of a data set -> how the name ends


@pytest.fixture
def folder(tmp_path, images):
    """A folder of images, one without any that can be read, and a model that is there already."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), images[0])
    (tmp_path / "notes" / "a.txt").write_text("no image")
    (tmp_path / "model.onnx").write_bytes(b"the old model")
    return tmp_path


@pytest.fixture
def run(checkpoint, folder, files, monkeypatch):
    """Runs the tool on model.onnx; the export itself, which takes seconds, is made beforehand."""
    monkeypatch.setattr(export, "onnx_bytes", lambda *_, **__: files["detections"].read_bytes())
    return lambda *options: export.main([f"--checkpoint={checkpoint}", f"--out={folder / 'model.onnx'}", *options])


@pytest.mark.parametrize("option", ["--check", "--int8"])
def test_images_of_which_none_can_be_read_are_refused_and_nothing_is_written(run, folder, option):
    with pytest.raises(ValueError, match="there must be images to run the detector on; .*notes has none"):
        run(option, str(folder / "notes"))
    with pytest.raises(ValueError, match="--limit must be at least 1; got 0"):
        run(option, str(folder / "photos"), "--limit=0")
    assert (folder / "model.onnx").read_bytes() == b"the old model"


def test_a_batch_below_one_is_refused(run):
    with pytest.raises(ValueError, match="--batch must be at least 1; got -1"):
        run("--batch=-1")


def test_images_are_read_by_the_keys_of_the_experiment(run, folder, images, monkeypatch):
    bands = np.concatenate([images[0][..., ::-1], images[0][..., :2]], axis=2)
    (folder / "notes" / "a.tif").write_bytes(tiff(bands))
    seen = []
    monkeypatch.setattr(int8, "make_int8", lambda content, suffix, loaded, images, *_: seen.extend(images) or content)
    assert run("--int8", str(folder / "notes"), "--force", "input.bands=[1,2,3]") == 0
    np.testing.assert_array_equal(seen, [images[0]])
    options = ["input.bands=[1,2,3]", "postprocess.score_threshold=0.01"]
    assert run("--check", str(folder / "notes"), *options) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--tiles=512"],
            "--tiles must come with --web or --int8, because a model file itself cuts no tiles: leave it out",
        ),
        (["--force"], "--force must come with --int8: leave it out, or give --int8, too"),
        (["--single"], ".onnx must come without --single: leave it out, or choose --web=DIR"),
    ],
)
def test_options_without_effect_are_refused(run, capsys, options, message):
    with pytest.raises(SystemExit):
        run(*options)
    assert message in capsys.readouterr().err


def test_a_place_that_takes_no_file_is_named_before_the_work(checkpoint, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(WriteError, match=r"taken/a.onnx could not be written: .*, with --out=FILE$"):
        export.main([f"--checkpoint={checkpoint}", f"--out={tmp_path / 'taken' / 'a.onnx'}"])


def test_a_check_counts_what_it_compared(run, folder, capsys):
    assert run("--check", str(folder / "photos"), "postprocess.score_threshold=0.01") == 0
    assert "1 images, " in capsys.readouterr().out
    assert Predictor(folder / "model.onnx").classes == ("disc", "ring")


def test_a_check_sees_images_as_the_model_does_where_they_keep_their_size(run, checkpoint, folder, capsys, monkeypatch):
    """The model pads each image to 192x320; the checkpoint alone would pad it less, and find a little else."""
    options = ["input.test_size=[192,320]", "input.test_resize=native", "input.test_scale=1.25"]
    options.append("postprocess.score_threshold=0.01")
    exported = Predictor(checkpoint, "cpu", overrides=options)
    exported.resize = build_resize(exported.cfg)  # as that of an exported model
    of = lambda source, *device: Predictor(source, *device) if device else exported  # noqa: E731
    monkeypatch.setattr(export, "Predictor", of)
    assert run("--check", str(folder / "photos"), *options) == 0
    assert "the same boxes in the same order" in capsys.readouterr().out


def test_a_detector_with_another_suppression_is_exported_with_nms_and_says_so(run, folder, files, monkeypatch, capsys):
    given = []

    def exported(loaded, *_):
        given.append(loaded.cfg.postprocess.suppression)
        return files["detections"].read_bytes()

    monkeypatch.setattr(export, "onnx_bytes", exported)
    options = ["postprocess.suppression=fusion", "postprocess.score_threshold=0.01"]
    assert run("--check", str(folder / "photos"), *options) == 0
    shown = capsys.readouterr()
    assert "postprocess.suppression=fusion cannot be written into an ONNX model" in shown.err
    assert "the same boxes in the same order" in shown.out
    run("--heads", *options)
    assert "cannot be written" not in capsys.readouterr().err
    assert given == ["nms", "fusion"]


@pytest.mark.parametrize("fails", ["export", "disk"])
def test_after_a_failure_the_old_model_is_unchanged(run, folder, monkeypatch, fails):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fails == "export":
        monkeypatch.setattr(export, "onnx_bytes", fail)
    else:
        monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        run()
    assert sorted(path.name for path in folder.glob("model*")) == ["model.onnx"]
    assert (folder / "model.onnx").read_bytes() == b"the old model"


def test_an_archive_is_written_whole_too(checkpoint, folder, monkeypatch):
    monkeypatch.setattr(export, "archive_bytes", lambda *_: b"an archive")
    assert export.main([f"--checkpoint={checkpoint}", f"--out={folder / 'new' / 'model.pt2'}"]) == 0
    assert (folder / "new" / "model.pt2").read_bytes() == b"an archive"


def test_int8_says_what_it_needs(run, folder):
    with pytest.raises(ValueError, match="--int8 must have images to calibrate on, .*; data.train.annotations must be"):
        run("--int8")
    with pytest.raises(ValueError, match="--int8 must have labeled images to test on, .*: or use --force"):
        run("--int8", str(folder / "photos"))
    assert (folder / "model.onnx").read_bytes() == b"the old model"


def test_int8_is_calibrated_on_the_training_set_and_judged_on_the_test_set(run, folder, monkeypatch, capsys):
    generate(folder / "data", 6, 2, num_classes=2, image_sizes=(60, 90), object_sizes=(8, 30))
    seen = []
    monkeypatch.setattr(int8, "quantize", lambda content, images: seen.extend(images) or content)
    monkeypatch.setattr(int8, "SECONDS", 0.1)
    data = [
        f"data.{split}.{key}={folder}/data/{split}{end}" for split in ("train", "val") for key, end in PARTS.items()
    ]
    assert run("--int8", "--limit=4", "evaluation.batch_size=2", "data.workers=0", *data) == 0
    assert [image.shape for image in seen] == [(1, 64, 96, 3)] * 4
    assert len({image.tobytes() for image in seen}) == 4
    said = capsys.readouterr().err
    assert "int8 on 2 images of data.val" in said and "change" in said
    assert Predictor(folder / "model.onnx").classes == ("disc", "ring")


def test_a_page_is_written_instead_of_a_model(run, checkpoint, folder, monkeypatch, capsys):
    monkeypatch.setattr(web, "runtime_parts", lambda: {"code": b"1", "binary": b"2"})
    assert export.main([f"--checkpoint={checkpoint}", f"--web={folder / 'page'}", "--tiles=96", "--single"]) == 0
    assert [path.name for path in (folder / "page").iterdir()] == ["index.html"]
    assert "index.html: " in capsys.readouterr().out
    for options in ([], [f"--web={folder}", "--out=a.onnx"]):
        with pytest.raises(SystemExit):
            export.main([f"--checkpoint={checkpoint}", *options])


@pytest.mark.parametrize(
    ("output", "form", "options"),
    [
        ("--web=page", "--web", ["--heads", "--no-resize", "--check=photos", "--batch=1"]),
        ("--out=model.pt2", ".pt2", ["--batch=4", "--opset=20"]),
        ("--out=model.tflite", ".tflite", ["--batch=4", "--opset=20", "--heads", "--no-resize"]),
    ],
)
def test_options_that_a_format_does_not_take_are_refused(checkpoint, output, form, options, capsys):
    for option in options:
        with pytest.raises(SystemExit):
            export.parse([f"--checkpoint={checkpoint}", output, option])
        name = option.partition("=")[0]
        assert f"{form} must come without {name}: leave it out, or choose" in capsys.readouterr().err
