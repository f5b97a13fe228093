"""The pipeline: which weights and which snapshots a number rests on, at every level."""

from dataclasses import replace

import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.analysis.settings import Settings
from koopscope.analysis.summary import summarize
from koopscope.diagnostics.diagnosis import diagnose
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from tests.known_systems import EIGENVALUES, distance, trajectory

SHAPES = {"body.weight": (30, 40), "body.bias": (30,), "head.weight": (10, 30)}


class ArrayRun(Run):
    """A run whose tensors are arrays (T, size)."""

    def __init__(self, arrays: dict[str, np.ndarray], steps: np.ndarray) -> None:
        self.arrays = arrays
        self.passes = 0
        self.description = RunDescription(
            "arrays",
            "test",
            np.asarray(steps, np.int64),
            tuple(
                TensorInfo(name, (values.shape[1],), str(values.dtype))
                for name, values in arrays.items()
            ),
        )

    def read(self, tensor, start, stop, out):
        self.passes += start == 0
        out[:] = self.arrays[tensor.name][:, start:stop]

    def close(self):
        pass


def network(steps=None, **asked) -> ArrayRun:
    whole = trajectory(size=sum(int(np.prod(s)) for s in SHAPES.values()), **asked)
    cuts = np.cumsum([int(np.prod(shape)) for shape in SHAPES.values()])[:-1]
    parts = np.split(whole, cuts, axis=1)
    return ArrayRun(
        dict(zip(SHAPES, parts, strict=True)),
        np.arange(len(whole)) * 10 if steps is None else steps,
    )


def test_every_level_comes_from_one_pass():
    run = network()
    analysis = Analysis.of(run, Settings(rank=6, level="tensor"))
    spectra = list(summarize(analysis).spectra())
    assert [(s.scope.level, s.scope.name, s.observable) for s in spectra] == [
        ("network", "network", "increments"),
        ("network", "network", "weights"),
        ("layer", "body", "increments"),
        ("layer", "head", "increments"),
        ("tensor", "body.weight", "increments"),
        ("tensor", "body.bias", "increments"),
        ("tensor", "head.weight", "increments"),
    ]
    assert run.passes == len(SHAPES)
    for spectrum in spectra:
        if spectrum.observable == "increments":
            assert distance(spectrum.eigenvalues, EIGENVALUES) <= 1e-9


def test_a_scope_is_the_spectrum_of_its_weights_put_together():
    run = network()
    analysis = Analysis.of(run, Settings(rank=6))
    body = np.concatenate([run.arrays["body.weight"], run.arrays["body.bias"]], axis=1)
    np.testing.assert_allclose(
        np.sort_complex(analysis.spectrum("body").eigenvalues),
        np.sort_complex(dmd(gram_of(body), rank=6).eigenvalues),
        atol=1e-9,
    )


def test_running_statistics_belong_to_their_layer_but_not_to_the_network():
    run = network()
    infos = (
        replace(t, kind="buffer") if t.name == "head.weight" else t for t in run.description.tensors
    )
    run.description = replace(run.description, tensors=tuple(infos))
    analysis = Analysis.of(run, Settings(rank=6))
    assert [t.name for t in analysis.members()] == ["body.weight", "body.bias"]
    np.testing.assert_allclose(
        analysis.gram().increments, analysis.gram(Scope("layer", "body")).increments
    )
    assert analysis.scopes("layer") == (Scope("layer", "body"), Scope("layer", "head"))
    assert analysis.motion("head").path_length > 0.0


def test_a_run_of_buffers_alone_is_a_network_of_buffers():
    run = network()
    infos = tuple(replace(tensor, kind="buffer") for tensor in run.description.tensors)
    run.description = replace(run.description, tensors=infos)
    assert Analysis.of(run, Settings(rank=6)).members() == infos


def test_globs_choose_the_weights():
    analysis = Analysis.of(network(), Settings(include=("*.weight",), exclude=("head.*",)))
    assert [tensor.name for tensor in analysis.tensors] == ["body.weight"]
    assert analysis.gram().size == 1200
    with pytest.raises(KoopscopeError, match="no tensor of arrays is left"):
        Analysis.of(network(), Settings(exclude=("*",)))


def test_steps_choose_the_snapshots_both_ends_included():
    analysis = Analysis.of(network(), Settings(window=(50, 150)))
    assert (analysis.window.first, analysis.window.stop) == (5, 16)
    assert Analysis.of(network(), Settings(until=90)).window.snapshots == 10
    assert Analysis.of(network(), Settings(until=90, window=(20, 50))).window.snapshots == 4


def test_until_equals_a_run_that_ended_there():
    run = network(motion=1e-2)
    found = Analysis.of(run).until(150)
    short = {name: values[:16] for name, values in run.arrays.items()}
    expected = Analysis.of(ArrayRun(short, np.arange(16) * 10))
    np.testing.assert_allclose(
        found.gram().increments, expected.gram().increments, rtol=1e-12, atol=1e-15
    )


def test_eigenvalues_are_timed_by_the_spacing_of_the_window():
    analysis = Analysis.of(network([*range(20), 200, 300, 400, 500]), Settings(rank=4))
    assert analysis.spectrum().spacing_steps == 1.0
    analysis = Analysis.of(network([0, 1, 2, 3, *range(100, 2100, 100)]), Settings(rank=4))
    assert (analysis.window.snapshots, analysis.spectrum().spacing_steps) == (20, 100.0)


