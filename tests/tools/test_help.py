"""Every script says what it does and how it is called."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT, ROOT / "tools", ROOT / "tools" / "bench")
SCRIPTS = sorted(file for folder in FOLDERS for file in folder.glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_help_begins_with_a_usage_line_and_describes_the_script(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "110")
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    usage, description, *_ = shown.split("\n\n")
    assert usage.startswith(f"usage: {script.name} [-h]")
    assert description[0].isupper() and description.endswith((".", ":", "?"))
    assert f"    python {script.relative_to(ROOT)} " in shown.replace("\n", " \n")  # an example


def test_scripts_that_need_no_torch_do_not_import_it():
    names = ("evaluate", "convert_dataset", "make_synthetic")
    code = f"import sys; {'; '.join(f'import tools.{name}' for name in names)}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "False\n"


def test_help_of_a_script_in_a_process_of_its_own_ends_with_status_0():
    command = [sys.executable, str(ROOT / "tools" / "bench" / "training.py"), "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert run.stdout.startswith("usage: training.py [-h]")
    assert run.stderr == ""
