"""Tracks of videos as files: JSON, MOTChallenge's form, and the end of one video where another begins."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("scipy", reason="needs SciPy: make extras")

from lib.inference.outputs import Output
from lib.inference.sources import Frame, Video, open_source
from lib.inference.track_files import TrackFiles, plan_tracking
from lib.structures import Detections
from tests.engine.conftest import load_script
from tests.inference import drawn_videos

NAMES = ["disc", "ring"]


def found(*rows):
    """Detections of (x1, y1, x2, y2, score, label)."""
    values = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].long())


def write(folder, frames, lines=(), size=(100, 200)):
    """Writes (name, fps) and the detections of each frame of (height, width) pixels; what tracks.json says."""
    tracks = TrackFiles(folder, NAMES, plan_tracking(True, lines, 0.3))
    counts, image = {}, np.zeros((*size, 3), np.uint8)
    for name, fps, detections in frames:
        counts[name] = counts.get(name, -1) + 1
        tracks.update(Frame(image, name, counts[name], fps), detections)
    tracks.close()
    return json.loads((folder / "tracks.json").read_text())


def test_json_and_mot_tell_the_tracks(tmp_path):
    rows = [found((10 + 4 * i, 20, 30 + 4 * i, 50, 0.9, 1), (150, 60, 170, 80, 0.5, 2)) for i in range(10)]
    told = write(tmp_path, [("film.mp4", 25.0, row) for row in rows], [".2,0,.2,1"])
    assert told["counts"] == {"disc": 1, "ring": 1}
    (video,) = told["videos"]
    assert (video["file"], video["frames"], video["fps"]) == ("film.mp4", 10, 25.0)
    assert video["tracks"] == [
        {"track": 1, "name": "disc", "label": 1, "first": 1, "last": 9, "length": 9},
        {"track": 2, "name": "ring", "label": 2, "first": 1, "last": 9, "length": 9},
    ]
    (line,) = video["lines"]
    assert line["line"] == [40.0, 0.0, 40.0, 100.0]
    assert line["counts"] == {"disc": {"to_right": 0, "to_left": 1}}
    assert line["crossings"] == [{"frame": 6, "track": 1, "name": "disc", "direction": "to_left"}]
    mot = (tmp_path / "film.mot.txt").read_text().splitlines()
    assert mot[:2] == ["2,1,14.00,20.00,20.00,30.00,0.9000,1,1", "2,2,150.00,60.00,20.00,20.00,0.5000,2,1"]
    assert len(mot) == 18 and mot[-1].startswith("10,2,")


def test_each_video_has_tracks_and_a_file_of_its_own(tmp_path):
    row = found((10, 20, 30, 50, 0.9, 1))
    videos_of = [("a.mp4", 25.0), ("a.avi", 25.0), ("b/1.png", None), ("b/2.png", None), ("c/1.png", None)]
    told = write(tmp_path, [(name, fps, row) for name, fps in videos_of for _ in range(2 if fps else 1)])
    assert [video["file"] for video in told["videos"]] == ["a.mp4", "a.avi", "b/images", "c/images"]
    assert [[track["track"] for track in video["tracks"]] for video in told["videos"]] == [[1], [1], [1], []]
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.mot.txt")}
    assert written == {"a.mot.txt", "a.avi.mot.txt", "b/images.mot.txt", "c/images.mot.txt"}
    assert told["counts"] == {"disc": 3}


def test_nothing_in_no_video(tmp_path):
    assert write(tmp_path, []) == {"counts": {}, "videos": []}
    assert write(tmp_path, [("a.mp4", 25.0, found())] * 3)["counts"] == {}
    assert (tmp_path / "a.mot.txt").read_text() == ""


def test_without_track_and_line_nothing_is_followed():
    assert plan_tracking(False, (), 0.3) is None
    assert plan_tracking(False, ["0,.5,1,.5"], 0.05).options.low == 0.05


def test_crossings_of_a_known_video_are_counted_exactly(tmp_path):
    """Detections of all objects with noise, misses and false alarms; the truth is counted by the objects' centers."""
    objects, rng = drawn_videos.courses(), np.random.default_rng(0)
    frames = []
    for number in range(drawn_videos.NUM_FRAMES):
        boxes, scores, labels = drawn_videos.detections(drawn_videos.truth(objects, number), rng)
        rows = np.column_stack([boxes, scores, labels])[np.argsort(-scores)].tolist()
        frames.append(("film.mp4", 29.97, found(*rows)))
    told = write(tmp_path, frames, [".5,0,.5,1"], drawn_videos.SIZE)
    assert told["counts"] == drawn_videos.class_counts(objects, NAMES)
    assert told["videos"][0]["lines"][0]["counts"] == drawn_videos.crossings(objects, NAMES)
    mot = np.loadtxt(tmp_path / "film.mot.txt", delimiter=",")
    assert mot.shape[1] == 9 and mot[:, 0].max() <= drawn_videos.NUM_FRAMES and len(np.unique(mot[:, 1])) == 40


