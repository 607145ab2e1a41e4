"""Imports go down only, also those made at run time; siblings never import each other, and nothing goes in a circle."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANKS = [
    {"lib.structures"},
    {"lib.utils"},
    {"lib.ops", "lib.optim"},
    {"lib.data", "lib.models", "lib.evaluation"},
    {"lib.multibox"},
    {"lib.legacy"},
    {"lib.checkpoint"},
    {"lib.config_checks"},
    {"lib.config"},
    {"lib.build_data"},
    {"lib.build"},
    {"lib.inference"},
    {"lib.engine"},
    {"lib.timing"},
    {"lib.study"},
]
RANK = {package: rank for rank, packages in enumerate(RANKS) for package in packages}
SCRIPTS = ("train", "test", "demo", "tools")  # above all ranks


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted((ROOT / "lib").rglob("*.py"))}


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def name_in_call(node: ast.Call) -> list[str]:
    """What ``import_module("lib.x")`` and ``__import__("lib.x")`` import; of an f-string what is sure of it.

    ``optional_package(name)`` is where a name may be hidden: its callers are seen instead.
    """
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in ("import_module", "__import__", "optional_package") or not node.args:
        return []
    argument = node.args[0]
    if isinstance(argument, ast.JoinedStr) and argument.values:
        argument = argument.values[0]
    assert isinstance(argument, ast.Constant), f"line {node.lineno}: the name of the module must be visible"
    return [argument.value.rstrip(".")]


def imports_of(source: str) -> list[str]:
    """The modules of lib, and the scripts, that a text imports, at its top or inside of functions."""
    imported = []
    tree = ast.parse(source)
    hidden = [part for part in ast.walk(tree) if isinstance(part, ast.FunctionDef) and part.name == "optional_package"]
    inside = {node for part in hidden for node in ast.walk(part)}
    for node in ast.walk(tree):
        if node in inside:
            continue
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            imported += [name if name in FILES else node.module for name in names]
        elif isinstance(node, ast.Call):
            imported += name_in_call(node)
    return [name for name in imported if name.startswith("lib.") or name.split(".")[0] in SCRIPTS]


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import lib.ops", ["lib.ops"]),
        ("def f():\n    from lib.utils import lookup, log", ["lib.utils.lookup", "lib.utils.log"]),
        ("from lib.ops import nms_in_no_module", ["lib.ops"]),
        ('importlib.import_module("lib.legacy")', ["lib.legacy"]),
        ('import_module(f"lib.ops.{name}")', ["lib.ops"]),
        ('__import__("lib.engine")', ["lib.engine"]),
        ('optional_package("lib.data", "a test")', ["lib.data"]),
        ("def optional_package(module):\n    import_module(module)", []),
        ("import tools.bench.kernels", ["tools.bench.kernels"]),
        ("import os, lib", []),
    ],
)
def test_every_way_to_import_is_seen(source, imported):
    assert imports_of(source) == imported


def test_an_import_by_a_hidden_name_is_refused():
    with pytest.raises(AssertionError, match="must be visible"):
        imports_of("import_module(name)")


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down_only(module):
    own = package_of(module)
    for imported in {package_of(name) for name in imports_of(FILES[module].read_text("utf-8"))} - {own}:
        assert own != "lib", f"lib/__init__.py imports {imported}"
        assert RANK.get(imported, len(RANKS)) < RANK[own], f"{module} imports {imported}"


def test_no_module_imports_itself_in_a_circle():
    graph = {
        module: {name for name in imports_of(path.read_text("utf-8")) if name in FILES and name != module}
        for module, path in FILES.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_every_package_has_a_rank():
    assert {package_of(module) for module in FILES} - {"lib"} == set(RANK)


def test_no_torchvision_anywhere():
    for path in [*ROOT.glob("*.py"), *(ROOT / "lib").rglob("*.py"), *(ROOT / "requirements.txt",)]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [
            line for line in lines if line.strip().startswith(("import torchvision", "from torchvision", "torchvision"))
        ]
