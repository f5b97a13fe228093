"""Evidence: typed fields, and the keys that JSON has had all along."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from koopscope.diagnostics.contraction import ContractionEvidence
from koopscope.diagnostics.convergence import ConvergenceEvidence, StopPoint, StopThreshold
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.initialization import InitializationEvidence, Reason
from koopscope.diagnostics.precision import PrecisionEvidence, Resolution
from koopscope.diagnostics.stability import StabilityEvidence


def test_what_was_not_computed_is_left_out() -> None:
    assert ConvergenceEvidence().plain() == {
        "state": "inconclusive",
        "stop_step": None,
        "stop_history": [],
        "remaining": None,
        "cluster": None,
    }
    assert PrecisionEvidence().plain() == {}
    assert StabilityEvidence(snapshots=5).plain() == {"state": None, "snapshots": 5}


def test_none_is_shown_where_it_is_a_value() -> None:
    plain = StabilityEvidence(state="stable", snapshots=20, cosine=0.5).plain()
    assert plain["growing_eigenvalue"] is None
    assert plain["turning_eigenvalue"] is None


def test_nested_records_become_dictionaries_under_their_keys() -> None:
    point = StopPoint(step=10, statistic=0.5, interval=(0.4, 0.6), score=-1.0, allowed=True)
    evidence = ConvergenceEvidence(
        source="weights", stop_rule=StopThreshold(-4.0, "weights"), stop_history=(point,)
    )
    plain = evidence.plain()
    assert plain["from"] == "weights"
    assert plain["stop_rule"] == {"threshold": -4.0, "from": "weights"}
    assert plain["stop_history"] == [
        {"step": 10, "statistic": 0.5, "interval": [0.4, 0.6], "score": -1.0, "allowed": True}
    ]
    tensors = PrecisionEvidence(tensors={"w": Resolution(unchanged=0.1, rounding=0.2)})
    assert tensors.plain() == {"tensors": {"w": {"unchanged": 0.1, "rounding": 0.2}}}


def test_evidence_reads_like_the_json_it_becomes() -> None:
    evidence = InitializationEvidence(state="bad", layers=(Reason("w", "frozen", 0.1),))
    assert evidence["state"] == "bad"
    assert evidence["layers"] == [{"name": "w", "why": "frozen", "value": 0.1}]
    assert evidence.get("from") is None
    assert dict(evidence) == evidence.plain()
    with pytest.raises(KeyError):
        evidence["source"]


def test_a_finding_becomes_json_with_its_evidence() -> None:
    evidence = ContractionEvidence(state="contracting", factor=0.9, interval=(0.8, 1.0))
    finding = Finding("contraction", "KS601", "pass", "It contracts.", evidence=evidence)
    plain = finding.plain()
    assert plain["evidence"] == {"state": "contracting", "factor": 0.9, "interval": [0.8, 1.0]}
    assert list(plain)[:4] == ["id", "code", "status", "message"]
    assert evidence.judged_state == "contracting"
    assert evidence.value_interval == (0.8, 1.0)


def test_evidence_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ConvergenceEvidence().stop_step = 3  # type: ignore[misc]