def test_numbers_and_tails_are_drawn(tmp_path):
    frame = Frame(np.full((700, 900, 3), 50, np.uint8), "film.mp4", 0, 25.0)
    images = []
    for tracking in (None, plan_tracking(True, ["0,600,900,600"], 0.3)):
        with Output(tmp_path, ["disc"], targets={}, tracking=tracking) as output:
            for number in range(12):
                x = 100.0 + 30 * number
                output.write(frame._replace(number=number), found((x, 300, x + 60, 360, 0.9, 1)))
        images.append(list(Video(str(tmp_path / "film.mp4")))[-1].image.astype(int))
    changed = np.abs(images[0] - images[1]).max(axis=2) > 60
    assert changed[325:335, 200:400].any(axis=0).mean() > 0.9  # the tail behind the object
    assert changed[598:603].mean(axis=1).max() > 0.9  # the line
    assert changed[275:299, 425:500].sum() > 50  # the number, though there is one class only


def test_a_followed_video_has_numbers_tracks_and_crossings(demo, video, tmp_path, capsys):
    assert demo(video, "--track", "--count-line=0,.5,1,.5", "--tiles=48") == 0
    out, said = tmp_path / "out", capsys.readouterr().err
    entries = json.loads((out / "detections.json").read_text())
    rows = list(csv.DictReader((out / "detections.csv").open()))
    numbers = [row["track"] for entry in entries for row in entry["detections"]]
    assert len(entries) == 12 and entries[0]["detections"] == []
    assert len(numbers) > 0 and [int(row["track"]) for row in rows] == numbers
    assert [int(line.split(",")[1]) for line in (out / "film.mot.txt").read_text().splitlines()] == numbers
    told = json.loads((out / "tracks.json").read_text())
    assert {track["track"] for track in told["videos"][0]["tracks"]} == set(numbers)
    assert sum(told["counts"].values()) == len(set(numbers))
    assert f"all    {len(set(numbers)):>6}" in said


def test_numbered_images_are_one_video_in_the_order_of_their_numbers(demo, tmp_path, images):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(8, 13):
        cv2.imwrite(str(folder / f"{number}.png"), images[0])
    assert [frame.name for frame in open_source(str(folder))] == [f"{number}.png" for number in range(8, 13)]
    assert demo(folder, "--track") == 0
    told = json.loads((tmp_path / "out" / "tracks.json").read_text())
    assert [video["file"] for video in told["videos"]] == ["images"] and told["videos"][0]["frames"] == 5
    assert {(track["first"], track["last"]) for track in told["videos"][0]["tracks"]} == {(1, 4)}  # nothing moves


def test_a_bad_line_is_told_before_the_model_is_loaded(tmp_path, video):
    with pytest.raises(ValueError, match="--count-line must be x1,y1,x2,y2"):
        load_script("demo").main([str(video), "--count-line=1,2,3", f"--out={tmp_path / 'out'}", "--checkpoint=none"])
