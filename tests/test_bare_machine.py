"""The tests can be collected on a machine with Python alone, and no module imports by itself what
such a machine lacks.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frameworks import OPTIONAL, REQUIRED

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent

COLLECT = f"""
import sys
sys.modules.update(dict.fromkeys({OPTIONAL!r}))  # importing one of them fails from here on
import pytest
sys.exit(pytest.main(["--collect-only", "--quiet", "--quiet", "-p", "no:cacheprovider"]))
"""


def imported_at_once(source: str) -> Iterator[str]:
    """Yield the top-level names that a module imports while it is itself imported."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn as nn", {"torch"}),
        ("from keras.layers import Dense", {"keras"}),
        ("if True:\n    import jax", {"jax"}),
        ("class A:\n    import jax", {"jax"}),
        ("def test():\n    import torch", set()),
        ("from . import torch", set()),
    ],
)
def test_imports_of_a_module_are_found_where_they_are_executed(source, names) -> None:
    assert set(imported_at_once(source)) == names


def test_no_test_module_imports_an_optional_framework() -> None:
    found = {
        path.relative_to(TESTS).as_posix(): sorted(names)
        for path in TESTS.rglob("*.py")
        if "data" not in path.parts  # programs that wrote the files there
        and (names := set(imported_at_once(path.read_text(encoding="utf-8"))) & set(OPTIONAL))
    }
    assert not found


def test_every_test_can_be_collected_without_any_optional_framework() -> None:
    environment = {key: value for key, value in os.environ.items() if key != REQUIRED}
    done = subprocess.run(
        [sys.executable, "-c", COLLECT],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/spectra/test_dmd.py" in done.stdout


def test_a_framework_that_must_be_there_stops_the_tests_instead_of_skipping_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/spectra/test_rank.py"],
        cwd=REPOSITORY,
        env=os.environ | {REQUIRED: "no_such_framework"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no_such_framework" in done.stderr
