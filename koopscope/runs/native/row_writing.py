"""Write what snapshots hold into an open run file, and say what of it is not recorded.

The recorder decides what becomes of the sentences; nothing is committed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import LeftOutError, StoredArray
from koopscope.runs.native.rows import Row
from koopscope.runs.native.tensor_plan import TensorPlan
from koopscope.runs.native.writer import RunWriter


@dataclass(frozen=True)
class Missing:
    """Something of a snapshot that is not recorded.

    Attributes
    ----------
    cause
        What is said once only.
    sentence
        For the user.
    """

    cause: str
    sentence: str


def write_weights(writer: RunWriter, rows: Sequence[Row], path: Path) -> Iterator[Missing]:
    """Write the tensors of some snapshots; yield those whose record ends here.

    Raises
    ------
    KoopscopeError
        If none of the recorded tensors is there.
    """
    written = 0
    for plan in writer.tensors():
        try:
            words = [_fitting(plan, row.tensors).words for row in rows]
        except LeftOutError as error:
            sentence = f"{plan.name} {error.reason}: it is not recorded in {path} any more"
            yield Missing(plan.name, sentence)
            continue
        writer.write_rows(plan.name, np.stack(words) if len(words) > 1 else words[0][None])
        written += 1
    if not written:
        raise KoopscopeError(
            f"the snapshot at step {rows[0].step} holds none of the tensors recorded in {path}",
            "record another model in another file",
        )


def write_metrics(writer: RunWriter, rows: Sequence[Row], path: Path) -> Iterator[Missing]:
    """Write the metrics of some snapshots; yield tensors and metrics that the file lacks."""
    for name in {name for row in rows for name in row.tensors} - writer.known_names():
        yield Missing(name, f"{name} was not in the first snapshot and is not recorded in {path}")
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        problem = writer.write_metric(name, *(row.metrics.get(name, math.nan) for row in rows))
        if problem:
            yield Missing(name, f"metric {name!r} is {problem}: {path} lacks it")


def _fitting(plan: TensorPlan, tensors: Mapping[str, Any]) -> StoredArray:
    if plan.name not in tensors:
        raise LeftOutError("is missing")
    return plan.fitted(tensors[plan.name])
