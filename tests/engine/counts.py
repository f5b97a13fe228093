"""Compare what is counted beside the products, and the units' moments."""

from __future__ import annotations

import numpy as np

from koopscope.spectra.gram import SnapshotGram


def assert_same_counts(found: SnapshotGram, wanted: SnapshotGram) -> None:
    """Hold sizes and counts of entries that did not change against each other, exactly."""
    assert found.size == wanted.size
    assert found.changes.still == wanted.changes.still
    assert found.changes.compared == wanted.changes.compared
    assert found.changes.twins == wanted.changes.twins
    assert list(found.changes.unchanged) == list(wanted.changes.unchanged)
    assert (found.units is None) == (wanted.units is None)
    if found.units is not None and wanted.units is not None:
        # Sums of sums: exact up to the order in which parts were added.
        np.testing.assert_allclose(found.units.values, wanted.units.values, rtol=1e-9, atol=1e-12)
