"""demo.py and what it reads and writes: pictures, videos, folders with rubbish in them."""

import csv
import itertools
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lib.inference import video_file
from lib.inference.display import has_display
from lib.inference.outputs import Output, check_folder, plan_outputs
from lib.inference.sources import Files, Frame, Video, open_source
from lib.structures import Detections
from tests.data.image_files import jpeg
from tests.engine.conftest import ROOT
from tests.utils.test_lock import HOLD

NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def test_folder_with_rubbish_is_done_but_for_it_and_the_status_says_so(demo, tmp_path, images, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(images[:3]):
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    (folder / "cut.jpg").write_bytes((folder / "0.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").touch()
    start = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)  # of a picture with more pixels than OpenCV holds
    (folder / "huge.bmp").write_bytes(start + struct.pack("<IiiHHIIiiII", 40, 50000, 50000, 1, 24, *[0] * 6))
    (folder / "turned.jpg").write_bytes(jpeg(np.ascontiguousarray(np.rot90(images[0])), 6))
    assert demo(folder, "--batch-size=2") == 1
    said = capsys.readouterr().err
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"0.jpg", "1.jpg", "2.jpg", "turned.jpg", "detections.json", "detections.csv"}
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["file"] for entry in entries] == ["0.jpg", "1.jpg", "2.jpg", "turned.jpg"]
    assert (entries[-1]["height"], entries[-1]["width"]) == images[0].shape[:2]
    assert "huge.bmp must have at most 268435456 pixels" in said and "4 could not be read" in said
    (folder / "cut.jpg").unlink()
    assert [path.name for path in _skipped(folder)] == ["empty.png", "huge.bmp", "notes.txt"]


def _skipped(folder):
    source = open_source(str(folder))
    list(source)
    return source.skipped


def test_a_picture_that_its_format_cannot_hold_costs_only_itself(demo, tmp_path, images):
    folder = tmp_path / "strips"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(cv2.imencode(".png", np.zeros((2, 66000, 3), np.uint8))[1])
    cv2.imwrite(str(folder / "b.png"), images[0])
    assert demo(folder) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.png", "detections.json", "detections.csv"}
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["file"] for entry in entries] == ["a.jpg", "b.png"]


def test_a_name_that_is_not_utf8_is_named_and_skipped(tmp_path, images, video, caplog):
    name = os.fsdecode(b"b\xce\xd2")  # as of a zip archive with Chinese names in GBK
    for stem in ("a", name, "c"):
        (tmp_path / f"{stem}.png").write_bytes(cv2.imencode(".png", images[0])[1])
    video.rename(tmp_path / f"{name}.mp4")
    source = open_source(str(tmp_path))
    assert [frame.name for frame in source] == ["a.png", "c.png"]
    assert source.skipped == [tmp_path / f"{name}.mp4", tmp_path / f"{name}.png"]
    assert all(r"got 'b\udcce\udcd2." in record.message for record in caplog.records)
    with pytest.raises(ValueError, match="the name of a video must be"):
        open_source(str(tmp_path / f"{name}.mp4"))


def test_a_folder_whose_name_is_a_number_is_no_camera(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("2024").mkdir()
    cv2.imwrite("2024/a.png", images[0])
    assert [frame.name for frame in open_source("2024")] == ["a.png"]


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


def test_the_type_of_numbers_can_be_chosen(demo, tmp_path, images):
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    assert demo(tmp_path / "a.png", "--dtype=bfloat16") == 0
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, float16; got 'float8'"):
        demo(tmp_path / "a.png", "--dtype=float8")


def test_video_becomes_a_video_of_as_many_frames(demo, video, tmp_path):
    assert demo(video) == 0
    result = Video(str(tmp_path / "out" / "film.mp4"))
    assert len(list(result)) == 12
    assert result.fps == 10
    assert len(json.loads((tmp_path / "out" / "detections.json").read_text())) == 12


def test_videos_among_pictures_are_done_as_well(demo, video, tmp_path, images):
    folder = tmp_path / "mixed"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), images[0])
    for name in ("film.mp4", "film.avi"):
        (folder / name).write_bytes(video.read_bytes())
    for source, count in ((folder, 25), (folder / "*.avi", 12)):
        assert demo(source) == 0
        assert len(json.loads((tmp_path / "out" / "detections.json").read_text())) == count
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"a.png", "film.mp4", "film.avi.mp4"}
    assert len(list(Video(str(tmp_path / "out" / "film.avi.mp4")))) == 12


@pytest.mark.parametrize("suffix", [".ts", ".3gp", ".m2ts"])
def test_videos_of_phones_and_recorders_are_videos(video, tmp_path, suffix):
    path = video.rename(tmp_path / f"film{suffix}")  # the content says the format
    assert len(list(open_source(str(path)))) == 12


