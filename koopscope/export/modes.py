"""Write a spectrum's modes to a file: a second pass over the run, block by block.

Holds one block of snapshots and its modes, never N x r numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from koopscope._types import Complex128
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import NETWORK, Scope
from koopscope.errors import KoopscopeError
from koopscope.export.arrays import RunArrays
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.arrays.writing import check_suffix
from koopscope.runs.run import Run
from koopscope.spectra.gram import Observable


@dataclass(frozen=True)
class ModeChoice:
    """Which modes of which spectrum.

    Attributes
    ----------
    scope, observable
        As in ``Analysis.spectrum``.
    which
        Indices in the spectrum's order, largest amplitude first; all by default.
    kind
        ``exact`` or ``projected``, see ``koopscope.spectra.modes``.
    """

    scope: Scope | str = NETWORK
    observable: Observable | None = None
    which: Sequence[int] | None = None
    kind: Literal["exact", "projected"] = "exact"


@dataclass(frozen=True)
class WrittenModes:
    """What a file of modes holds.

    Attributes
    ----------
    scope, observable
        What the spectrum is of.
    which
        Indices of the modes, as they stand in the file.
    eigenvalues
        complex128 [len(which)], theirs.
    available
        How many modes the spectrum has.
    """

    scope: str
    observable: Observable
    which: tuple[int, ...]
    eigenvalues: Complex128
    available: int


def write_modes(
    run: Run,
    analysis: Analysis,
    path: str | os.PathLike[str],
    choice: ModeChoice | None = None,
    *,
    force: bool = False,
) -> WrittenModes:
    """Write modes as complex128 arrays of shape (*tensor shape, modes), keyed by tensor name.

    They are those of the unfiltered spectrum, whatever ``Settings.noise_filter`` says.

    Parameters
    ----------
    run
        The run that was analysed, open.
    analysis
        Its analysis.
    path
        Ends in ``.h5`` or ``.npz``.
    choice
        Which modes; all exact modes of the network by default.
    force
        Replace an existing file, unless it is the run itself.

    Raises
    ------
    KoopscopeError
        If the file cannot be written there, or a mode that was asked for does not exist.
    """
    choice = choice or ModeChoice()
    check_modes_name(path)
    spectrum = analysis.spectrum(choice.scope, choice.observable, noise_filter="none")
    which = list(range(spectrum.rank)) if choice.which is None else list(choice.which)
    scope = analysis.scope(choice.scope).name
    _check_indices(which, spectrum.rank, scope)
    specs = {
        tensor.name: ArraySpec((*tensor.shape, len(which)), "complex128")
        for tensor in analysis.members(choice.scope)
    }
    eigenvalues = spectrum.eigenvalues[which]
    facts = {
        "scope": scope,
        "observable": spectrum.observable,
        "kind": choice.kind,
        "eigenvalues": json.dumps([[value.real, value.imag] for value in eigenvalues.tolist()]),
    }
    blocks = analysis.modes(
        run, choice.scope, which=which, observable=choice.observable, kind=choice.kind
    )
    parts = ((block.tensor.name, block.values.reshape(-1)) for block in blocks)
    RunArrays(analysis.description, specs, facts).write(path, parts, force=force)
    return WrittenModes(scope, spectrum.observable, tuple(which), eigenvalues, spectrum.rank)


def check_modes_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name that modes cannot be written under.

    Raises
    ------
    KoopscopeError
        If it does not end in ``.h5`` or ``.npz``.
    """
    if Path(path).suffix == ".safetensors":
        raise KoopscopeError(
            f"modes are complex and cannot be written to {path}", "end the name in .h5 or .npz"
        )
    check_suffix(path)


def _check_indices(which: Sequence[int], available: int, scope: str) -> None:
    if not available:
        raise KoopscopeError(
            f"the spectrum of {scope} has no mode: its weights do not move",
            "list what moves with `koopscope analyze`",
        )
    for index in which:
        if not 0 <= index < available:
            raise KoopscopeError(
                f"there is no mode {index}: the spectrum has {available}",
                "count modes from 0, largest amplitude first",
            )
