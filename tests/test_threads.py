"""Threads of a product: the latest who asks decides, the last to leave puts the number back."""

import numpy as np
import pytest

import koopscope
from koopscope import _threads
from tests.known_systems import trajectory


@pytest.fixture
def threads():
    """Return what tells OpenBLAS's number of threads, which is 2 before the test."""
    found = _threads._controls()
    if found is None:
        pytest.skip("NumPy's library is not OpenBLAS")
    read, write = found
    before = read()
    write(2)
    yield read
    write(before)


def test_the_innermost_request_holds_until_it_ends(threads):
    with _threads.product_threads(1):
        assert threads() == 1
        with _threads.product_threads(2):
            assert threads() == 2
        assert threads() == 1
    assert threads() == 2


def test_whoever_leaves_last_puts_the_first_number_back(threads):
    first, second = _threads.product_threads(1), _threads.product_threads(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads() == 1
    second.__exit__(None, None, None)
    assert threads() == 2


def test_an_error_gives_the_threads_back(threads):
    with pytest.raises(KeyError), _threads.product_threads(1):
        raise KeyError
    assert threads() == 2


def test_findings_and_spectra_stay_on_one_thread_from_python(threads, tmp_path, monkeypatch):
    seen = []
    asked = np.linalg.eig

    def watched(matrix):
        seen.append(threads())
        return asked(matrix)

    monkeypatch.setattr(np.linalg, "eig", watched)
    with koopscope.Recorder(tmp_path / "run.h5") as recorder:
        for step, weights in enumerate(trajectory(size=200)):
            recorder.snapshot(step, {"layer.weight": weights.reshape(10, 20)})
    diagnosis = koopscope.analyze(tmp_path / "run.h5")
    diagnosis.spectrum("layer", "centered")
    koopscope.DMD().fit(trajectory(size=200).T)
    assert seen
    assert set(seen) == {1}
    assert threads() == 2
