"""Videos: what browsers play, upright, at the source's rate; and what is left where PyAV is missing."""

import errno
import http.server
import queue
import shutil
import struct
import subprocess
import threading
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from lib.inference import video_file
from lib.inference.edit_lists import shown_frames
from lib.inference.sources import Video, open_source
from lib.inference.video_file import VideoFile, frame_rate
from lib.utils.optional import MissingPackage

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = """<!doctype html><video id="video" src="film.mp4" muted></video><script>
const video = document.getElementById("video");
const say = (...words) => fetch("/said", {method: "POST", body: words.join(" ")});
video.onerror = () => say("error", video.error.code);
video.onloadeddata = () => video.play();
video.onended = () => say(video.videoWidth, video.videoHeight, video.duration, video.currentTime);
</script>"""


class Listener(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, in whole files only, and keeps what a page says."""

    said: queue.Queue = queue.Queue()

    def do_POST(self):  # noqa: N802 - the library's name
        self.said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def said_in_browser(folder):
    """What the page index.html of a folder says in Chromium."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Listener, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
        address = f"http://127.0.0.1:{server.server_port}/index.html"
        command = [CHROMIUM, *options, "--remote-debugging-port=0", address]  # the port keeps it running
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return Listener.said.get(timeout=60)
            finally:
                browser.terminate()
                server.shutdown()


def write(path, frames, fps=10.0, size=None):
    video = VideoFile(path, fps, size or frames[0].shape[1::-1])
    for frame in frames:
        video.write(frame)
    video.close()
    return path


def colored(height, width):
    """Red, green and blue from left to right."""
    frame = np.zeros((height, width, 3), np.uint8)
    for place, channel in enumerate((2, 1, 0)):
        frame[:, place * width // 3 : (place + 1) * width // 3, channel] = 255
    return frame


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(29.97002997, (30000, 1001)), (29.97, (30000, 1001)), (23.976, (24000, 1001)), (59.94, (60000, 1001))]
    + [(30.0, (30, 1)), (25.0, (25, 1)), (12.5, (25, 2)), (0.5, (1, 2)), (30.0003, (30, 1)), (1000.0, (1000, 1))],
)
def test_rate_is_the_fraction_that_a_number_stands_for(fps, rate):
    assert frame_rate(fps) == Fraction(*rate)


def test_file_is_h264_of_even_size_with_its_rate_and_its_index_first(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV: make extras")
    path = write(tmp_path / "a film ü.mp4", [colored(65, 97)] * 30, 29.97)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.height, stream.width, stream.frames) == (66, 98, 30)
        assert stream.average_rate == Fraction(30000, 1001)
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    frames = list(Video(str(path)))
    assert len(frames) == 30 and frames[0].fps == pytest.approx(30000 / 1001)
    assert np.abs(frames[29].image[32, [10, 48, 80]] - 255.0 * np.eye(3)[::-1]).max() < 8
    assert np.abs(frames[0].image[-1].astype(int) - frames[0].image[-2]).max() < 8  # the added row is a copy


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_plays_the_file_to_its_end(tmp_path):
    pytest.importorskip("av", reason="needs PyAV: make extras")
    rng = np.random.default_rng(0)
    write(tmp_path / "film.mp4", [rng.integers(0, 256, (64, 97, 3), np.uint8) for _ in range(12)])
    (tmp_path / "index.html").write_text(PAGE)
    assert said_in_browser(tmp_path) == "98 64 1.2 1.2"  # width, height, seconds, and where it stopped


def rotated(path, turns):
    """Has a video say that it is to be turned by 90 degrees clockwise so many times, as those of phones do."""
    content, one = bytearray(path.read_bytes()), 1 << 16
    a, b = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def trimmed(path, first, seconds):
    """Has a video of 10 frames per second show only those from ``first`` on, as phones trim it."""
    content = bytearray(path.read_bytes())
    ticks = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0] // 10
    struct.pack_into(">Ii", content, content.index(b"elst") + 12, round(1000 * seconds), first * ticks)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("first", "seconds", "count"), [(0, 3, 30), (4, 2.6, 26), (0, 1.25, 13), (7, 0.5, 5)])
