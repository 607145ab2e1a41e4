"""An optional package that is missing is one line with what to install."""

import importlib
import subprocess
import sys

import pytest

from lib.utils import optional
from lib.utils.optional import REQUIREMENTS, MissingPackage, optional_package


def test_package_that_is_there_is_the_module():
    assert optional_package("importlib", "a test") is importlib


def test_missing_package_is_one_line_with_the_pinned_version(monkeypatch):
    def fail(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingPackage) as caught:
        optional_package("scipy.optimize", "demo.py --track")
    pinned = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("scipy=="))
    assert str(caught.value) == (
        "demo.py --track needs the package scipy, which is not usable here (No module named 'scipy.optimize'): "
        f"pip install {pinned}, or all optional packages by make extras"
    )


def test_without_the_file_of_requirements_no_version_is_told(monkeypatch, tmp_path):
    for name in ("REQUIREMENTS", "LITERT"):
        monkeypatch.setattr(optional, name, tmp_path / "missing.txt")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingPackage, match="pip install rasterio, or all optional packages by make extras"):
        optional_package("rasterio", "a GeoTIFF")


def test_nothing_optional_is_imported_by_the_predictor():
    """``lib.inference`` loads where no optional package is installed."""
    names = {"openvino", "nncf", "rasterio", "av", "scipy", "ai_edge_litert"}
    code = f"import sys, demo; print(sorted({names} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_packages_that_report_their_use_are_kept_from_it():
    code = (
        "from lib.utils.optional import optional_package\n"
        "openvino = optional_package('openvino', 'a test')\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__)"
    )
    pytest.importorskip("openvino", reason="needs openvino: make extras")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
