"""koopscope: what the Koopman spectrum of recorded weights tells about a training run.

Record a run while it trains, then ask what it shows::

    with koopscope.Recorder("run.h5") as recorder:
        for step, batch in enumerate(batches):
            loss = train(batch)
            recorder.snapshot(step, model.state_dict(), loss=loss)

    diagnosis = koopscope.analyze("run.h5")
    for finding in diagnosis.findings:
        print(finding.code, finding.status, finding.message)

Recording: ``Recorder`` for a loop of your own, ``Tracker`` for a schedule and a stop; callbacks of
frameworks are in ``koopscope.integrations``. Reading: ``open_run`` gives a ``Run``. Asking:
``analyze`` (with ``Settings``) gives a ``Diagnosis``; ``compare`` tells whether trainings are the
same dynamics; ``prune`` gives masks, ``forecast`` weights that are still to come, ``restore`` those
of a recorded step, ``average`` the mean of the last ones, ``write_modes`` a file of modes. ``DMD``
decomposes any snapshots, ``KoopmanAccelerator`` extrapolates while training. What cannot be done
raises ``KoopscopeError``.
"""

from __future__ import annotations

import sys

from koopscope._moved import Moved

sys.meta_path.append(Moved)

# As typing's own, which would be the first of the modules whose loading Ctrl-C may interrupt before
# koopscope_command can give it a meaning.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from koopscope._version import __version__
    from koopscope.analysis.settings import Settings
    from koopscope.averaging.average import average
    from koopscope.comparison.compare import compare
    from koopscope.diagnostics.diagnosis import Diagnosis, analyze
    from koopscope.errors import KoopscopeError
    from koopscope.estimator.dmd import DMD
    from koopscope.export.modes import write_modes
    from koopscope.forecasting.api import forecast
    from koopscope.integrations.torch.accelerator import KoopmanAccelerator
    from koopscope.integrations.tracker import Tracker
    from koopscope.pruning.api import prune
    from koopscope.restoring.restore import restore
    from koopscope.runs.detect.opening import open_run
    from koopscope.runs.native.recorder import Recorder
    from koopscope.runs.run import Run

__all__ = [
    "DMD",
    "Diagnosis",
    "KoopmanAccelerator",
    "KoopscopeError",
    "Recorder",
    "Run",
    "Settings",
    "Tracker",
    "__version__",
    "analyze",
    "average",
    "compare",
    "forecast",
    "open_run",
    "prune",
    "restore",
    "write_modes",
]

# Names resolve on first use, so that `import koopscope` costs a training script, and
# `koopscope --help` a user, no numpy and no h5py.
_HOMES = {
    "DMD": "koopscope.estimator.dmd",
    "Diagnosis": "koopscope.diagnostics.diagnosis",
    "KoopscopeError": "koopscope.errors",
    "__version__": "koopscope._version",
    "KoopmanAccelerator": "koopscope.integrations.torch.accelerator",
    "Recorder": "koopscope.runs.native.recorder",
    "Run": "koopscope.runs.run",
    "Settings": "koopscope.analysis.settings",
    "Tracker": "koopscope.integrations.tracker",
    "analyze": "koopscope.diagnostics.diagnosis",
    "average": "koopscope.averaging.average",
    "compare": "koopscope.comparison.compare",
    "forecast": "koopscope.forecasting.api",
    "open_run": "koopscope.runs.detect.opening",
    "prune": "koopscope.pruning.api",
    "restore": "koopscope.restoring.restore",
    "write_modes": "koopscope.export.modes",
}


def __dir__() -> list[str]:
    """Name what the package offers, loaded or not: for completion and ``help``."""
    return sorted({*globals(), *__all__} - {"Any", "Moved", "TYPE_CHECKING", "annotations", "sys"})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'koopscope' has no attribute {name!r}")
    from importlib import import_module

    member = getattr(import_module(_HOMES[name]), name)
    globals()[name] = member  # so that it is looked up once, and `help` lists it
    return member
