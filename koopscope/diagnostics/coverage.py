"""Which share of the network was read and judged, and what was not?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.evidence import Evidence
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding
from koopscope.runs.run import Skipped

#: Tensors named in the message; the evidence lists all of them.
_NAMED = 3


@dataclass(frozen=True)
class UnreadTensor:
    """A tensor that was not judged; ``weights`` is ``None`` where its size is not known."""

    tensor: str
    weights: int | None
    reason: str


@dataclass(frozen=True)
class CoverageEvidence(Evidence):
    """What the answer rests on.

    Attributes
    ----------
    weights, weights_judged
        Of the network, and of the tensors that were judged.
    sampled
        Share of the judged tensors' weights that was read.
    tensors_left_out
        Tensors that the settings leave out.
    unread
        Tensors that were not judged although nobody left them out.
    """

    weights: int
    weights_judged: int
    sampled: float
    tensors_left_out: int
    unread: tuple[UnreadTensor, ...]


def unread(analysis: Analysis) -> tuple[Skipped, ...]:
    """Return the tensors of the network that are not judged although nobody left them out."""
    settings = analysis.settings
    return tuple(
        skipped
        for skipped in analysis.description.skipped
        if skipped.weights != 0
        and (not settings.include or _matches(skipped.name, settings.include))
        and not _matches(skipped.name, settings.exclude)
    )


def share_read(analysis: Analysis) -> float:
    """Return the weights that were judged, as a part of those that were to be."""
    read = sum(tensor.size for tensor in analysis.tensors)
    missed = sum(skipped.weights or 0 for skipped in unread(analysis))
    return read / (read + missed) if read + missed else 0.0


def ask(analysis: Analysis) -> Finding:
    """Count the weights that were judged, and name the tensors that were not."""
    read = sum(tensor.size for tensor in analysis.tensors)
    missed = unread(analysis)
    left_out = len(analysis.description.tensors) - len(analysis.tensors)
    total = read + sum(skipped.weights or 0 for skipped in missed)
    share = share_read(analysis)
    evidence = CoverageEvidence(
        weights=total,
        weights_judged=read,
        sampled=analysis.read_share,
        tensors_left_out=left_out,
        unread=tuple(
            UnreadTensor(tensor=skipped.name, weights=skipped.weights, reason=skipped.reason)
            for skipped in missed
        ),
    )
    criterion = Criterion("all weights judged", f"{share:.1%} judged", of_value=True)
    asked = f" ({left_out} more tensor{'s' if left_out > 1 else ''} left out as asked)"
    asked = asked if left_out else ""
    if missed:
        unsized = " or more" if any(skipped.weights is None for skipped in missed) else ""
        message = (
            f"{total - read:,}{unsized} of {total:,} weights were not judged{asked}: "
            f"{', '.join(_named(missed))}."
        )
        return DIAGNOSTIC.finding(
            "fail",
            message,
            evidence,
            value=share,
            criterion=criterion,
            hint="store them as float16, bfloat16, float32 or float64 in every snapshot, or leave "
            "them out knowingly with --exclude",
        )
    if analysis.read_share < 1.0:
        message = (
            f"A sample of {analysis.read_share:.2%} of the {total:,} weights was read, from every "
            f"tensor{asked}; trouble in only a few weights can be missed."
        )
        return DIAGNOSTIC.finding(
            "warn",
            message,
            evidence,
            value=share,
            criterion=criterion,
            hint="read all of them with --method exact",
        )
    message = f"All {total:,} weights{asked} were read and judged."
    return DIAGNOSTIC.finding("pass", message, evidence, value=share)


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _named(missed: tuple[Skipped, ...]) -> Iterator[str]:
    for skipped in missed[:_NAMED]:
        yield f"{skipped.name} ({skipped.reason})"
    if len(missed) > _NAMED:
        yield f"and {len(missed) - _NAMED} more"


DIAGNOSTIC = Diagnostic(
    id="coverage",
    code="KS906",
    title="Coverage",
    explanation=Explanation(
        asks="Which share of the network was read and judged?",
        matters="The other findings say nothing about weights that were not read.",
        looks_at=(
            "The size of every tensor in the run. A tensor is not judged where its numbers "
            "are of a format that is not read (8-bit floats, packed integers), or where it "
            "was not recorded in every snapshot. Counters, optimizer states and second names "
            "of a tensor are no weights; what --include and --exclude leave out is not "
            "missed."
        ),
        to_do=(
            "Store the named tensors as float16, bfloat16, float32 or float64 in every "
            "snapshot, or leave them out with --exclude. For a sample: read everything with "
            "--method exact."
        ),
        accuracy="Exact: the weights are counted.",
        cannot_tell="It cannot tell of weights that nobody recorded.",
    ),
    ask=ask,
    worse="lower",
    unit="share of the weights",
    threshold=1.0,
)
