"""Modules that no import statement reaches."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_module(name: str, path: Path) -> ModuleType:
    """The file as a module of its own, anew in each call."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_build() -> ModuleType:
    """csrc/build.py."""
    return load_module("csrc_build", ROOT / "csrc" / "build.py")
