"""Imports go down only, and siblings of one rank never import each other (DESIGN: the tree)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANKS = [
    {"lib.utils", "lib.structures", "lib.config"},
    {"lib.ops"},
    {"lib.data", "lib.models", "lib.multibox", "lib.evaluation", "lib.optim"},
    {"lib.legacy"},
    {"lib.checkpoint"},
    {"lib.build"},
    {"lib.engine", "lib.inference"},
    {"lib.timing", "lib.study"},
]
RANK = {package: rank for rank, packages in enumerate(RANKS) for package in packages}
# The lowest rank is one family: a config is checked by lookup, a log is a util.
FAMILY = RANKS[0]


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.append(node.module)
    return [name for name in found if name.startswith("lib.")]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "lib").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_imports_go_down_only(path):
    own = package_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own == "lib.__init__":
        return
    for imported in {package_of(name) for name in imports_of(path)} - {own}:
        is_family = {own, imported} <= FAMILY
        assert is_family or RANK[imported] < RANK[own], f"{path.relative_to(ROOT)} imports {imported}"


def test_every_package_has_a_rank():
    modules = {
        f"lib.{path.stem}" for path in (ROOT / "lib").iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert modules - {"lib.__init__", "lib.__pycache__"} == set(RANK)


def test_no_torchvision_anywhere():
    for path in [*ROOT.glob("*.py"), *(ROOT / "lib").rglob("*.py"), *(ROOT / "requirements.txt",)]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [
            line
            for line in lines
            if line.strip().startswith(("import torchvision", "from torchvision", "torchvision"))
        ]
