"""Compare what is counted beside the products."""

from __future__ import annotations

from koopscope.spectra.gram import SnapshotGram


def assert_same_counts(found: SnapshotGram, wanted: SnapshotGram) -> None:
    """Hold sizes and counts of entries that did not change against each other, exactly."""
    assert found.size == wanted.size
    assert found.changes.still == wanted.changes.still
    assert found.changes.compared == wanted.changes.compared
    assert found.changes.twins == wanted.changes.twins
    assert list(found.changes.unchanged) == list(wanted.changes.unchanged)
