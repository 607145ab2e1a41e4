"""Packages that only one part of the framework needs, and that need not be installed: requirements-extras.txt."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

REPORTERS = ("openvino_telemetry",)  # by which openvino and nncf tell their makers that they are used
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements-extras.txt"


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
        name = module.split(".")[0]
        found = re.search(rf"^{re.escape(name)}==\S+", REQUIREMENTS.read_text(), re.MULTILINE)
        requirement = found.group() if found else name
        raise MissingPackage(
            f"{purpose} needs the package {name}, which is not usable here ({error}): pip install {requirement}, "
            "or all optional packages by make extras"
        ) from None
