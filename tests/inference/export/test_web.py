"""The page for browsers finds, in a real one and from the disk, what ONNX Runtime finds."""

import json
from functools import partial

import chromium
import cv2
import numpy as np
import pytest
import torch

from lib.inference import Tiles
from lib.inference.export import web
from lib.inference.export.agreement import matching_rows
from lib.inference.model_file import load_detector
from lib.inference.onnx_model import OnnxModel
from lib.inference.tiles import WindowDetections, detect_in_tiles, merge, tile_windows
from lib.structures import Detections
from lib.utils.packages import PackageError

TILES = Tiles((500, 640))
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def pages(spread_detector, tmp_path_factory):
    """model.onnx, and index.html in both forms: {onnx, folder, single: path}."""
    pytest.importorskip("onnxscript", reason="needs onnxscript: make")
    from lib.inference.export.onnx import onnx_bytes

    if chromium.PROGRAM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    try:
        web.runtime_parts()
    except PackageError as error:
        pytest.skip(str(error))
    folder, model = tmp_path_factory.mktemp("web"), onnx_bytes(spread_detector)
    (folder / "model.onnx").write_bytes(model)
    forms = ("folder", "single")
    pages = {
        name: web.write_page(folder / name, model, spread_detector, TILES, single=name == "single")[0] for name in forms
    }
    return {"onnx": folder / "model.onnx", **pages}


@pytest.fixture(scope="module")
def tab(pages, tmp_path_factory):
    """A page of a browser that runs as long as this file's tests."""
    with chromium.browser(tmp_path_factory.mktemp("profile"), *FAKE_CAMERA) as tab:
        yield tab


def opened(tab, path):
    """The tab with this page, which is loaded unless it is there already."""
    tab.events.clear()
    if tab.run("location.href") != path.as_uri():
        tab.open(path)
        tab.wait("document.body.dataset.state === 'ready'")
    return tab


def search(tab, picture):
    """Chooses a picture as a user does, and gives what the page found."""
    tab.run("delete document.body.dataset.state")
    tab.choose("file", picture)
    tab.wait("['done', 'failed'].includes(document.body.dataset.state)")
    return tab.run("result")


