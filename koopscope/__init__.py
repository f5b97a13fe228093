"""koopscope: what the Koopman spectrum of recorded weights tells about a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koopscope._version import __version__
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.diagnostics.diagnosis import Diagnosis, analyze
    from koopscope.forecasting.api import forecast
    from koopscope.integrations.torch.accelerator import KoopmanAccelerator
    from koopscope.pruning.api import prune
    from koopscope.runs.detect.opening import open_run
    from koopscope.runs.native.recorder import Recorder
    from koopscope.spectra.estimator import DMD

__all__ = [
    "DMD",
    "Diagnosis",
    "KoopmanAccelerator",
    "KoopscopeError",
    "Recorder",
    "analyze",
    "forecast",
    "open_run",
    "prune",
]

# Names resolve on first use, so that `import koopscope` costs a training script, and
# `koopscope --help` a user, no numpy and no h5py.
_HOMES = {
    "DMD": "koopscope.spectra.estimator",
    "Diagnosis": "koopscope.diagnostics.diagnosis",
    "KoopmanAccelerator": "koopscope.integrations.torch.accelerator",
    "Recorder": "koopscope.runs.native.recorder",
    "analyze": "koopscope.diagnostics.diagnosis",
    "forecast": "koopscope.forecasting.api",
    "open_run": "koopscope.runs.detect.opening",
    "prune": "koopscope.pruning.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'koopscope' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
