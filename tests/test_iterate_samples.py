"""The README beside the recorded iterates and docs/guide/fixed-points.md tell the truth."""

from pathlib import Path

import pytest

import koopscope

FOLDER = Path(__file__).parents[1] / "sample_runs" / "iterates"
STATES = {
    "communities": "contracting",
    "karate_club": "eventually_contracting",
    "forest": "eventually_contracting",
    "forest_restless": "inconclusive",
}


def test_every_run_is_known_and_listed():
    names = {path.stem for path in FOLDER.glob("*.h5")}
    assert names == set(STATES)
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.h5`" in listed for name in names)


@pytest.mark.parametrize("name", STATES)
def test_a_run_is_small_holds_iterates_and_is_found_to_do_what_is_said(name):
    path = FOLDER / f"{name}.h5"
    assert path.stat().st_size < 1e6
    diagnosis = koopscope.analyze(path)
    run = diagnosis.analysis.description
    assert [tensor.kind for tensor in run.tensors] == ["state"]
    assert list(run.steps) == list(range(31))
    assert diagnosis.finding("contraction").evidence["state"] == STATES[name]


@pytest.mark.parametrize(("name", "falls"), [("forest", False), ("forest_restless", True)])
def test_only_the_network_that_does_not_contract_answers_worse_in_the_end(name, falls):
    with koopscope.open_run(FOLDER / f"{name}.h5") as run:
        accuracy = run.description.metrics["accuracy"]
    assert accuracy[8] == 1.0
    assert (accuracy[-1] < 0.95) == falls