def test_a_device_is_a_camera():
    with pytest.raises(ValueError, match="a camera must be one that OpenCV can open; got /dev/null"):
        open_source("/dev/null")


class FakeCapture:
    """A source of some frames, at 10 per second, that announces a number of frames."""

    def __init__(self, announced, frames=3):
        self.left, self.announced = frames, announced

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return True

    def get(self, what):
        return self.announced if what == cv2.CAP_PROP_FRAME_COUNT else 10.0

    def read(self):
        self.left -= 1
        return (True, np.zeros((8, 8, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        pass


@pytest.mark.parametrize(("announced", "is_whole"), [(9, False), (3, True)])
def test_a_video_at_an_address_that_breaks_off_counts_as_not_read(monkeypatch, announced, is_whole):
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCapture(announced))
    source = open_source("https://server/film.mp4")
    frames = iter(source)
    assert len(list(itertools.islice(frames, 3))) == 3
    assert source.skipped == []  # whoever stops to read has not lost anything
    assert list(frames) == []
    assert (source.skipped == []) is is_whole


class LiveCapture(FakeCapture):
    """A stream whose frames are of the gray levels 9, 8, ... 0; all but the first wait until ``goes_on`` is set."""

    def __init__(self):
        super().__init__(-1, 10)
        self.goes_on, self.has_ended, self.is_released = threading.Event(), threading.Event(), False

    def read(self):
        if self.left < 10:
            self.goes_on.wait()
        is_there, image = super().read()
        if not is_there:
            self.has_ended.set()
        return is_there, image + np.uint8(self.left) if is_there else None

    def release(self):
        self.is_released = True


def test_of_a_stream_only_the_newest_frame_is_seen_and_its_end_is_told(monkeypatch):
    capture = LiveCapture()
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: capture)
    source = open_source("rtsp://camera/live")
    assert source.is_live
    frames = iter(source)
    first = next(frames)
    capture.goes_on.set()
    assert capture.has_ended.wait(10)  # while the first one is in use
    assert source.skipped == []
    rest = list(frames)
    assert [(frame.number, frame.image[0, 0, 0]) for frame in (first, *rest)] == [(0, 9), (1, 0)]
    assert source.skipped == [Path("camera_live")] and capture.is_released


def test_whoever_stops_to_read_a_stream_ends_its_thread(monkeypatch):
    capture = LiveCapture()
    capture.goes_on.set()
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: capture)
    threads = threading.active_count()
    frames = iter(open_source("rtsp://camera/live"))
    next(frames)
    frames.close()
    assert threading.active_count() == threads and capture.is_released


@pytest.mark.parametrize(
    ("announced", "frames", "is_whole"), [(23, 3, True), (24, 3, False), (1000, 950, True), (1000, 949, False)]
)
def test_a_length_that_is_only_estimated_may_be_off(tmp_path, monkeypatch, announced, frames, is_whole):
    (tmp_path / "film.mkv").touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCapture(announced, frames))
    video = Video(str(tmp_path / "film.mkv"))
    assert len(list(video)) == frames
    assert (video.skipped == []) is is_whole


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://admin:Secret@10.0.0.5:554/Streaming/Channels/101", "10-0-0-5_101"),
        ("rtsp://10.0.0.5/user=admin&password=Secret&channel=1", "10-0-0-5"),
        ("rtsp://admin:p@Secret@cam.local/live?key=Secret", "cam-local_live"),
        ("https://server/videos/film.mp4?token=Secret/1", "server_film.mp4"),
        ("http://[fe80::1]:8080", "fe80-1"),
    ],
)
def test_the_name_of_a_stream_holds_no_password(monkeypatch, address, name):
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCapture(3))
    assert open_source(address).names == [name]
    monkeypatch.setattr(FakeCapture, "isOpened", lambda _: False)
    with pytest.raises(ValueError, match=f"OpenCV can open; got {name}: "):
        open_source(address)


def test_pattern_finds_files_and_names_keep_their_folders_apart(tmp_path, images):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), images[0])
    frames = list(open_source(str(tmp_path / "*" / "x.png")))
    assert [frame.name for frame in frames] == ["one/x.png", "two/x.png"]


def test_several_sources_are_one_by_their_names(demo, video, tmp_path, images):
    (tmp_path / "photos").mkdir()
    for name in ("photos/10.png", "photos/2.png", "x.png"):
        cv2.imwrite(str(tmp_path / name), images[0])
    pictures = [str(tmp_path / name) for name in ("x.png", "photos/10.png", "photos")]
    assert open_source(*pictures).names == ["photos/2.png", "photos/10.png", "x.png"]
    assert demo(pictures[0], str(video), "postprocess.max_detections=3", pictures[1]) == 0
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["file"] for entry in entries] == ["film.mp4"] * 12 + ["photos/10.png", "x.png"]
    for live in ("0", "rtsp://admin:Secret@camera/live"):
        with pytest.raises(ValueError, match=r"several SOURCEs must be files.*; got (0|camera_live): give a camera or"):
            open_source(pictures[0], live)


