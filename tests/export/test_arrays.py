"""Everything computed from a run is written under one check and with one form of metadata."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from koopscope import KoopscopeError, __version__
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics.contraction import contraction_of
from koopscope.export.fixed_point import write_fixed_point
from koopscope.export.modes import ModeChoice, write_modes
from koopscope.forecasting.api import write_prediction
from koopscope.forecasting.forecaster import Forecaster
from koopscope.forecasting.plan import ForecastSettings
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run

SAMPLES = Path(__file__).parents[2] / "sample_runs"

Write = Callable[[Run, Path, bool], object]


def modes(run: Run, path: Path, force: bool) -> object:
    return write_modes(run, Analysis.of(run, Settings(rank=2)), path, force=force)


def fixed_point(run: Run, path: Path, force: bool) -> object:
    analysis = Analysis.of(run)
    return write_fixed_point(run, analysis, contraction_of(analysis), path, force=force)


def prediction(run: Run, path: Path, force: bool) -> object:
    settings = ForecastSettings(ahead=2, beyond_trust=True)
    return write_prediction(Forecaster(run, settings), path, force=force)


def masks(run: Run, path: Path, force: bool) -> object:
    settings = PruningSettings()
    with Pruner(run, pruning_basis(run, settings), settings) as pruner:
        pruner.write(path, MaskRequest(0.5), force=force)
    return None


WRITERS: tuple[tuple[Write, str], ...] = (
    (modes, "mlp_sgd.h5"),
    (fixed_point, "iterates/karate_club.h5"),
    (prediction, "mlp_sgd.h5"),
    (masks, "mlp_sgd.h5"),
)


@pytest.mark.parametrize(("write", "sample"), WRITERS)
def test_each_file_says_which_run_it_comes_from(write: Write, sample: str, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    with open_run(SAMPLES / sample) as run:
        write(run, target, False)
    with np.load(target) as arrays:
        facts = json.loads(str(arrays["__metadata__"]))
    assert list(facts)[:2] == ["koopscope", "run"]
    assert facts["koopscope"] == __version__
    assert facts["run"] == Path(sample).name


@pytest.mark.parametrize(("write", "sample"), WRITERS)
def test_no_writer_replaces_the_run_it_reads(write: Write, sample: str, tmp_path: Path) -> None:
    copied = shutil.copy(SAMPLES / sample, tmp_path / "run.h5")
    before = copied.read_bytes()
    with open_run(copied) as run, pytest.raises(KoopscopeError, match="input"):
        write(run, copied, True)
    assert copied.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


@pytest.mark.parametrize(("write", "sample"), WRITERS)
def test_each_writer_keeps_what_exists_unless_told(
    write: Write, sample: str, tmp_path: Path
) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"precious")
    with open_run(SAMPLES / sample) as run:
        with pytest.raises(KoopscopeError, match="exists and is kept"):
            write(run, target, False)
        assert target.read_bytes() == b"precious"
        write(run, target, True)
    assert target.read_bytes() != b"precious"


def test_the_eigenvalues_in_the_file_belong_to_its_modes_where_the_analysis_filters_noise(
    tmp_path: Path,
) -> None:
    target = tmp_path / "modes.npz"
    with open_run(SAMPLES / "mlp_sgd.h5") as run:
        analysis = Analysis.of(run, Settings(rank=3, noise_filter="sobolev"))
        written = write_modes(run, analysis, target, ModeChoice(which=[0]))
    unfiltered = analysis.spectrum(noise_filter="none")
    assert written.eigenvalues[0] == unfiltered.eigenvalues[0]
    assert written.eigenvalues[0] != analysis.spectrum().eigenvalues[0]
