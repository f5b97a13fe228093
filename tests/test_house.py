"""The layout holds: data goes one way, no import climbs a floor, nothing imports in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.frameworks import public_names

PACKAGE = Path(__file__).parents[1] / "koopscope"

#: Rooms from the ground up. A room imports only from floors below its own, never from its own
#: floor's other rooms. Imports for the type checker count.
FLOORS = (
    {"_moved", "_types", "_version", "_views", "inert"},
    {"errors", "markup", "messages"},
    {"_threads"},
    {"runs", "spectra", "sobolev"},
    {"engine", "estimator"},
    {"analysis"},
    {"export"},
    {"comparison", "diagnostics", "forecasting", "pruning"},
    {"averaging", "gate", "integrations", "restoring"},
    {"history"},
    {"report", "testing"},
    {"agents", "loggers"},
    {"cli"},
    {"__main__"},
)

#: The rooms inside ``runs``, likewise.
RUNS_FLOORS = (
    {
        "claims",
        "dtypes",
        "interrupts",
        "names",
        "bounded_json",
        "targets",
        "sketches",
        "stamps",
        "handover",
    },
    {"atomic"},
    {"run"},
    {"nodes", "hdf5", "views"},
    {"sketching"},
    {"roles"},
    {"native", "checkpoints"},
    {"detect"},
    {"arrays"},
)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the package's modules that a file imports, inside functions and type checks too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def arrows() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def floor_of(room: str, floors: tuple[set[str], ...]) -> int:
    (floor,) = (k for k, rooms in enumerate(floors) if room in rooms)
    return floor


def climbing(floors: tuple[set[str], ...], depth: int, graph: dict[str, set[str]]) -> list[str]:
    """Return the imports that do not go down, between rooms at one depth of the package."""
    wrong = []
    for name, targets in graph.items():
        here = name.split(".")
        for target in targets:
            there = target.split(".")
            if min(len(here), len(there)) <= depth or here[:depth] != there[:depth]:
                continue
            if here[depth] == there[depth]:
                continue
            if floor_of(there[depth], floors) >= floor_of(here[depth], floors):
                wrong.append(f"{name} imports {target}")
    return wrong


def test_every_room_has_a_floor() -> None:
    rooms = {name.split(".")[1] for name in modules() if "." in name}
    assert rooms == set().union(*FLOORS)


def test_no_import_climbs_a_floor() -> None:
    assert climbing(FLOORS, 1, arrows()) == []


def test_no_import_inside_runs_climbs_a_floor() -> None:
    graph = {name: to for name, to in arrows().items() if name.startswith("koopscope.runs.")}
    assert climbing(RUNS_FLOORS, 2, graph) == []


def test_nothing_imports_in_a_circle() -> None:
    graph = arrows()
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                walk(target, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_an_import_that_climbs_is_found() -> None:
    graph = {"koopscope.spectra.dmd": {"koopscope.cli.main", "koopscope.errors"}}
    assert climbing(FLOORS, 1, graph) == ["koopscope.spectra.dmd imports koopscope.cli.main"]


def test_the_facade_names_what_it_says() -> None:
    import koopscope

    for name in public_names():
        assert getattr(koopscope, name) is not None


#: Lines of a module; a longer one is two things.
MOST_LINES = 400


def test_modules_stay_small() -> None:
    lengths = {name: path.read_text("utf-8").count("\n") for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
