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
    "export": {
        "export",
        "trainer",
        "edge.engine",
        "edge.bundle",
        "edge.update",
        "edge.filesystem",
        "edge.cancellation",
        # Two bundles are compared by what a station would say with each.
        "edge.analysis",
        "edge.networks",
        *GROUND,
    },
    "fleet": {
        "fleet",
        "edge.contract",
        "edge.errors",
        "edge.command_line",
        "edge.broker_access",
        # A reviewed cell is cut out of its frame as the station read and cut it.
        "edge.camera.image_file",
        "edge.frame",
        "edge.vision.crop",
    },
}
LEARNING = {"torch", "torchvision", "lightning_fabric", "timm", "captum"}
WORKSHOP_ONLY = LEARNING | {
    "PIL",
    "httpx",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "onnx",
    "ray",
    "scipy",
    "sklearn",
    "tqdm",
    "yaml",
}
IO = {"socket", "sqlite3", "paho", "fastapi", "uvicorn", "subprocess", "requests", "http", "urllib"}
# Programs of the workshop that a station runs, which has none of the workshop's packages.
STARTED_BY_A_STATION = ("export/engine_cli.py",)
PURE = ("edge/analysis", "edge/calibration", "edge/vision", "edge/contract", "edge/slide_map")
# What decides about an update or a record's way asks neither disk nor clock.
PURE_RULES = (
    "edge/daemon/supervision_rules.py",
    "edge/outbox/discard.py",
    "edge/outbox/kinds.py",
    "edge/outbox/retention.py",
    "edge/outbox/token_bucket.py",
    "edge/outbox/window.py",
    "edge/update/catalogue.py",
    "edge/update/limits.py",
    "edge/update/rules.py",
    "edge/update/shadowing.py",
    "edge/update/trial.py",
)
OUTER_WORLD = IO | {"os", "pathlib", "shutil", "tempfile", "time", "datetime", "random", "tuf"}

# The rooms of the running station, of which an update's state machine knows nothing.
SERVING = {f"edge.{room}" for room in ("analysis", "camera", "daemon", "outbox", "station", "web")}

# The trainer's rooms, and what each knows of the others beside trainer.errors and trainer.statistics.
ROOMS = {
    "recipes": set(),
    "augment": set(),
    "networks": {"recipes"},
    "sweep": {"recipes"},
    "evaluation": {"augment"},
    "report": {"evaluation", "recipes"},
    "data": {"evaluation", "recipes"},
    "classical": {"data", "evaluation", "recipes"},
    "pictures": {"augment", "data", "prefetch", "recipes"},
}
KNOWN_BY_ALL = {"errors", "statistics"}
WITHOUT_TORCH = ("recipes", "augment", "sweep", "evaluation", "data", "classical")


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


def reached(path):
    """The modules of the house that importing ``path`` loads, itself included."""
    waiting, seen = [path], set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(module):
            if name.split(".")[0] in HOUSE:
                place = REPOSITORY.joinpath(*name.split("."))
                waiting += [
                    each for each in (place.with_suffix(".py"), place / "__init__.py") if each.is_file()
                ]
    return seen


@pytest.mark.parametrize("module", STARTED_BY_A_STATION)
def test_what_a_station_starts_needs_nothing_of_the_workshop(module):
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in reached(REPOSITORY / module)
        for name in imports(path)
        if name.split(".")[0] in WORKSHOP_ONLY | {"trainer"}
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


@pytest.mark.parametrize("file", PURE_RULES)
def test_rules_of_an_update_ask_nobody(file):
    assert {name for name in imports(REPOSITORY / file) if name.split(".")[0] in OUTER_WORLD} == set()


def test_updates_know_nothing_of_the_station_that_they_update():
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in modules("edge/update")
        for name in imports(path)
        if any(name == room or name.startswith(room + ".") for room in SERVING)
    ]
    assert modules("edge/update")
    assert strangers == []


def test_health_is_told_and_looks_at_the_machine_and_knows_no_part_of_the_station():
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in modules("edge/health")
        for name in imports(path)
        if name.split(".")[0] == "edge" and not within(name, {"edge.contract", "edge.errors", "edge.health"})
    ]
    assert modules("edge/health")
    assert strangers == []


def rooms_of(path):
    """The rooms of the trainer that a module imports."""
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "trainer" and len(parts) > 1}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_trainer_knows_no_more_than_it_may(room):
    allowed = {room, *ROOMS[room], *KNOWN_BY_ALL}
    known = {path: rooms_of(path) for path in modules(f"trainer/{room}")}
    assert known
    assert {str(path): rooms - allowed for path, rooms in known.items() if rooms - allowed} == {}


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_what_reads_plans_and_judges_needs_no_torch(room):
    shared = [REPOSITORY / "trainer" / f"{each}.py" for each in KNOWN_BY_ALL]
    strangers = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in [*modules(f"trainer/{room}"), *shared]
        for name in imports(path)
        if name.split(".")[0] in LEARNING
    ]
    assert strangers == []
    assert ROOMS[room] <= set(WITHOUT_TORCH), "nor by way of another room"


def test_only_the_experiment_brings_sweep_report_and_training_together():
    composing = {
        path.relative_to(REPOSITORY / "trainer").parts[0]
        for path in modules("trainer")
        if rooms_of(path) & {"sweep", "report"}
    }
    assert composing == {"experiment", "sweep", "report"}
    knowing = {path for path in modules("trainer") if "experiment" in rooms_of(path)}
    outside = {path for path in knowing if path.parent.name != "experiment"}
    trainer = REPOSITORY / "trainer"
    assert outside == {trainer / "cli.py", trainer / "quantization" / "opening.py"}


def test_no_module_is_named_for_nothing():
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path for folder in HOUSE for path in modules(folder) if Path(path).stem in vague] == []
