"""koopscope: what the Koopman spectrum of recorded weights tells about a training run."""

from __future__ import annotations

# As typing's own, which would be the first of the modules whose loading Ctrl-C may interrupt before
# koopscope.cli.start can give it a meaning.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from koopscope._version import __version__
    from koopscope.diagnostics.diagnosis import Diagnosis, analyze
    from koopscope.errors import KoopscopeError
    from koopscope.estimator.dmd import DMD
    from koopscope.forecasting.api import forecast
    from koopscope.integrations.torch.accelerator import KoopmanAccelerator
    from koopscope.pruning.api import prune
    from koopscope.runs.detect.opening import open_run
    from koopscope.runs.native.recorder import Recorder

__all__ = [
    "DMD",
    "Diagnosis",
    "KoopmanAccelerator",
    "KoopscopeError",
    "Recorder",
    "__version__",
    "analyze",
    "forecast",
    "open_run",
    "prune",
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
