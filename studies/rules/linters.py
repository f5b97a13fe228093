"""What loss linters of the registries say: ``python studies/rules/linters.py FOLDER``.

Runs in an environment of its own with ``pip install losslint gradsnitch`` (it needs nothing of
koopscope), on the logs that ``studies.rules.score`` writes, and leaves ``linters.json`` there.
"""

import json
import subprocess
import sys
from pathlib import Path

import gradsnitch
import pandas as pd


def losslint(log: Path) -> list[str]:
    """Return the checks that losslint reports, at its defaults."""
    command = [str(Path(sys.executable).with_name("losslint")), "check", "--format", "json"]
    done = subprocess.run([*command, str(log)], capture_output=True, text=True, check=False)
    return sorted({finding["check"] for finding in _findings(json.loads(done.stdout))})


def _findings(report):
    if isinstance(report, dict):
        if "check" in report:
            yield report
        for value in report.values():
            yield from _findings(value)
    elif isinstance(report, list):
        for value in report:
            yield from _findings(value)


def snitch(log: Path) -> list[str]:
    """Return the names that gradsnitch reports, at its defaults."""
    frame = pd.read_csv(log).rename(columns={"loss": "train_loss", "eval_loss": "val_loss"})
    if pd.isna(frame["train_loss"].iloc[0]):
        frame = frame.iloc[1:]  # no minibatch before the first step: no sign of trouble
    return sorted({finding.name for finding in gradsnitch.lint(frame)})


def main() -> None:
    folder = Path(sys.argv[1])
    said = {
        log.stem: {"losslint": losslint(log), "gradsnitch": snitch(log)}
        for log in sorted((folder / "logs").glob("*.csv"))
    }
    (folder / "linters.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
