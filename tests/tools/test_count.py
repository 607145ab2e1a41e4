"""tools/count.py: rows of one detector, and the table of all."""

from pathlib import Path

import pytest

from tools import count as tool

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_rows_and_costs_are_printed(capsys):
    tool.main([f"--cfg={ROOT}/experiments/mobilenet_v1/S1L0_dual.yml"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["backbone.layers.0", "Conv", "1", "1", "32", "928", "77.76"]
    assert lines[3].split()[1:5] == ["DepthwiseSeparable", "2", "2", "128"]
    assert lines[-3].split() == ["all", "16,533,002", "10408.03"]
    assert lines[-2].startswith("maps 38x38, 19x19, 5x5, 3x3, 2x2, 1x1; 11,062 priors")
    assert lines[-1].endswith("2, 4, 6, 12")


def test_table_of_the_docs_has_every_experiment():
    files = {f"{path.parent.name}/{path.stem}" for path in (ROOT / "experiments").glob("*/*.yml")}
    table = [line.split("]")[0].removeprefix("| [") for line in DOCUMENT.splitlines() if line.startswith("| [")]
    assert sorted(table) == sorted(name for name in files if not name.startswith("_base_"))


@pytest.mark.parametrize(
    "name", ["mobilenet_v1/S1L0", "vgg16/voc512", "efficientnet/b3_S1L0_dual", "mobilenext/fpn320"]
)
def test_lines_of_the_docs_are_what_the_command_prints(name):
    assert tool.experiment_line(ROOT / "experiments" / f"{name}.yml") in DOCUMENT


def test_a_document_without_the_marks_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "experiment_line", lambda path, _: path.stem)
    (tmp_path / "plain.md").write_text("nothing")
    with pytest.raises(ValueError, match="must have the marks"):
        tool.main(["--all", f"--out={tmp_path / 'plain.md'}"])
    assert (tmp_path / "plain.md").read_text() == "nothing"


def test_settings_count_in_the_table_of_all_and_not_in_the_docs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "experiment_line", lambda path, overrides: " ".join(overrides))
    tool.main(["--all", "input.size=[512,512]"])
    assert set(capsys.readouterr().out.splitlines()[2:]) == {"input.size=[512,512]"}
    with pytest.raises(
        ValueError, match="--out must be of the experiments as they are; got input.size=.512,512.: leave"
    ):
        tool.main(["--all", f"--out={tmp_path / 'a.md'}", "input.size=[512,512]"])
