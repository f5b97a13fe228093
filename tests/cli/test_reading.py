"""``--key``, ``--time-axis`` and ``--metrics`` say the same to every verb that reads a run."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope.cli.main import VERBS
from tests.frameworks import framework

#: What reads a RUN, and the words it needs besides; ``depth`` reads a signal, ``explain`` nothing.
READS = {
    "analyze": (),
    "inspect": (),
    "check": ("--isolated", "--config", "rules.finiteness.level=error"),
    "prune": ("--sparsity", "0.5"),
    "forecast": (),
    "modes": ("-o", "modes.npz", "--force"),
    "watch": ("--once",),
    "contraction": (),
    "report": ("-o", "site"),
    "restore": ("--at", "30", "-o", "weights.npz", "--force"),
    "average": ("--last", "3", "-o", "mean.npz", "--force"),
}
SNAPSHOTS = 30


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file with one matrix, 30 snapshots by 40 weights, that does not say which is which.

    Its transpose beside it has time last.
    """
    monkeypatch.chdir(tmp_path)
    at = np.arange(SNAPSHOTS)[:, None]
    rates = np.linspace(0.7, 0.95, 40)
    values = 1 + rates**at + 0.1 * (-0.5) ** at
    for name, array in (("rows.h5", values), ("columns.h5", values.T)):
        with h5py.File(tmp_path / name, "w") as file:
            file["weight"] = array
    lines = [f"{step},{0.9**step}" for step in range(SNAPSHOTS)]
    (tmp_path / "log.csv").write_text("\n".join(["step,val_loss", *lines]) + "\n")
    return tmp_path


def test_every_verb_that_reads_a_run_is_tried() -> None:
    reads_no_run = {"explain", "depth", "convert", "mcp"}
    assert set(VERBS) - {*READS, "compare", "history"} == reads_no_run


@pytest.mark.parametrize("verb", READS)
def test_a_time_axis_settles_what_a_file_leaves_open(call, matrix, verb):
    words = [word.replace("30", "20") for word in READS[verb]]
    code, _, err = call(verb, "rows.h5", *words)
    assert code == 2
    assert "can be read as" in err
    assert "--time-axis first" in err
    said = [call(verb, f"{name}.h5", "--time-axis", axis, *words)
            for name, axis in (("rows", "first"), ("columns", "last"))]  # fmt: skip
    # A vector is no matrix to prune, and these are no iterates.
    assert {code for code, _, _ in said} == {{"prune": 2, "contraction": 2}.get(verb, 0)}
    assert not any("can be read as" in err for _, _, err in said)
    rows, columns = (out.replace("columns.h5", "rows.h5") for _, out, _ in said)
    assert rows == columns.replace("[N, T]", "[T, N]")


def test_runs_that_are_compared_are_read_alike(call, matrix):
    code, _, err = call("compare", "rows.h5", "rows.h5")
    assert code == 2
    assert "--time-axis first" in err
    assert call("compare", "rows.h5", "rows.h5", "--time-axis", "first")[0] == 0


@pytest.mark.parametrize("verb", ["analyze", "inspect", "check", "restore", "watch"])
def test_losses_logged_elsewhere_come_along(call, matrix, verb):
    words = [word.replace("30", "20") for word in READS[verb]]
    code, out, err = call(
        verb, "rows.h5", "--time-axis", "first", "--metrics", "log.csv",
        *(["-f", "json"] if verb in ("analyze", "inspect", "check") else []),
        *["best" if word == "20" else word for word in words],
    )  # fmt: skip
    assert code in (0, 1)
    assert "val_loss" in out + err or verb == "watch"


@pytest.mark.parametrize("verb", READS)
def test_a_log_that_is_missing_is_one_sentence(call, matrix, verb):
    words = [word.replace("30", "20") for word in READS[verb]]
    code, _, err = call(verb, "rows.h5", "--time-axis", "first", "--metrics", "none.csv", *words)
    assert code == 2
    assert "none.csv" in err


def test_an_output_is_not_the_log(call, matrix):
    words = ("--time-axis", "first", "--metrics", "log.csv", "-f", "json=log.csv", "--force")
    code, _, err = call("analyze", "rows.h5", *words)
    assert code == 2
    assert "log.csv" in err
    assert (matrix / "log.csv").read_text().startswith("step,val_loss")


def test_a_run_file_needs_no_time_axis(call, matrix):
    sample = Path(__file__).parents[2] / "sample_runs" / "mlp_sgd.h5"
    code, _, err = call("inspect", sample, "--time-axis", "first")
    assert code == 2
    assert "is a run file, in which time is always the first axis" in err


@pytest.mark.parametrize("verb", ["analyze", "restore", "prune", "forecast", "watch", "modes"])
def test_a_key_chooses_weights_in_checkpoints_of_pytorch(call, matrix, verb):
    words = [word.replace("30", "20") for word in READS[verb]]
    for step in range(0, SNAPSHOTS, 2):
        _checkpoint(matrix / "saved" / f"step_{step}.pt", step)
    code, _, err = call(verb, "saved", "--key", "missing", *words)
    assert code == 2
    assert "missing" in err
    code, _, err = call(verb, "saved", "--key", "ema", *words)
    assert code == 0, err


def _checkpoint(path: Path, step: int) -> None:
    torch = framework("torch")
    path.parent.mkdir(exist_ok=True)
    values = torch.linspace(0.7, 0.95, 8) ** step
    torch.save({"model": {"w": values.reshape(2, 4)}, "ema": {"w": values.reshape(4, 2)}}, path)
