"""Which share of a network was judged, by right values: 8-bit, complex, unfinished, left out."""

import math
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope import Recorder
from koopscope.diagnostics.finding import Finding
from koopscope.gate.judgement import judge
from koopscope.gate.policy import policy
from koopscope.runs.dtypes import unread_weights

T = 20


def walk(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(T, *shape)).cumsum(axis=0).astype("f4")


def written(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """Write a run file by hand, as a recorder that broke off may leave it."""
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["format"], file.attrs["format_version"] = "koopscope-run", "1.0"
        file["step"] = np.arange(T)
        group = file.create_group("weights", track_order=True)
        for name, values in weights.items():
            group[name] = values
    return path


def coverage(path: Path, **settings: object) -> Finding:
    return koopscope.analyze(path, **settings).finding("coverage")


def test_everything_read_passes(tmp_path: Path) -> None:
    found = coverage(written(tmp_path / "run.h5", {"a.weight": walk(3, 4), "a.bias": walk(3)}))
    assert (found.status, found.value) == ("pass", 1.0)
    assert found.message == "All 15 weights were read and judged."


def test_an_unfinished_and_a_packed_tensor_are_counted_and_named(tmp_path: Path) -> None:
    weights = {
        "a.weight": walk(3, 4),
        "lost.weight": walk(5, 4)[:-1],
        "packed.weight": walk(2, 4).astype("i1"),
        "batches": np.arange(T),
    }
    found = coverage(written(tmp_path / "run.h5", weights))
    assert found.status == "fail"
    assert found.value == 12 / (12 + 20 + 8)
    assert {u["tensor"]: u["weights"] for u in found.evidence["unread"]} == {
        "lost.weight": 20,
        "packed.weight": 8,
    }
    assert "28 of 40 weights were not judged" in found.message
    assert "lost.weight (recorded in only 19 of 20 snapshots)" in found.message
    finite = koopscope.analyze(tmp_path / "run.h5").finding("finiteness")
    assert finite.status == "inconclusive"
    assert "30.0% of them" in finite.message


def test_what_was_left_out_knowingly_is_not_missed(tmp_path: Path) -> None:
    path = written(
        tmp_path / "run.h5",
        {"a.weight": walk(3, 4), "b.weight": walk(4), "lost.weight": walk(5)[:-1]},
    )
    assert coverage(path, exclude="lost.*").status == "pass"
    assert coverage(path, include=("a.*",)).status == "pass"
    found = coverage(path, include=("a.*", "lost.*"))
    assert (found.status, found.value) == ("fail", 12 / 17)
    assert "1 more tensor left out as asked" in found.message


@pytest.mark.parametrize("preset", ["recommended", "strict"])
def test_the_gate_fails_where_a_part_is_unread(tmp_path: Path, preset: str) -> None:
    path = written(tmp_path / "run.h5", {"a.weight": walk(3, 4), "lost.weight": walk(5)[:-1]})
    judged = judge(koopscope.analyze(path), policy({"preset": preset}, "test"))
    outcome = next(o for o in judged.outcomes if o.id == "coverage")
    assert outcome.verdict == "error"
    assert outcome.expected == "all weights judged"
    assert outcome.found == "70.6% judged"


def test_what_a_recorder_left_out_is_known_from_its_file(tmp_path: Path) -> None:
    rows = [
        {"a": real, "packed.weight": packed, "batches": np.int64(3)}
        for real, packed in zip(walk(6), walk(2, 2).astype("i1"), strict=True)
    ]
    recorder = Recorder(tmp_path / "run.h5")
    with pytest.warns(RuntimeWarning, match="packed.weight"):
        recorder.snapshot(0, rows[0])
    for step, row in enumerate(rows[1:], start=1):
        recorder.snapshot(step, row)
    found = coverage(tmp_path / "run.h5")
    assert (found.status, found.value) == ("fail", 0.6)
    with h5py.File(tmp_path / "run.h5", "r+") as file:  # of a recorder that did not say how many
        file.attrs["skipped"] = '[{"name": "spectral", "reason": "complex64 values"}]'
    older = coverage(tmp_path / "run.h5")
    assert older.status == "fail"
    assert "0 or more of 6 weights were not judged" in older.message


def test_a_sample_is_said_to_be_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.h5")
    for step, row in enumerate(walk(400, 1000)[:12]):
        recorder.snapshot(step, {"a.weight": row})
    found = coverage(tmp_path / "run.h5", method="compressed", measurements=64, tolerance=1e9)
    assert found.status == "warn"
    assert 0.0 < found.evidence["sampled"] < 1.0
    assert "--method exact" in str(found.hint)


@pytest.mark.parametrize(
    ("name", "dtype", "holds"),
    [
        ("layer.weight", "F8_E4M3", True),
        ("layer.weight", "float8_e5m2", True),
        ("fno", "complex128", True),
        ("fno", "C64", True),
        ("layer.weight", "float32", True),
        ("layer.qweight", "int32", True),
        ("layer.weight", "U8", True),
        ("layer.weight", "qint8", True),
        ("layer.weight_mask", "uint8", False),
        ("attn.bias", "bool", False),
        ("bn.num_batches_tracked", "int64", False),
        ("generator", "uint8", False),
        ("tokens", "I64", False),
    ],
)
def test_which_left_out_tensors_hold_weights(name: str, dtype: str, holds: bool) -> None:
    assert unread_weights(name, (3, 5), dtype) == (math.prod((3, 5)) if holds else 0)