def save_picture(path, height, width):
    """Noise that stays noise where it is made smaller, without loss."""
    cells = np.random.default_rng(3).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    cv2.imwrite(str(path), cells.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
    return path


def run_onnx(model, windows):
    """The detections of ONNX Runtime in windows as they are: the model resizes them."""
    for window in windows:
        *values, counts = model(window[None])
        yield Detections(*(value[0, : int(counts[0])] for value in values))


@pytest.mark.parametrize(("form", "size"), [("single", (2000, 3000)), ("folder", (131, 200)), ("folder", (700, 300))])
def test_boxes_are_those_of_onnx_runtime(pages, tab, tmp_path, form, size):
    picture = save_picture(tmp_path / "a.png", *size)
    result = search(opened(tab, pages[form]), picture)
    windows = tile_windows(size, TILES.size, TILES.overlap)
    assert result["windows"] == (len(windows) + 1 if len(windows) > 1 else 1)
    assert (result["height"], result["width"]) == size
    expected = detect_in_tiles(partial(run_onnx, OnnxModel(pages["onnx"])), cv2.imread(str(picture)), TILES)
    columns = [[row[name] for row in result["detections"]] for name in ("box", "score", "label")]
    found = Detections(*map(torch.tensor, columns))
    rows = matching_rows(expected, found)  # other rows than its own only among equal scores
    assert rows is not None
    torch.testing.assert_close(found.scores[rows], expected.scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.boxes[rows], expected.boxes, atol=1e-2, rtol=0)
    assert len(rows) >= 20
    requests = [
        event["params"]["request"]["url"] for event in tab.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert {url.split(":")[0] for url in requests} <= {"file", "blob"}
    assert not [event for event in tab.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]


def test_windows_and_merging_are_those_of_python(pages, tab):
    opened(tab, pages["folder"])
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width, tall, wide = rng.integers(20, 900, 4).tolist()
        overlap = rng.choice([0, 0.1, 0.25, 0.5]).item()
        expected = tile_windows((height, width), (tall, wide), overlap).tolist()
        expected = [[0, 0, width, height], *expected] if len(expected) > 1 else expected
        assert tab.run(f"windowsOf({height}, {width}, [{tall}, {wide}], {overlap})") == expected
    for count in [0, *rng.integers(1, 60, 49).tolist()]:
        low = rng.integers(0, 60, (count, 2))
        boxes = np.concatenate([low, low + rng.integers(1, 40, (count, 2))], axis=1).astype(np.float32)
        scores = rng.choice([0.25, 0.5, 0.75, 1], count).astype(np.float32)  # ties among them
        labels, windows, cut = rng.integers(1, 3, count), rng.integers(0, 4, count), rng.integers(0, 2, count) > 0
        columns = [torch.from_numpy(values) for values in (boxes, scores, labels, windows, cut)]
        names = ("box", "score", "label", "window", "cut")
        rows = [
            dict(zip(names, row, strict=True)) for row in zip(*(column.tolist() for column in columns), strict=True)
        ]
        expected = merge(WindowDetections(*columns), TILES)
        merged = tab.run(f"merge({json.dumps(rows)}, {TILES.threshold})")
        assert [row["box"] for row in merged] == expected.boxes.tolist()
        assert [row["score"] for row in merged] == expected.scores.tolist()
        assert [row["label"] for row in merged] == expected.labels.tolist()


def test_threshold_table_and_downloads_show_the_same(pages, tab, tmp_path):
    opened(tab, pages["folder"])
    result = search(tab, save_picture(tmp_path / 'a "b".png', 150, 210))
    scores = sorted(row["score"] for row in result["detections"])
    level = round(scores[len(scores) // 2], 3)
    tab.run("threshold.step = 0.001")
    tab.run(f"threshold.value = {level}; threshold.oninput()")
    kept = [row for row in result["detections"] if row["score"] >= level]
    assert 0 < len(kept) < len(scores)
    assert tab.run("document.querySelectorAll('#rows tr').length") == len(kept)
    (content,) = json.loads(tab.run("asJson()"))
    assert [content[key] for key in ("file", "frame", "height", "width")] == ['a "b".png', 0, 150, 210]
    assert len(content["detections"]) == len(kept)
    first = content["detections"][0]
    assert (first["label"], first["name"]) == (kept[0]["label"], ["disc", "ring"][kept[0]["label"] - 1])
    assert first["box"] == pytest.approx(kept[0]["box"], abs=0.0051)
    lines = tab.run("asCsv()").splitlines()
    assert lines[0] == "file,frame,name,score,x1,y1,x2,y2"
    assert lines[1].startswith(f'"a ""b"".png",0,{first["name"]},')
    assert len(lines) == len(kept) + 1


def test_what_is_no_picture_is_one_line_and_the_page_goes_on(pages, tab, tmp_path):
    opened(tab, pages["folder"])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    search(tab, tmp_path / "bad.png")
    assert tab.run("document.body.dataset.state") == "failed"
    assert tab.run("document.getElementById('status').textContent").startswith("bad.png could not be used: ")
    assert search(tab, save_picture(tmp_path / "a.png", 90, 80))["width"] == 80


def test_nothing_leaves_the_machine(pages, tab):
    opened(tab, pages["folder"])
    sent = "fetch('https://127.0.0.1:9/').then(() => 'sent', () => 'refused')"
    assert tab.run(sent) == "refused"
    texts = [event["params"]["entry"]["text"] for event in tab.events if event["method"] == "Log.entryAdded"]
    assert any("Content Security Policy" in text for text in texts)


def test_a_picture_of_the_camera_is_searched(pages, tab):
    opened(tab, pages["folder"])
    tab.run("document.getElementById('camera').onclick()")
    tab.wait("document.getElementById('video').videoWidth > 0")
    tab.run("document.getElementById('take').onclick()")
    tab.wait("document.body.dataset.state === 'done'")
    assert tab.run("result.file") == "camera"
    assert tab.run("result.width === source.width && result.width > 0")
    assert tab.run("document.getElementById('video').srcObject === null")


def test_tiles_that_the_page_does_not_know_are_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="tiles of a page must be merged by nms; got fusion"):
        web.write_page(tmp_path, b"", load_detector(checkpoint), Tiles(64, merge="fusion"))
    assert not list(tmp_path.iterdir())


def test_names_of_classes_cannot_break_the_page(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "runtime_parts", lambda: {"code": b"1", "binary": b"2"})
    loaded = load_detector(checkpoint)._replace(classes=("</script><b>", "ring"))
    files = web.write_page(tmp_path / "folder", b"model", loaded)
    text = files[0].read_text()
    assert [file.name for file in files] == ["index.html", "runtime.js", "model.js"]
    assert "<b>" not in text
    assert 'const MODEL = "' in files[2].read_text()
    assert [path.name for path in web.write_page(tmp_path / "single", b"model", loaded, single=True)] == ["index.html"]
    assert 'const MODEL = "' in (tmp_path / "single" / "index.html").read_text()
