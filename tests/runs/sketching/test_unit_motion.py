"""Units that stand still are counted while a run is recorded, from a sample, in bounded memory."""

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.runs.detect.opening import open_run
from koopscope.runs.sketches import FACTS, LATER_FACTS, SketchInfo
from koopscope.runs.sketching.parts import Part
from koopscope.runs.sketching.sketcher import Sketcher, summed
from koopscope.runs.sketching.unit_motion import UnitHistory, UnitSample

SIGNS = np.where(np.random.default_rng(0).random(4096) < 0.5, -1.0, 1.0).astype(np.float32)


def walk(snapshots, units, inputs, dead, since=0, decay=0.0, seed=1):
    """A layer whose units wander, but for dead ones from a snapshot on."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(units, inputs))
    found = []
    for t in range(snapshots):
        found.append(weights.copy())
        step = 0.01 * rng.normal(size=weights.shape)
        if t >= since:
            step[dead] = 0.0
        weights = weights * (1.0 - decay) + step
    return found


@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_dead_units_are_counted_and_decay_is_no_motion(decay):
    history = UnitHistory(SIGNS, 30)
    for weights in walk(80, 12, 30, [1, 5, 7], decay=decay):
        counts = history.add(weights, None)
    assert counts == (12.0, 3.0, 3.0)


def test_units_that_die_later_once_moved():
    history = UnitHistory(SIGNS, 30)
    for weights in walk(100, 12, 30, [2, 3], since=50):
        counts = history.add(weights, None)
    assert counts == (12.0, 2.0, 0.0)


def test_a_bias_that_moves_keeps_a_unit_alive():
    history = UnitHistory(SIGNS, 30)
    for t, weights in enumerate(walk(40, 6, 30, [0, 1])):
        bias = np.array([0.1 * t, 0.0, *np.sin(np.arange(4.0) + t)])
        counts = history.add(weights, bias)
    assert counts == (6.0, 1.0, 1.0)


def test_a_layer_that_stands_still_is_not_judged():
    history = UnitHistory(SIGNS, 30)
    for _ in range(20):
        counts = history.add(np.ones((6, 30)), None)
    assert counts == (0.0, 0.0, 0.0)


def test_what_is_not_finite_is_not_known_and_harms_nothing_after_it():
    history = UnitHistory(SIGNS, 30)
    for t, weights in enumerate(walk(60, 6, 30, [4])):
        counts = history.add(np.full_like(weights, np.nan) if t == 30 else weights, None)
        assert np.isnan(counts[0]) == (t == 30)
    assert counts == (6.0, 1.0, 1.0)


def test_the_past_that_is_remembered_does_not_grow_with_the_run():
    history = UnitHistory(SIGNS, 4)
    rng = np.random.default_rng(0)
    lengths = []
    for t in range(4000):
        history.add(rng.normal(size=(3, 4)), None)
        if t in (500, 1000, 2000, 3999):
            lengths.append(len(history._past))
            late = t - max(1, t // 4)
            assert abs(history._nearest(late) - late) <= 0.04 * late
            assert 0 in history._past
    assert max(lengths) <= 120
    assert lengths[-1] <= 1.1 * lengths[0]


@pytest.mark.parametrize(("shape", "axis"), [((70, 300), 0), ((300, 70), 1), ((8, 5, 3, 3), 1)])
def test_the_sample_is_rows_of_units(shape, axis):
    sample = UnitSample.of(shape, axis)
    table = np.moveaxis(np.arange(np.prod(shape)).reshape(shape), axis, 0).reshape(shape[axis], -1)
    for row in sample.places.reshape(sample.units, sample.inputs):
        (unit,) = {int(np.argwhere((table == place).any(axis=1))[0, 0]) for place in row}
        assert set(row) <= set(table[unit])
        assert len(set(row)) == len(row)


def counts_of(sketched):
    return [float(sketched.facts[FACTS.index(name)]) for name in LATER_FACTS]


def test_ranks_that_hold_rows_count_what_one_process_counts():
    snapshots = walk(30, 16, 20, [0, 9], seed=4)
    alone, ranks = Sketcher(SketchInfo(16, 0)), [Sketcher(SketchInfo(16, 0)) for _ in range(2)]
    for weights in snapshots:
        one = alone.measured({"fc.weight": weights})
        parts = [
            rank.measured({"fc.weight": Part(weights[8 * k : 8 * k + 8], (16, 20), (8 * k, 0))})
            for k, rank in enumerate(ranks)
        ]
    assert counts_of(one["fc.weight"]) == [16.0, 2.0, 2.0]
    assert counts_of(summed(parts)["fc.weight"]) == [16.0, 2.0, 2.0]


def recorded(path, snapshots, first=0, **options):
    with koopscope.Recorder(path, sketch=16, **options) as recorder:
        for t, weights in enumerate(snapshots, first):
            recorder.snapshot(t, {"fc.weight": weights.astype(np.float32)}, loss=1.0 / (1 + t))


def test_a_recorded_run_names_the_share_of_dead_units(tmp_path):
    recorded(tmp_path / "run.h5", walk(40, 20, 30, range(12)))
    finding = koopscope.analyze(tmp_path / "run.h5").finding("dead-units")
    assert finding.status == "warn"
    assert finding.value == 0.6
    assert finding.evidence["layers"][0]["dead"] == 12


def test_units_are_not_known_where_recording_was_resumed(tmp_path):
    snapshots = walk(40, 20, 30, range(12))
    recorded(tmp_path / "run.h5", snapshots[:20])
    recorded(tmp_path / "run.h5", snapshots[20:], 20, mode="resume")
    finding = koopscope.analyze(tmp_path / "run.h5").finding("dead-units")
    assert finding.status == "inconclusive"
    assert "in one go" in finding.message


def test_a_file_without_counts_of_units_is_read_and_continued(tmp_path):
    path = tmp_path / "run.h5"
    snapshots = walk(40, 20, 30, range(12))
    recorded(path, snapshots[:20])
    older = len(FACTS) - len(LATER_FACTS)
    with h5py.File(path, "r+") as file:
        group = file["sketch"]
        facts = group["facts"][:, :, :older]
        del group["facts"]
        group.create_dataset(
            "facts", data=facts, maxshape=(None, *facts.shape[1:]), chunks=(1, *facts.shape[1:])
        )
    recorded(path, snapshots[20:], 20, mode="resume")
    with open_run(path) as run:
        (tensor,) = run.description.tensors
        sketch = run.sketched(tensor)
    assert np.isnan(sketch.fact("units_dead")).all()
    assert np.isfinite(sketch.fact("square")).all()
    assert len(sketch.facts) == 40
    assert koopscope.analyze(path).finding("dead-units").status == "inconclusive"
