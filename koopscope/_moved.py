"""Old names of modules that have moved: importing one gives what its new home holds, and says so.

Consulted only where an import would fail otherwise, so it costs nothing else. Imports nothing
itself until an old name is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: Below ``koopscope``: the old name, and the new one.
MOVED = {
    "diagnostics.beginning": "diagnostics.statistics.start",
    "diagnostics.course": "diagnostics.statistics.trajectory",
    "diagnostics.fixed_points": "diagnostics.contraction",
    "diagnostics.losses": "diagnostics.statistics.losses",
    "diagnostics.scores": "diagnostics.statistics.scores",
    "diagnostics.stack": "diagnostics.statistics.layer_stack",
    "engine.cachefile": "engine.cache_file",
    "engine.compressed": "engine.sampled",
    "engine.growing": "engine.extend",
    "engine.records": "engine.gram_words",
    "fixed_points": "export.fixed_point",
    "following": "analysis.follow",
    "forecasting.forecast": "forecasting.forecaster",
    "forecasting.laws": "forecasting.operators",
    "forecasting.outlook": "forecasting.plan",
    "forecasting.plane": "forecasting.projection",
    "forecasting.tally": "forecasting.second_pass",
    "integrations.accelerator": "integrations.torch.accelerator",
    "integrations.parameter_window": "integrations.torch.parameter_window",
    "modefile": "export.modes",
    "pruning.judging": "pruning.basis",
    "pruning.roles": "runs.roles",
    "pruning.spool": "pruning.score_file",
    "reading": "analysis.plan",
    "report.canvas": "report.text.canvas",
    "report.figures.beginning": "report.figures.start",
    "report.folding": "report.text.eigenvalue_rows",
    "report.gate.terminal": "report.gate.text",
    "report.json": "report.analysis_json",
    "report.numbers": "report.text.numbers",
    "report.page": "report.text.terminal_style",
    "report.panel": "report.watch_frame",
    "report.plain": "report.json_values",
    "report.report": "report.analysis_report",
    "report.terminal": "report.analysis_text",
    "report.unitcircle": "report.text.unit_circle",
    "runs.appending": "runs.native.writer",
    "runs.arrayfile": "runs.arrays.writing",
    "runs.arraysource": "runs.arrays.reading",
    "runs.buffering": "runs.native.buffer",
    "runs.changing": "runs.hdf5.transaction",
    "runs.checkpoints.hdf5tensors": "runs.checkpoints.hdf5_tensors",
    "runs.checkpoints.metricslog": "runs.checkpoints.metrics_log",
    "runs.checkpoints.safetensorfiles": "runs.checkpoints.safetensors",
    "runs.checkpoints.sources": "runs.detect.sources",
    "runs.checkpoints.torchfiles": "runs.checkpoints.torch.snapshots",
    "runs.converting": "runs.detect.converting",
    "runs.drafts": "runs.atomic",
    "runs.extents": "runs.hdf5.direct",
    "runs.hyperslabs": "runs.hdf5.slabs",
    "runs.journal": "runs.hdf5.journal",
    "runs.labels": "runs.native.header",
    "runs.layouts": "runs.checkpoints.hdf5_layouts",
    "runs.opening": "runs.detect.opening",
    "runs.pooled": "runs.views.averaged",
    "runs.recorder": "runs.native.recorder",
    "runs.runfile": "runs.native.reader",
    "runs.safety": "runs.hdf5.safety",
    "runs.shards": "runs.views.shards",
    "runs.signal": "runs.arrays.signal",
    "runs.stacked": "runs.hdf5.stacked",
    "settings": "analysis.settings",
    "spectra.acceleration": "spectra.iterates.acceleration",
    "spectra.blas": "_threads",
    "spectra.contraction": "spectra.iterates.contraction",
    "spectra.estimator": "estimator.dmd",
    "spectra.fixed_point": "spectra.iterates.fixed_point",
    "spectra.forecast": "spectra.law_of_motion",
    "spectra.measurement": "spectra.measured",
    "spectra.opening": "spectra.start",
    "spectra.splicing": "spectra.gram_joins",
}

_PACKAGE = "koopscope."


class Moved:
    """A finder and loader of old names, for ``sys.meta_path``."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where an old name leads, ``None`` for every other name."""
        if not name.startswith(_PACKAGE) or name.removeprefix(_PACKAGE) not in MOVED:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, cls)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Have an empty module made."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Fill a module with what its new home holds."""
        import warnings
        from importlib import import_module

        old = module.__name__
        new = _PACKAGE + MOVED[old.removeprefix(_PACKAGE)]
        warnings.warn(f"{old} has moved to {new}", DeprecationWarning, stacklevel=2)
        home = import_module(new)
        module.__dict__.update(
            {name: value for name, value in vars(home).items() if not name.startswith("__")}
        )
