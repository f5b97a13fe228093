"""What weakens the other findings is said: coarse storage, few or uneven snapshots, NaN."""

from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.diagnostics.finding import Finding

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def found(path: Path, name: str) -> Finding:
    return koopscope.analyze(path).finding(name)


def recorded(
    path: Path, snapshots: np.ndarray, steps: np.ndarray | None = None, name: str = "layer.weight"
) -> Path:
    steps = np.arange(len(snapshots)) * 10 if steps is None else steps
    with koopscope.Recorder(path) as recorder:
        for step, weights in zip(steps, snapshots, strict=True):
            recorder.snapshot(int(step), {name: weights})
    return path


def decaying(count: int, dtype: str = "float32", motion: float = 1.0) -> np.ndarray:
    generator = np.random.default_rng(1)
    rest, mode = generator.normal(size=(2, 300))
    return (rest + motion * 0.9 ** np.arange(count)[:, None] * mode).astype(dtype)


def test_bfloat16_storage_of_a_slow_run_is_named_too_coarse() -> None:
    finding = found(SAMPLES / "bfloat16.h5", "precision")
    assert finding.status == "warn"
    assert set(finding.evidence["coarse_tensors"]) == set(finding.evidence["tensors"])


def test_dead_units_are_not_taken_for_coarse_storage() -> None:
    """In lr_too_high 85% of the entries stand still because their units died, not by rounding."""
    finding = found(SAMPLES / "lr_too_high.h5", "precision")
    assert np.mean([t["unchanged"] for t in finding.evidence["tensors"].values()]) > 0.5
    assert finding.status == "pass"


@pytest.mark.parametrize(("motion", "status"), [(1e-2, "pass"), (1e-7, "warn")])
def test_float32_is_judged_by_the_motion_it_has_to_hold(
    tmp_path: Path, motion: float, status: str
) -> None:
    finding = found(recorded(tmp_path / "r.h5", decaying(30, motion=motion)), "precision")
    assert finding.status == status


def test_a_run_in_which_nothing_moves_is_inconclusive(tmp_path: Path) -> None:
    finding = found(recorded(tmp_path / "r.h5", np.ones((8, 5), "float32")), "precision")
    assert finding.status == "inconclusive"
    assert finding.evidence["frozen_tensors"] == ["layer.weight"]


@pytest.mark.parametrize(
    ("count", "status"), [(1, "inconclusive"), (2, "inconclusive"), (3, "warn"), (20, "pass")]
)
def test_few_snapshots_are_said_to_be_few(tmp_path: Path, count: int, status: str) -> None:
    path = recorded(tmp_path / "r.h5", decaying(20)[:count])
    assert found(path, "sampling").status == status


def test_uneven_steps_rest_on_the_longest_even_stretch(tmp_path: Path) -> None:
    steps = np.concatenate([[0, 1, 2, 4, 8], 16 + 10 * np.arange(15)])
    finding = found(recorded(tmp_path / "r.h5", decaying(20), steps), "sampling")
    assert finding.status == "warn"
    assert finding.evidence["snapshots"] == 15
    assert (finding.evidence["first_step"], finding.evidence["last_step"]) == (16, 156)
    assert finding.evidence["spacing_steps"] == 10


def test_a_nan_is_named_with_its_tensor_and_step_and_the_rest_is_analysed(tmp_path: Path) -> None:
    snapshots = decaying(40, "float64")
    snapshots[30, 7] = np.nan
    diagnosis = koopscope.analyze(recorded(tmp_path / "r.h5", snapshots))
    finding = diagnosis.finding("finiteness")
    assert finding.status == "fail"
    assert "layer.weight" in finding.message
    assert "300" in finding.message
    assert (diagnosis.analysis.window.first, diagnosis.analysis.window.stop) == (0, 30)
    leading = diagnosis.spectrum().eigenvalues[0]
    assert abs(leading - 0.9) < 1e-9


def test_the_diverging_sample_is_finite_until_its_last_steps() -> None:
    finding = found(SAMPLES / "diverging.h5", "finiteness")
    assert finding.status == "fail"
    assert finding.evidence["tensors"][0]["first_step"] > 0


def test_one_snapshot_and_no_finite_weight_are_told_in_plain_sentences(tmp_path: Path) -> None:
    one = koopscope.analyze(recorded(tmp_path / "one.h5", decaying(1)))
    for name in ("convergence", "initialization", "stability"):
        assert one.finding(name).message.startswith("1 usable snapshot is too few")
    nothing = koopscope.analyze(recorded(tmp_path / "nan.h5", decaying(20) * np.float32(np.nan)))
    for name in ("convergence", "stability"):
        assert nothing.finding(name).message == f"No weight is finite, so {name} cannot be judged."
    assert nothing.finding("precision").message.startswith("No tensor is finite")
    assert nothing.finding("finiteness").message.endswith("from step 0 on.")


def test_more_delays_than_snapshots_leave_the_other_findings(tmp_path: Path) -> None:
    path = recorded(tmp_path / "run.h5", decaying(20))
    diagnosis = koopscope.analyze(path, delay=100)
    assert not diagnosis.analysis.has_spectrum
    assert diagnosis.finding("convergence").evidence["cluster"] is None
    assert diagnosis.finding("stability").status == "pass"


@pytest.mark.parametrize(("count", "judged"), [(11, False), (12, True)])
def test_twelve_snapshots_are_enough_for_a_verdict(
    tmp_path: Path, count: int, judged: bool
) -> None:
    path = recorded(tmp_path / "run.h5", decaying(count))
    for name in ("convergence", "stability"):
        finding = found(path, name)
        assert ("takes 12" not in finding.message) == judged
    convergence = found(path, "convergence")
    assert convergence.evidence["stop_step"] is None
    # A stop may be called from the twelfth snapshot on, like the finding itself.
    assert len(convergence.evidence["stop_history"]) == int(judged)
    if judged:
        assert found(path, "stability").status == "pass"
