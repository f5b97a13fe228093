"""What an agent may ask of runs below some folders: read-only, and answered as plain JSON values.

Knows nothing of how questions arrive. A path is resolved before it is held against the folders, so
that neither ``..`` nor a link leads out of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from koopscope.errors import KoopscopeError
from koopscope.gate.rules import RULES, rule
from koopscope.report.envelope import JsonObject

#: Of a finding, what an agent reads first; the evidence is long.
_SHORT = ("id", "code", "status", "message", "hint", "action")


@dataclass(frozen=True)
class Questions:
    """The questions, bound to the folders that may be read.

    Attributes
    ----------
    roots
        Resolved folders.
    """

    roots: tuple[Path, ...]

    @classmethod
    def below(cls, folders: Sequence[str | Path]) -> Questions:
        """Return the questions about runs below these folders.

        Raises
        ------
        KoopscopeError
            If one is not a folder.
        """
        roots = tuple(Path(folder).resolve() for folder in folders)
        for root in roots:
            if not root.is_dir():
                raise KoopscopeError(f"{root} is not a folder", "name the folder of your runs")
        return cls(roots)

    def inspect(self, path: str) -> JsonObject:
        """Tell what is in a run without judging it: tensors, steps, metrics, what is skipped."""
        return _printed("inspect", str(self._allowed(path)))

    def diagnose(self, path: str, whole: bool = False) -> JsonObject:
        """Judge how a training run went, worst finding first, each with what to do.

        ``whole`` adds the spectra, the layers and the evidence: the JSON report of
        ``koopscope analyze``.
        """
        level = "layer" if whole else "network"
        report = _printed("analyze", str(self._allowed(path)), "--level", level)
        if whole:
            return report
        order = ("fail", "warn", "inconclusive", "info", "pass")
        findings = sorted(report["findings"], key=lambda finding: order.index(finding["status"]))
        short = [{name: finding[name] for name in _SHORT} for finding in findings]
        return {"run": report["run"], "findings": short}

    def compare(self, first: str, second: str) -> JsonObject:
        """Tell whether two runs are the same dynamics, and at which step their weights part."""
        return _printed("compare", str(self._allowed(first)), str(self._allowed(second)))

    def explain(self, code: str = "") -> JsonObject:
        """Explain a finding by its code or name: what it asks, how right it is, its limits.

        Without a code, list all of them.
        """
        if not code:
            return {"rules": [{"code": r.code, "id": r.id, "title": r.title} for r in RULES]}
        known = rule(code)
        explained = asdict(known.explanation)
        return {"code": known.code, "id": known.id, "title": known.title, **explained}

    def _allowed(self, path: str) -> Path:
        """Return a path below one of the roots; a relative one starts at the first root."""
        resolved = (self.roots[0] / path).resolve()
        if not any(resolved == root or root in resolved.parents for root in self.roots):
            named = ", ".join(str(root) for root in self.roots)
            raise KoopscopeError(
                f"{path} is outside the folders that may be read",
                f"these may be read: {named}; start koopscope mcp with --root for another",
            )
        return resolved


def _printed(verb: str, *words: str) -> JsonObject:
    """Return what a command prints as JSON.

    A process of its own is bounded in what a hostile file can cost, and keeps nothing of it.

    Raises
    ------
    KoopscopeError
        With the command's own words, if it could not do its job.
    """
    command = [sys.executable, "-m", "koopscope", "-q", verb, *words, "--format", "json"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = dict(line.split(": ", 1) for line in done.stderr.splitlines() if ": " in line)
        raise KoopscopeError(said.get("error", f"koopscope {verb} failed"), said.get("hint"))
    printed: JsonObject = json.loads(done.stdout)
    return printed