def test_outputs_never_replace_the_source_by_whatever_route(tmp_path, images):
    for name in ("s1/a.jpg", "s2/b.jpg"):
        (tmp_path / name).parent.mkdir()
        cv2.imwrite(str(tmp_path / name), images[0])
    (tmp_path / "link").symlink_to(tmp_path / "s1")
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / "a.jpg").hardlink_to(tmp_path / "s1" / "a.jpg")
    for pattern, out in (("**/*.jpg", "."), ("s1/a.jpg", "link"), ("s*/a.jpg", "s1"), ("s1/a.jpg", "hard")):
        with pytest.raises(ValueError, match="must not be one that is read"):
            plan_outputs(tmp_path / out, open_source(str(tmp_path / pattern)))
    assert len(plan_outputs(tmp_path / "out", open_source(str(tmp_path / "**" / "*.jpg")))) == 4


def test_pictures_of_one_stem_have_files_of_their_own(tmp_path):
    for name in ("a.gif", "a.png", "a.ppm", "b.avi", "b.mp4", "detections.json"):
        (tmp_path / name).touch()
    targets = plan_outputs(tmp_path / "out", open_source(str(tmp_path)))
    assert {name: path.name for name, path in targets.items()} == {
        "a.png": "a.png",
        "b.mp4": "b.mp4",
        "a.gif": "a.gif.png",
        "a.ppm": "a.ppm.png",
        "b.avi": "b.avi.mp4",
        "detections.json": "detections.png",
    }


def test_the_time_to_plan_the_outputs_grows_with_their_number():
    seconds = []
    for count in (300, 2400):
        source = Files([Path(f"{number}.jpg") for number in range(count)])
        start = time.process_time()
        plan_outputs(Path("out"), source)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 20 * seconds[0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, "full"])
def test_an_interrupted_video_can_be_played_and_its_json_read(tmp_path, images, monkeypatch, stop):
    frame, out = Frame(images[0], "film.mp4", 0, 10.0), tmp_path / "out"
    with pytest.raises((KeyboardInterrupt, OSError)) as raised, Output(out, ["disc"]) as output:
        for number in range(5):
            output.write(frame._replace(number=number), NOTHING)
        if stop == "full":
            monkeypatch.setattr(video_file, "has_no_room", lambda *_: True)
            output.write(frame._replace(number=5), NOTHING)
        raise stop
    if stop == "full":
        assert "film.mp4 could not be written any further: the disk is full" in str(raised.value)
    assert len(list(Video(str(out / "film.mp4")))) == 5
    assert len(json.loads((out / "detections.json").read_text())) == 5
    assert sorted(path.name for path in out.iterdir()) == ["detections.csv", "detections.json", "film.mp4"]


def test_a_video_is_kept_where_the_tables_cannot_be_ended(tmp_path, images, monkeypatch):
    def full(*_):
        raise OSError("the disk is full")

    frame, out = Frame(images[0], "film.mp4", 0, 10.0), tmp_path / "out"
    with pytest.raises(OSError, match="the disk is full"), Output(out, ["disc"]) as output:
        output.write(frame, NOTHING)
        monkeypatch.setattr(output._tables, "close", full)
    assert len(list(Video(str(out / "film.mp4")))) == 1


def test_a_display_that_is_named_but_dead_is_no_display(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()


def test_two_processes_do_not_write_into_one_folder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        message = rf"it is in use by process {holder.pid} on .*: wait for it, end it, or choose another --out"
        with pytest.raises(ValueError, match=message), Output(tmp_path, ["disc"]):
            pass
        holder.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]  # nothing was written
    with Output(tmp_path, ["disc"]):  # a dead one's lock is taken over
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detections.csv", "detections.json"]


def test_interruption_leaves_whole_files(tmp_path, images):
    with pytest.raises(KeyboardInterrupt), Output(tmp_path / "out", ["disc"]) as output:
        output.write(Frame(images[0], "a.png", 0), NOTHING)
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
            check_folder(folder, ["photos", str(source)])


def test_files_come_by_name_without_hidden_ones(tmp_path, images):
    for name in ("b.png", "a.png", ".hidden.png"):
        cv2.imwrite(str(tmp_path / name), images[0])
    source = open_source(str(tmp_path))
    assert isinstance(source, Files)
    assert [frame.name for frame in source] == ["a.png", "b.png"]
