"""What ``koopscope depth --signal`` reports: scales and layers, as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from koopscope.report.envelope import JsonObject, enveloped
from koopscope.report.text.terminal_style import Cell, Page, table, wrapped
from koopscope.runs.arrays.signal import Signal
from koopscope.spectra.scales import DECAY, SUPPORT, Scales

#: What each method is called.
TITLES = {"fft": "Fourier transform", "dmd": "Hankel DMD"}


@dataclass(frozen=True)
class ScalesReport:
    """A signal and the scales each method asks for."""

    signal: Signal
    found: Sequence[Scales]


def document(report: ScalesReport) -> JsonObject:
    """Return the report as plain JSON values."""
    return enveloped(
        {
            "signal": {
                "path": report.signal.path,
                "samples": len(report.signal.values),
                "spacing": report.signal.spacing,
            },
            "settings": {"support": SUPPORT, "decay": DECAY},
            "depth": [
                {
                    "method": found.method,
                    "layers": found.layers,
                    "scales": found.scales,
                    "frequencies": len(found.frequencies),
                    "highest_frequency": found.frequencies[-1] if len(found.frequencies) else None,
                }
                for found in report.found
            ],
        }
    )


def render(report: ScalesReport, page: Page) -> str:
    """Return the report as text for a page."""
    signal = report.signal
    lines = [
        page.style(signal.path, "title"),
        f"{len(signal.values)} samples, {signal.spacing:.6g} apart",
        "",
    ]
    heads = ("method", "layers", "frequencies", "highest", "scales, coarse to fine")
    cells = [[Cell(head, "faint", right=head in heads[1:4]) for head in heads]]
    for found in report.found:
        highest = f"{found.frequencies[-1]:.4g}" if len(found.frequencies) else page.glyphs.dash
        shown = ", ".join(f"{scale:.3g}" for scale in found.scales[:6])
        more = f" and {found.layers - 6} finer" if found.layers > 6 else ""
        values = (TITLES[found.method], str(found.layers), str(len(found.frequencies)), highest)
        cells.append(
            [
                Cell(text, "strong" if index == 1 else "plain", right=index > 0)
                for index, text in enumerate(values)
            ]
            + [Cell((shown or page.glyphs.dash) + more)]
        )
    lines += table(cells, page)
    if any(not found.layers for found in report.found):
        lines += wrapped(
            "No layer: the method found no frequency above zero, as on constants, polynomials and "
            "exponentials with Hankel DMD.",
            page,
        )
    return "\n".join(lines)
