"""The demos: their data, and what happens without a network."""

import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest

from lib.config import load_config
from lib.data import trees
from lib.data.trees import IMAGES, fetch_trees
from lib.study import demos as demo
from lib.utils.packages import PackageError

XML = """<annotation><filename>{name}.png</filename><size><width>90</width><height>70</height></size>
<object><name>Tree</name><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>60</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A made-up package with small images under the names of the real ones."""
    path = tmp_path / "wheel.zip"
    _, picture = cv2.imencode(".png", np.full((70, 90, 3), 80, np.uint8))
    with zipfile.ZipFile(path, "w") as file:
        for name in IMAGES.values():
            file.writestr(f"deepforest/data/{name}.png", picture.tobytes())
            file.writestr(f"deepforest/data/{name}.xml", XML.format(name=name))
    monkeypatch.setattr(trees, "download_wheel", lambda *_: path)


def test_trees_are_two_data_sets_of_one_image(wheel, tmp_path):
    data = fetch_trees(tmp_path / "out")
    assert set(data) == {"train", "test"}
    for part in data.values():
        sample = part.load(0)
        assert part.classes == ("Tree",) and sample.size == (70, 90)
        assert sample.boxes.tolist() == [[10, 20, 30, 60]]


def test_training_sees_tiles_of_the_training_image_and_the_test_the_other_one(wheel, tmp_path):
    for _ in range(2):  # the second run replaces the tiles of the first
        test = demo.prepare_trees(tmp_path / "out")
    assert test.files == [f"{IMAGES['test']}.png"]
    assert [path.name for path in (tmp_path / "out" / "tiles" / "images").iterdir()] == [f"1_{IMAGES['train']}_0_0.png"]


def test_without_the_package_one_line_says_so_and_the_synthetic_demo_runs(monkeypatch, tmp_path, capsys):
    def no_package(_):
        raise PackageError("pip could not download it")

    def stop(out):
        raise KeyboardInterrupt(out)

    monkeypatch.setitem(demo.DEMOS, "trees", demo.DEMOS["trees"]._replace(prepare=no_package))
    monkeypatch.setitem(demo.DEMOS, "synthetic", demo.DEMOS["synthetic"]._replace(prepare=stop, out=tmp_path))
    with pytest.raises(KeyboardInterrupt, match=str(tmp_path)):
        demo.run_demo("trees")
    shown = capsys.readouterr().out
    what = "the photographs cannot be downloaded, so the demo uses generated images instead"
    assert shown == f"{what}: pip could not download it\n"


@pytest.mark.parametrize("name", demo.DEMOS)
def test_experiments_of_a_demo_find_their_data_below_its_folder(name):
    shown = demo.DEMOS[name]
    for detector in demo.NAMES:
        cfg = load_config(shown.experiments / f"{detector}.yml")
        out = str(shown.out.relative_to(demo.ROOT))
        assert cfg.data.train.images.startswith(f"{out}/") and cfg.data.train.annotations.startswith(f"{out}/")
        assert cfg.train.time_limit_s == {"trees": 240, "synthetic": 300}[name] and cfg.run.threads == 1


def test_when_a_training_fails_the_other_one_is_stopped_and_the_log_is_shown(tmp_path):
    (tmp_path / "bad.log").write_text("what went wrong")
    sleeps = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    fails = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(SystemExit, match="what went wrong"):
        demo._wait({"good": sleeps, "bad": fails}, 300.0, tmp_path)
    assert sleeps.wait(timeout=20) != 0
