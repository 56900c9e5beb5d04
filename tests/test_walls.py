"""The packages' walls: who may import whom, read from the code itself."""

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

HOUSE = ("edge", "trainer", "export", "fleet")
GROUND = {
    "edge.contract",
    "edge.vision",
    "edge.camera.virtual_slide",
    "edge.errors",
    "edge.frame",
    "edge.command_line",
}
ALLOWED = {
    "edge": {"edge"},
    "trainer": {"trainer", *GROUND},
    "export": {"export", "trainer", "edge.engine", "edge.bundle", *GROUND},
    "fleet": {"fleet", "edge.contract", "edge.errors", "edge.command_line", "edge.broker_access"},
}
WORKSHOP_ONLY = {"torch", "torchvision", "onnx", "sklearn", "scipy", "matplotlib", "tqdm"}
IO = {"socket", "sqlite3", "paho", "fastapi", "uvicorn", "subprocess", "requests", "http", "urllib"}
PURE = ("edge/analysis", "edge/vision", "edge/contract")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder):
    return sorted((REPOSITORY / folder).rglob("*.py"))


def within(name, roots):
    return any(name == root or name.startswith(root + ".") or root.startswith(name + ".") for root in roots)


@pytest.mark.parametrize("package", HOUSE)
def test_a_package_reaches_only_where_it_may(package):
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in HOUSE and not within(name, ALLOWED[package])
    ]
    assert modules(package)
    assert strangers == []


def test_the_station_needs_nothing_of_the_workshop():
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in [*modules("edge"), *modules("fleet")]
        for name in imports(path)
        if name.split(".")[0] in WORKSHOP_ONLY
    ]
    assert strangers == []


@pytest.mark.parametrize("folder", PURE)
def test_pure_code_imports_no_io(folder):
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in modules(folder)
        for name in imports(path)
        if name.split(".")[0] in IO
    ]
    assert strangers == []


def test_no_module_is_named_for_nothing():
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path for folder in HOUSE for path in modules(folder) if Path(path).stem in vague] == []
