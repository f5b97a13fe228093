"""Modules that have moved can be imported by their old names."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module

import pytest

import koopscope
from koopscope._moved import MOVED
from tests.frameworks import framework


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_gives_what_the_new_one_holds_and_says_so(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ".torch." in MOVED[old] and old.startswith("integrations"):
        framework("torch")
    monkeypatch.delitem(sys.modules, f"koopscope.{old}", raising=False)
    home = import_module(f"koopscope.{MOVED[old]}")
    with pytest.warns(DeprecationWarning, match=f"has moved to {re.escape(home.__name__)}$"):
        module = import_module(f"koopscope.{old}")
    assert module.__name__ == f"koopscope.{old}"
    public = [name for name in vars(home) if not name.startswith("_")]
    assert public
    assert all(getattr(module, name) is getattr(home, name) for name in public)
    assert home.__spec__ is not None
    assert home.__spec__.name == home.__name__


def test_the_analysis_package_has_the_names_of_the_module_it_was() -> None:
    from koopscope.analysis import Analysis, Settings
    from koopscope.analysis.analysis import Analysis as Home

    assert Analysis is Home
    assert Settings is koopscope.Settings


def test_a_name_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"koopscope\.nothing"):
        import_module("koopscope.nothing")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from koopscope.analysis import nothing")


def test_an_old_name_works_in_a_program_that_starts_with_it() -> None:
    program = "from koopscope.runs.opening import open_run; print(open_run.__module__)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "koopscope.runs.detect.opening\n"
