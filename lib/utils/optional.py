"""Packages that only one part of the framework needs, and that need not be installed: requirements-extras.txt, and
requirements-litert.txt for those that need an environment of their own.
"""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

REPORTERS = ("openvino_telemetry",)  # by which openvino and nncf tell their makers that they are used
ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements-extras.txt"
LITERT = ROOT / "requirements-litert.txt"
LITERT_VENV = ".venv-extras"  # which make test-extras builds


class MissingPackage(ValueError):
    """An optional package is not installed, or cannot be loaded."""


def optional_package(module: str, purpose: str) -> ModuleType:
    """The package ``module``, loaded when it is wanted, so that nothing else waits for it or lacks it. It reports to
    nobody: the packages that would do that are kept from being loaded.

    Args:
        module: as ``import`` takes it, such as ``rasterio`` or ``scipy.optimize``.
        purpose: what needs the package, as the start of a sentence: ``a GeoTIFF``.

    Raises:
        MissingPackage: one line with what to install.
    """
    for reporter in REPORTERS:
        sys.modules.setdefault(reporter, None)  # type: ignore[arg-type] # None makes its import fail
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0].replace("_", "-")
        pinned = _pinned(name, REQUIREMENTS)
        advice = f"pip install {pinned or name}, or all optional packages by make extras"
        if pinned is None and _pinned(name, LITERT):
            advice = f"make test-extras, and run this by {LITERT_VENV}/bin/python"
        raise MissingPackage(
            f"{purpose} needs the package {name}, which is not usable here ({error}): {advice}"
        ) from None


def _pinned(name: str, requirements: Path) -> str | None:
    """The line of a package in a file of requirements; None too where that file was not copied along."""
    text = requirements.read_text() if requirements.is_file() else ""
    line = re.search(rf"^{re.escape(name)}==\S+", text, re.MULTILINE)
    return line and line.group()