def test_a_sliding_window_equals_an_analysis_of_that_window():
    whole = Analysis.of(network(), Settings(rank=6))
    part = Analysis.of(network(), Settings(rank=6, window=(40, 190)))
    np.testing.assert_allclose(
        np.sort_complex(whole.spectrum(part=(4, 20)).eigenvalues),
        np.sort_complex(part.spectrum().eigenvalues),
        atol=1e-9,
    )


def test_a_tensor_that_is_never_finite_is_left_out():
    run = network()
    run.arrays["head.weight"][:] = np.nan
    analysis = Analysis.of(run, Settings(rank=6))
    assert [tensor.name for tensor in analysis.finite_tensors] == ["body.weight", "body.bias"]
    assert distance(analysis.spectrum().eigenvalues, EIGENVALUES) <= 1e-9


def test_a_run_that_blows_up_is_analysed_up_to_there():
    run = network()
    run.arrays["body.bias"][20:] = np.inf
    analysis = Analysis.of(run, Settings(rank=6))
    assert (analysis.window.first, analysis.window.stop) == (0, 20)
    assert distance(analysis.spectrum().eigenvalues, EIGENVALUES) <= 1e-8


def test_modes_of_a_layer_live_on_its_own_weights_in_order():
    run = network()
    analysis = Analysis.of(run, Settings(rank=6))
    blocks = list(analysis.modes(run, "body", which=[0]))
    assert [(block.tensor.name, block.start) for block in blocks] == [
        ("body.weight", 0),
        ("body.bias", 0),
    ]
    assert [block.values.shape for block in blocks] == [(1200, 1), (30, 1)]


@pytest.mark.parametrize("snapshots", [1, 2])
def test_too_few_snapshots_give_no_spectrum_and_no_error(snapshots):
    analysis = Analysis.of(network(snapshots=snapshots))
    assert not analysis.has_spectrum
    assert list(summarize(analysis).spectra()) == []


def test_an_unknown_scope_is_named():
    with pytest.raises(KoopscopeError, match="no layer or tensor named 'tail'"):
        Analysis.of(network()).spectrum("tail")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rank": 8.0}, "is not a truncation rule"),
        ({"observable": "speed"}, "unknown observable 'speed'"),
        ({"level": "node"}, "unknown level 'node'"),
        ({"delay": 0}, "delay of 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(KoopscopeError, match=message):
        Settings(**wrong)


def test_motion_is_measured_inside_the_window():
    run = network()
    analysis = Analysis.of(run, Settings(window=(50, 150)))
    whole = np.concatenate(list(run.arrays.values()), axis=1)[5:16]
    motion = analysis.motion("network")
    steps = np.linalg.norm(np.diff(whole, axis=0), axis=1)
    assert motion.path_length == pytest.approx(steps.sum())
    assert motion.displacement == pytest.approx(np.linalg.norm(whole[-1] - whole[0]))
    assert motion.norm == pytest.approx(np.linalg.norm(whole[0]))
    assert motion.directness == pytest.approx(motion.displacement / motion.path_length)


def test_a_run_that_moved_once_is_analysed():
    rng = np.random.default_rng(0)
    weights = np.outer(np.arange(40) >= 7, rng.normal(size=1600)) + rng.normal(size=1600)
    diagnosis = diagnose(Analysis.of(ArrayRun({"a.weight": weights}, np.arange(40))))
    assert {finding.id for finding in diagnosis.findings} >= {"convergence", "stability"}
    assert diagnosis.analysis.confidence().uncertainty.replicates > 0


def test_no_finding_knows_what_comes_after_the_steps_asked_for():
    weights = trajectory(size=1200, snapshots=40).reshape(40, 1200)
    broken = weights.copy()
    broken[30:] = np.nan
    infos = (TensorInfo("a.weight", (30, 40), "float64"),)

    def findings(values, **asked):
        run = ArrayRun({"a.weight": values}, np.arange(len(values)))
        run.description = replace(run.description, tensors=infos)
        return diagnose(Analysis.of(run, Settings(**asked))).findings

    assert {f.id for f in findings(broken) if f.status == "fail"} >= {"convergence", "finiteness"}
    for asked in ({"until": 25}, {"window": (0, 25)}):
        assert findings(broken, **asked) == findings(weights, **asked)


def test_one_glob_may_stand_alone():
    analysis = Analysis.of(network(), Settings(include="*.weight", exclude="head.*"))
    assert [tensor.name for tensor in analysis.tensors] == ["body.weight"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"windw": (0, 5)}, "no setting 'windw'"),
        ({"window": "0:5"}, "a window of '0:5'"),
        ({"window": (0, 5.5)}, r"a window of \(0, 5.5\)"),
        ({"window": 5}, "a window of 5"),
        ({"rank": "three"}, "rank 'three'"),
        ({"observable": "gradients"}, "unknown observable 'gradients'"),
    ],
)
def test_a_setting_that_is_not_possible_is_named(settings, problem):
    with pytest.raises(KoopscopeError, match=problem):
        koopscope.analyze("no matter which run", **settings)
