"""What the pages name is there: links, files and packages; and their figures are those of the published results."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from test_import_layers import RANKS

from lib.config import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = ROOT / "docs" / "architecture.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_of_the_project_that_a_page_names_are_there(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    words = re.findall(r"[\w./<>*-]+", " ".join(re.findall(r"`([^`]+)`", prose)))
    tops = ("lib/", "tools/", "tests/", "experiments/", "docs/", "csrc/", ".ci/")
    named = {word.rstrip(".") for word in words if word.startswith(tops) and not re.search("[<>*]", word)}
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


SCRIPTS = [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("tools/bench/*.py")]


@pytest.mark.parametrize("file", [*PAGES, *SCRIPTS], ids=lambda file: str(file.relative_to(ROOT)))
def test_a_remark_beside_a_command_is_a_comment_of_the_shell(file):
    """Otherwise its words become arguments of the command that a reader pastes."""
    lines = file.read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in lines if re.match(r" *(python|torchrun|make) \S", line)]
    assert [command for command in commands if re.search(r"\S {2,}(?!#)\S", command)] == []


def test_every_room_has_its_line():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    for path in (ROOT / "lib").iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        assert re.search(rf"^  {name} ", text, re.MULTILINE) or name in ("__init__.py", "__pycache__/", "py.typed")


def test_ranks_are_those_of_the_test_of_imports():
    block = re.search(r"```\n(structures.*?)\ntrain\.py", ARCHITECTURE.read_text(encoding="utf-8"), re.DOTALL)
    ranks = [set(line.split(" | ")) for line in block[1].splitlines()]
    assert ranks == [{name.removeprefix("lib.") for name in rank} for rank in RANKS]


def torchvision_flags():
    """What the table of torchvision's flags names as ours, text by text."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = re.search(r"## From torchvision's flags\n(.*?)\n## ", page, re.DOTALL)[1]
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|[^|]*\|$", section, re.MULTILINE)
    return [text for cell in rows[2:] for text in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("text", [text for text in torchvision_flags() if re.match(r"[a-z]+\.|--cfg=", text)])
def test_what_stands_for_a_flag_of_torchvision_loads(text):
    is_experiment = text.startswith("--cfg=")
    source = ROOT / text.removeprefix("--cfg=") if is_experiment else ROOT / "experiments/vgg16/torchvision300.yml"
    overrides = [] if is_experiment else re.split(r" (?=\w+\.\w+=)", text)
    loaded = load_config(source, overrides)
    for override in overrides:
        value = loaded
        for key in override.partition("=")[0].split("."):
            value = value[key]
        assert value is not None


def test_the_table_of_flags_has_few_texts_that_are_no_override():
    others = {text for text in torchvision_flags() if not re.match(r"[a-z]+\.|--cfg=", text)}
    assert others == {"--resume", "python test.py --checkpoint=FILE", "torchrun"}


def published(name: str) -> dict[str, float]:
    return json.loads((ROOT / "docs/results/real" / f"{name}.json").read_text())["metrics"]


def test_the_results_on_real_images_are_those_of_the_published_runs():
    runs = ["hituav_half_hour", "hituav_thermal", "hituav_thermal_1", "hituav_thermal_7200", "hituav_thermal_7200_1"]
    runs += ["hituav_varied_7200", "hituav_varied_7200_1"]
    runs += ["deeppcb_half_hour", "deeppcb_inspection", "deeppcb_inspection_1"]
    table = (ROOT / "docs" / "training.md").read_text().split("| data | experiment |")[1].split("\n\n")[0]
    rows = [[float(cell) for cell in row.split("|")[5:-1]] for row in table.splitlines()[2:]]
    keys = ("AP", "AP50", "AP75", "AP_small", "AP_medium")
    for run, row in zip(runs, rows, strict=True):
        assert row == pytest.approx([published(run)[key] for key in keys], abs=0.0025), run  # half precision


@pytest.mark.parametrize(
    ("row", "run"),
    [
        ("more varied images: `light/thermal_long.yml`, seed 0", "hituav_varied_7200"),
        ("the same, seed 1", "hituav_varied_7200_1"),
        ("`medium.yml` with the augmentation, Muon and the frozen rows of `thermal.yml`, seed 0", "hituav_medium_7200"),
    ],
)
def test_long_trainings_have_the_published_results(row, run):
    text = (ROOT / "docs/recipe.md").read_text()
    ((epochs, cells),) = re.findall(rf"^\| {re.escape(row)} \| (\d+) \| ([\d. |]+) \| \+", text, re.MULTILINE)
    shown = [float(cell) for cell in cells.split("|")]
    keys = ("AP", "AP50", "AP75", "AP_small")
    assert shown == pytest.approx([published(run)[key] for key in keys], abs=0.0025)  # half precision
    assert int(epochs) == json.loads((ROOT / f"docs/results/real/{run}.json").read_text())["epochs"]


def test_the_table_of_a_test_is_that_of_the_published_result():
    text, metrics = (ROOT / "docs/evaluation.md").read_text(), published("hituav_varied_7200")
    for key, name in (("", "all"), ("_small", "small"), ("_medium", "medium"), ("_large", "large")):
        shown = float(re.search(rf"^{name} .* (0\.\d+)  0\.\d+  0\.\d+  0\.\d+$", text, re.MULTILINE)[1])
        assert shown == pytest.approx(metrics[f"AP{key}"], abs=0.001), name


@pytest.mark.parametrize(
    ("row", "runs"),
    [
        ("HIT-UAV, `light/thermal.yml`", ["hituav_thermal", "hituav_thermal_1"]),
        ("HIT-UAV, `light/thermal_long.yml`", ["hituav_varied_7200", "hituav_varied_7200_1"]),
        ("DeepPCB, `light/inspection.yml`", ["deeppcb_inspection", "deeppcb_inspection_1"]),
    ],
)
def test_the_readme_shows_the_published_results_on_real_images(row, runs):
    (cells,) = re.findall(rf"^\| {re.escape(row)} \| .*? \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    shown = [[float(value) for value in cell.split(", ")] for cell in cells.split(" | ")]
    for values, key in zip(shown, ("AP", "AP50", "AP_small"), strict=True):
        assert values == pytest.approx([published(run)[key] for run in runs], abs=0.0025), key  # half precision


def test_the_thermal_weights_are_the_published_ones():
    digest = hashlib.sha256((ROOT / "experiments/light/hituav.pth").read_bytes()).hexdigest()
    assert json.loads((ROOT / "docs/results/real/hituav_varied_7200.json").read_text())["sha256"] == digest


def test_detectors_of_the_bmvc_code_are_sent_to_their_own_files():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (row,) = [row for row in page.splitlines() if "ssds.pytorch, the BMVC code |" in row]
    assert row.split("|")[4].strip().startswith("their own YAML file as `--cfg`")
