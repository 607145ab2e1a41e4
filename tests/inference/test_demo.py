"""demo.py and what it reads and writes: pictures, videos, folders with rubbish in them."""

import csv
import json
import logging

import cv2
import numpy as np
import pytest
import torch

from lib.inference.outputs import Output, check_folder
from lib.inference.sources import Files, Frame, Video, open_source
from lib.structures import Detections
from tests.engine.conftest import load_script


@pytest.fixture
def demo(checkpoint, tmp_path):
    """Runs demo.py on a source with the given arguments; its exit status."""

    def run(source, *arguments):
        options = [f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}", "--no-show", "--score=0.01"]
        return load_script("demo").main([str(source), *options, *arguments])

    return run


@pytest.fixture
def video(tmp_path):
    """12 frames of 64 x 96 pixels."""
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    rng = np.random.default_rng(0)
    for _ in range(12):
        writer.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    return path


def test_folder_with_rubbish_is_done_but_for_it_and_the_status_says_so(demo, tmp_path, images, caplog):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(images[:3]):
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    (folder / "cut.jpg").write_bytes((folder / "0.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").touch()
    with caplog.at_level(logging.WARNING):
        assert demo(folder, "--batch-size=2") == 1
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"0.jpg", "1.jpg", "2.jpg", "detections.json", "detections.csv"}
    (folder / "cut.jpg").unlink()
    assert [path.name for path in _skipped(folder)] == ["empty.png", "notes.txt"]


def _skipped(folder):
    source = open_source(str(folder))
    list(source)
    return source.skipped


def test_json_and_csv_tell_the_same(demo, tmp_path, images):
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    assert demo(tmp_path / "a.png") == 0
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    rows = list(csv.DictReader((tmp_path / "out" / "detections.csv").open()))
    assert [entry["file"] for entry in entries] == ["a.png"]
    assert (entries[0]["height"], entries[0]["width"]) == (70, 120)
    found = entries[0]["detections"]
    assert len(found) == len(rows) > 0
    assert {row["name"] for row in found} <= {"disc", "ring"}
    assert [float(row["score"]) for row in rows] == [row["score"] for row in found]


def test_video_becomes_a_video_of_as_many_frames(demo, video, tmp_path):
    assert demo(video) == 0
    result = Video(str(tmp_path / "out" / "film.mp4"))
    assert len(list(result)) == 12
    assert result.fps == 10
    assert len(json.loads((tmp_path / "out" / "detections.json").read_text())) == 12


def test_pattern_finds_files_and_names_keep_their_folders_apart(tmp_path, images):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), images[0])
    frames = list(open_source(str(tmp_path / "*" / "x.png")))
    assert [frame.name for frame in frames] == ["one/x.png", "two/x.png"]


def test_interruption_leaves_whole_files(tmp_path, images):
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(KeyboardInterrupt), Output(tmp_path / "out", ["disc"]) as output:
        output.write(Frame(images[0], "a.png", 0), nothing)
        raise KeyboardInterrupt
    assert [entry["file"] for entry in json.loads((tmp_path / "out" / "detections.json").read_text())] == ["a.png"]
    assert (tmp_path / "out" / "a.png").is_file()


@pytest.mark.parametrize("source", ["nowhere", "nowhere/*.jpg"])
def test_source_that_is_not_there_is_named(source):
    with pytest.raises(FileNotFoundError, match="SOURCE must be an image, a folder"):
        open_source(source)


def test_video_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="must be one that OpenCV can open"):
        open_source(str(tmp_path / "x.mp4"))


def test_pictures_never_replace_those_of_the_source(tmp_path):
    for folder, source in ((tmp_path, tmp_path / "a.jpg"), (tmp_path, tmp_path)):
        with pytest.raises(ValueError, match="must be another folder"):
            check_folder(folder, str(source))


def test_files_come_by_name_without_hidden_ones(tmp_path, images):
    for name in ("b.png", "a.png", ".hidden.png"):
        cv2.imwrite(str(tmp_path / name), images[0])
    source = open_source(str(tmp_path))
    assert isinstance(source, Files)
    assert [frame.name for frame in source] == ["a.png", "b.png"]
