"""Write a spectrum's modes to a file: the second pass over the run, block by block.

Holds one block of snapshots and its modes, never N x r numbers (``.safetensors`` excepted, whose
library takes whole arrays).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from koopscope._version import __version__
from koopscope.analysis.analysis import NETWORK, Analysis
from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.writing import ArraySpec, array_writer
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

    scope: str = NETWORK
    observable: Observable | None = None
    which: Sequence[int] | None = None
    kind: Literal["exact", "projected"] = "exact"


def write_modes(
    run: Run,
    analysis: Analysis,
    path: str | os.PathLike[str],
    choice: ModeChoice | None = None,
    *,
    force: bool = False,
) -> None:
    """Write modes as complex128 arrays of shape (*tensor shape, modes), keyed by tensor name.

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
        Replace an existing file.

    Raises
    ------
    KoopscopeError
        If the file cannot be written there, or a mode that was asked for does not exist.
    """
    choice = choice or ModeChoice()
    if str(path).endswith(".safetensors"):
        raise KoopscopeError(
            f"modes are complex and cannot be written to {path}", "end the name in .h5 or .npz"
        )
    spectrum = analysis.spectrum(choice.scope, choice.observable)
    which = list(range(spectrum.rank)) if choice.which is None else list(choice.which)
    for index in which:
        if not 0 <= index < spectrum.rank:
            raise KoopscopeError(
                f"there is no mode {index}: the spectrum has {spectrum.rank}",
                "count modes from 0, largest amplitude first",
            )
    specs = {
        tensor.name: ArraySpec((*tensor.shape, len(which)), "complex128")
        for tensor in analysis.members(choice.scope)
    }
    values = [spectrum.eigenvalues[index] for index in which]
    metadata = {
        "koopscope": __version__,
        "run": os.path.basename(analysis.description.path),
        "scope": choice.scope,
        "observable": spectrum.observable,
        "kind": choice.kind,
        "eigenvalues": json.dumps([[value.real, value.imag] for value in values]),
    }
    with array_writer(path, specs, metadata, force=force) as out:
        for block in analysis.modes(
            run, choice.scope, which=which, observable=choice.observable, kind=choice.kind
        ):
            out.append(block.tensor.name, block.values.reshape(-1))
