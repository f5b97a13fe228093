"""Products between two sketched runs, held against those of their weights."""

import numpy as np
import pytest

from koopscope import Recorder
from koopscope.engine.sketched_beside import sketched_beside, unlike_sketches
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.geometry import Geometry

SNAPSHOTS = 10


def weights(seed, shape=(200, 250), parts_at=0):
    """Two seeds share the way up to a snapshot, and go ways of their own after it."""
    rng, own = np.random.default_rng(0), np.random.default_rng(seed)
    moving = [rng.normal(size=shape)]
    for t in range(1, SNAPSHOTS):
        step, other = rng.normal(size=shape), own.normal(size=shape)
        moving.append(moving[-1] + 0.1 * (step if t <= parts_at else other))
    return np.array(moving, np.float32)


def recorded(path, values, name="fc.weight", **options):
    with Recorder(path, **{"sketch": 256, **options}) as recorder:
        for step, each in enumerate(values):
            recorder.snapshot(step, {name: each})
    return path


def beside(one, other):
    with open_run(one) as first, open_run(other) as second:
        pairs = list(zip(first.description.tensors, second.description.tensors, strict=True))
        return sketched_beside(first, second, pairs)


def distances(gram):
    """Return every distance between the first's snapshots and the second's."""
    rows, columns = np.meshgrid(np.arange(SNAPSHOTS), SNAPSHOTS + np.arange(SNAPSHOTS))
    return Geometry(gram).distance(rows.T, columns.T)


def test_distances_between_runs_are_those_of_the_weights(tmp_path):
    one, other = weights(1, parts_at=4), weights(2, parts_at=4)
    grams = beside(recorded(tmp_path / "a.h5", one), recorded(tmp_path / "b.h5", other))
    both = np.concatenate([one, other]).reshape(2 * SNAPSHOTS, -1).astype(float)
    known, found = distances(gram_of(both)), distances(grams["fc.weight"])
    same = known == 0.0
    assert same[range(5), range(5)].all()
    lengths = np.linalg.norm(both, axis=1).max()
    assert found[same].max() < 1e-6 * lengths
    stated = np.sqrt(2 / 256 + 2 / 32768)
    relative = np.square(found[~same]) / np.square(known[~same]) - 1.0
    assert np.abs(relative).max() < 4.0 * stated
    assert np.abs(relative).max() > 0.0


def test_the_error_of_a_distance_is_that_of_its_groups(tmp_path):
    values = [weights(seed) for seed in (1, 2)]
    known = np.linalg.norm((values[0][-1] - values[1][-1]).ravel().astype(float))
    inside = 0
    for seed in range(40):
        paths = [
            recorded(tmp_path / f"{k}-{seed}.h5", each[[0, -1]], sketch_seed=seed)
            for k, each in enumerate(values)
        ]
        grams = beside(*paths)
        measured = grams.measured("fc.weight")
        each = [float(Geometry(measured.without(g)).distance(1, 3)) for g in range(8)]
        error = np.sqrt(7 / 8 * np.square(each - np.mean(each)).sum())
        found = float(Geometry(grams["fc.weight"]).distance(1, 3))
        inside += abs(found - known) <= 1.895 * error
    assert inside >= 31  # nine tenths are 36; fewer than 31 come once in a hundred times


def test_tensors_kept_whole_have_exact_products_whatever_their_names(tmp_path):
    one, other = weights(1, (10, 12)), weights(2, (10, 12))
    grams = beside(
        recorded(tmp_path / "a.h5", one), recorded(tmp_path / "b.h5", other, name="dense.weight")
    )
    both = np.concatenate([one, other]).reshape(2 * SNAPSHOTS, -1).astype(float)
    assert grams.is_exact("fc.weight")
    np.testing.assert_allclose(
        distances(grams["fc.weight"]), distances(gram_of(both)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sketch": 64}, "256 numbers a tensor and the other 64"),
        ({"sketch_seed": 3}, "seed 0 and the other with seed 3"),
        ({"sketch": False}, "one of them holds weights"),
        ({"name": "dense.weight"}, "goes by its name and its size"),
    ],
)
def test_sketches_that_were_not_made_alike_are_refused(tmp_path, options, why):
    one = recorded(tmp_path / "a.h5", weights(1))
    other = recorded(tmp_path / "b.h5", weights(2), **options)
    with pytest.raises(KoopscopeError, match=why):
        beside(one, other)


def test_two_recordings_of_weights_are_not_unlike(tmp_path):
    path = recorded(tmp_path / "a.h5", weights(1), sketch=False)
    with open_run(path) as run:
        assert unlike_sketches(run.description, run.description) is None
