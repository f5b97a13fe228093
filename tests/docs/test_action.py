"""The GitHub action and the pre-commit hook do as written what a workflow would have them do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks import framework

yaml = framework("yaml")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A workflow's folder with two runs, and ``koopscope`` on its path."""
    for name in ("mlp_sgd.h5", "diverging.h5"):
        shutil.copy(ROOT / "sample_runs" / name, tmp_path)
    place = tmp_path / "bin"
    place.mkdir()
    command = place / "koopscope"
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m koopscope "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_action(folder: Path, **inputs: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Return the check step's process and its outputs, with the action's defaults."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    values = {name: each.get("default", "") for name, each in action["inputs"].items()} | inputs
    (step,) = (step for step in action["runs"]["steps"] if step.get("id") == "check")
    environment = {}
    for name, expression in step["env"].items():
        environment[name] = values[expression.strip("${} ").removeprefix("inputs.")]
    output = folder / "output"
    output.touch()
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        env={**os.environ, **environment, "GITHUB_OUTPUT": str(output)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, output.read_text()


def test_a_run_that_fails_fails_the_step(folder):
    done, outputs = run_action(folder, runs="*.h5")
    assert done.returncode == 1, done.stderr
    assert outputs == "exit-code=1\n"
    assert "::error" in done.stdout
    assert "<!DOCTYPE html>" in (folder / "koopscope.html").read_text()


def test_a_healthy_run_passes(folder):
    done, outputs = run_action(folder, runs="mlp_sgd.h5", report="", arguments="--strict")
    assert (done.returncode, outputs) == (0, "exit-code=0\n"), done.stderr
    assert not (folder / "koopscope.html").exists()


def test_what_a_workflow_passes_on_is_no_command(folder):
    done, _ = run_action(folder, runs="mlp_sgd.h5; touch stolen", arguments="$(touch stolen)")
    assert done.returncode == 2
    assert not (folder / "stolen").exists()


def test_no_file_is_said(folder):
    done, _ = run_action(folder, runs="absent/*.h5")
    assert done.returncode == 2
    assert "no file matches" in done.stdout


def test_the_hook_gets_the_committed_files(folder):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    done = subprocess.run([*hook["entry"].split(), "mlp_sgd.h5"], capture_output=True, check=False)
    assert done.returncode == 0
    assert hook["language"] == "python"
