"""A run of more snapshots than memory has room for is refused before anything is allocated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.engine import room
from koopscope.engine.store import GramStore

needs_limits = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux counts")

#: Above ``room.ALWAYS``, and 3.5 GB together; the process may have 2 GiB more than it has.
LONG = 6000
IN_TWO_GIBIBYTES = """
import json, resource, sys
import koopscope
with open("/proc/self/statm") as file:
    has = int(file.read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (has + 2**31, resource.RLIM_INFINITY))
said = []
for window in ((None, None), (1000, 1490)):
    try:
        diagnosis = koopscope.analyze(sys.argv[1], window=window)
        values = diagnosis.analysis.spectrum().eigenvalues
        said.append([values.real.tolist(), diagnosis.analysis.description.notes])
    except koopscope.KoopscopeError as error:
        said.append([error.message, error.hint])
print(json.dumps(said))
"""


def run_of(path: Path, steps: range) -> Path:
    at = np.arange(steps.start, steps.stop, steps.step)[:, None] / 10
    rates = np.array([[0.99, 0.97, 0.9, 0.8]])
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["format_version"] = "koopscope-run", "1.0"
        file["step"] = np.asarray(steps)
        file["weights/w"] = np.float32(1 + rates ** (at % 100))
    return path


@needs_limits
def test_a_long_run_is_refused_and_a_window_of_it_is_as_if_it_were_alone(tmp_path: Path) -> None:
    long = run_of(tmp_path / "long.h5", range(0, 10 * LONG, 10))
    alone = run_of(tmp_path / "alone.h5", range(1000, 1500, 10))
    command = [sys.executable, "-c", IN_TWO_GIBIBYTES, str(long)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    (message, hint), (values, notes) = json.loads(said.stdout)
    assert message.startswith("6,000 snapshots are too many to analyse together")
    assert "--window" in hint
    assert np.array_equal(values, koopscope.analyze(alone).analysis.spectrum().eigenvalues.real)
    assert (
        "only the 50 snapshots asked for were read: 6,000 do not fit into memory together" in notes
    )


def test_nothing_is_refused_that_fits() -> None:
    most = room.snapshots_that_fit()
    if most is None:
        pytest.skip("this system does not say how much memory is free")
    room.refuse_too_many(room.ALWAYS)
    room.refuse_too_many(min(most, 1500))
    with pytest.raises(KoopscopeError, match="too many to analyse together"):
        GramStore(10**7)  # 10 PB


@needs_limits
def test_free_memory_is_no_more_than_the_machine_has() -> None:
    total = Path("/proc/meminfo").read_text().split()[1]
    free = room.free_bytes()
    assert free is not None
    assert 0 < free <= 1024 * int(total)