def test_a_trimmed_video_is_whole_and_a_cut_one_is_not(tmp_path, first, seconds, count):
    pytest.importorskip("av", reason="needs PyAV: make extras")
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 96, 3), np.uint8) for _ in range(30)]
    path = trimmed(write(tmp_path / "a.mp4", frames), first, seconds)
    whole = Video(str(path))
    assert len(list(whole)) == count and whole.skipped == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 8])
    cut = Video(str(path))
    assert len(list(cut)) < count and [file.name for file in cut.skipped] == ["a.mp4"]


@pytest.mark.parametrize("kind", [b"trak", b"hdlr", b"mvhd", b"mdhd", b"stts", b"elst"])
def test_a_damaged_edit_list_counts_as_none(tmp_path, kind):
    pytest.importorskip("av", reason="needs PyAV: make extras")
    path = trimmed(write(tmp_path / "a.mp4", [colored(48, 96)] * 30), 4, 2.6)
    assert shown_frames(path, 30) == 26
    content = path.read_bytes()
    place = content.index(kind)
    for damaged in (content[:place], content[: place + 4] + bytes(24) + content[place + 28 :]):
        path.write_bytes(damaged)
        assert shown_frames(path, 30) in (0, 30)


def test_the_rate_of_a_recording_is_that_of_its_frames_and_not_of_its_clock(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV: make extras")
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        for number in range(120):
            frame = av.VideoFrame.from_ndarray(colored(48, 96), format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 50 * number + number % 2, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = Video(str(path))
    assert len(video) == 0  # unknown
    rates = [frame.fps for frame in video]
    assert len(rates) == 120 and rates[0] == pytest.approx(20, abs=0.01)
    assert video.skipped == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_video_of_a_phone_is_seen_and_written_upright(tmp_path, turns):
    upright = colored(48, 96)
    stored = np.ascontiguousarray(np.rot90(upright, turns))
    path = rotated(write(tmp_path / "phone.mp4", [stored] * 3), turns)
    frames = [frame.image for frame in open_source(str(path))]
    assert len(frames) == 3 and frames[0].shape == upright.shape
    assert np.abs(frames[0].astype(int) - upright)[:, [10, 48, 80]].max() < 40
    again = list(Video(str(write(tmp_path / "out.mp4", frames))))
    assert np.abs(again[0].image.astype(int) - upright)[:, [10, 48, 80]].max() < 40


def test_without_pyav_there_is_a_video_and_one_warning_that_says_what_to_install(tmp_path, monkeypatch, caplog):
    def missing(module, purpose):
        raise MissingPackage(f"{purpose} needs the package {module}: pip install {module}")

    monkeypatch.setattr(video_file, "optional_package", missing)
    video_file._pyav.cache_clear()
    try:
        for name in ("a.mp4", "b.mp4"):
            write(tmp_path / name, [colored(48, 96)] * 5)
            assert len(list(Video(str(tmp_path / name)))) == 5
    finally:
        video_file._pyav.cache_clear()
    assert [record.message for record in caplog.records] == [
        "videos are written as MPEG-4 part 2, which no browser plays: "
        "a video that browsers play needs the package av: pip install av"
    ]


def test_frames_that_change_their_size_are_resized_to_the_first(tmp_path):
    path = write(tmp_path / "a.mp4", [colored(48, 96), colored(60, 30)], size=(96, 48))
    assert [frame.image.shape for frame in Video(str(path))] == [(48, 96, 3)] * 2


def test_no_frames_make_no_file_and_no_encoder_is_an_error_that_leaves_none(tmp_path):
    VideoFile(tmp_path / "a.mp4", 10.0, (96, 48)).close()
    with pytest.raises(OSError, match=r"b.mp4 could not be written: there is no encoder for mp4 of 40000x40000 pixels"):
        VideoFile(tmp_path / "b.mp4", 10.0, (40000, 40000))
    assert list(tmp_path.iterdir()) == []


def test_what_the_encoder_cannot_write_names_the_video_and_its_frames_stay(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 10.0, (96, 48))
    video.write(colored(48, 96))
    write_frame = video._encoder.write

    def too_large(_):
        raise OSError(errno.EFBIG, "File too large", "a.tmp1.mp4")

    video._encoder.write = too_large
    with pytest.raises(OSError, match=r"a.mp4 could not be written any further: File too large; it has 1 frames"):
        video.write(colored(48, 96))
    video._encoder.write = write_frame
    video.close()
    assert len(list(Video(str(tmp_path / "a.mp4")))) == 1
