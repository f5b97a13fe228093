"""``koopscope analyze`` as it is called: streams, exit codes, options, files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import koopscope

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "sample_runs"
SAMPLE = str(SAMPLES / "mlp_sgd.h5")
HEAVY = ("numpy", "h5py", "scipy", "matplotlib", "rich")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A small run, recorded as users record."""
    path = tmp_path_factory.mktemp("runs") / "small.h5"
    random = np.random.default_rng(0)
    start, way = random.normal(size=(2, 6, 5))
    with koopscope.Recorder(path) as recorder:
        for k in range(20):
            weights = start + way * 0.8**k + 0.01 * random.normal(size=(6, 5))
            recorder.snapshot(5 * k, {"layer.weight": weights, "head.weight": weights[0] ** 2})
    return path


def process(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which ``koopscope`` is this checkout."""
    program = f'koopscope() {{ "{sys.executable}" -m koopscope "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", program],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        check=False,
    )


def test_results_go_to_stdout_and_the_closing_sentence_to_stderr(call, small):
    code, out, err = call("analyze", small)
    assert code == 0
    assert out.startswith(f"{small}\n20 snapshots, steps 0 to 95; 35 weights in 2 tensors, float64")
    assert "Findings" in out
    assert err.startswith("Analysed 1 run in ")
    assert err.count("\n") == 1


def test_quiet_says_nothing_and_verbose_says_what_was_read(call, small):
    assert call("-q", "analyze", small)[2] == ""
    assert f"MiB of {small} in" in call("-v", "analyze", small)[2]


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.h5")))
def test_every_sample_run_can_be_analysed(call, name):
    code, out, _ = call("analyze", SAMPLES / f"{name}.h5")
    assert code == 0
    assert out.index("\nstate ") < out.index("\nFindings\n")
    assert "Spectrum of the network" not in out


@pytest.mark.parametrize(
    "words", ["--spectrum", "--rank 3", "--observable weights", "--delay 2", "--noise-filter none"]
)
def test_the_spectrum_comes_after_the_findings_where_it_is_asked_for(call, words):
    code, out, _ = call("analyze", SAMPLE, *words.split())
    assert code == 0
    assert ("Spectrum of the network: " in out) == (words != "--noise-filter none")
    if "Spectrum" in out:
        assert out.index("\nFindings\n") < out.index("\nLayers") < out.index("\nSpectrum of the")


def test_options_reach_the_analysis(call, small):
    options = "--observable weights --rank 2 --delay 2 --window 10:80 --until 70 --level tensor"
    code, out, _ = call(
        "analyze",
        small,
        *options.split(),
        "--include",
        "layer.*",
        "--exclude",
        "*.bias",
        "-f",
        "json",
    )
    assert code == 0
    parsed = json.loads(out)
    assert parsed["settings"] == {
        "observable": "weights",
        "rank": 2,
        "delay": 2,
        "window": [10, 80],
        "until": 70,
        "level": "tensor",
        "include": ["layer.*"],
        "exclude": ["*.bias"],
        "noise_filter": "none",
        "method": "exact",
        "method_reason": "exact, since it takes about 1 s or less",
        "measurement": "sample",
        "measurements": None,
        "seed": 0,
        "tolerance": None,
        "intervals": "network",
        "metric": None,
        "groups": [],
    }
    assert parsed["spectra"][0]["rank"] == 2
    assert parsed["spectra"][0]["window"] == [10, 70]
    assert [entry["name"] for entry in parsed["tensors"]] == ["layer.weight"]


def test_a_noise_filter_shows_the_spectrum_before_and_after_it(call):
    run = Path(__file__).parents[2] / "sample_runs" / "per_step.h5"
    words = ("analyze", run, "--noise-filter", "sobolev", "--level", "network")
    code, out, _ = call(*words, "--format", "json")
    assert code == 0
    spectra = json.loads(out)["spectra"]
    assert [(entry["observable"], entry["noise_filter"]) for entry in spectra] == [
        ("increments", "sobolev"),
        ("increments", "none"),
        ("weights", "sobolev"),
    ]
    assert len(spectra[1]["singular_values"]) - len(spectra[0]["singular_values"]) == 16
    assert "increments before the filter" in call(*words)[1]


@pytest.mark.parametrize(("text", "rank"), [("0.9", 0.9), ("-1", -1), ("0", 0), ("3", 3)])
def test_every_rank_rule_can_be_written(call, small, text, rank):
    code, out, _ = call("analyze", small, "--rank", text, "--format", "json")
    assert code == 0
    assert json.loads(out)["settings"]["rank"] == rank


@pytest.mark.parametrize("window", ["50:", ":50", ":"])
def test_a_window_may_be_open(call, small, window):
    assert call("analyze", small, "--window", window)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--rank two", "'two' is neither auto nor a number"),
        ("--rank 1.5", "rank 1.5 is not a truncation rule"),
        ("--window 5", "'5' is not FIRST:LAST"),
        ("--window a:b", "'a:b' is not FIRST:LAST"),
        ("--window 1000:", "no snapshot lies in steps"),
        ("--delay 0", "0 is not in the range"),
        ("--level block", "'block' is not one of"),
        ("--format yaml", "there is no format 'yaml'"),
        ("--format json=", "'json=' names no file"),
        ("--format json --format table", "json and table cannot both go to stdout"),
        ("--format json=x --format table=x", "two outputs would go to x"),
        ("--format json=no/such/folder.json", "there is no folder no/such"),
        ("--include nothing.*", "no tensor of"),
        ("--plots /dev/null", "/dev/null is not a folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence_with_a_hint(call, small, words, said):
    code, out, err = call("analyze", small, *words.split())
    assert code == 2
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("error: ")
    assert said in first
    assert second.startswith("hint: ")


def test_no_run_is_an_error(call):
    code, _, err = call("analyze")
    assert code == 2
    assert err.startswith("error: missing argument")


def test_the_choices_of_the_options_are_those_of_the_analysis():
    from koopscope.analysis.scope import LEVELS
    from koopscope.cli.analyze import command
    from koopscope.spectra.gram import OBSERVABLES

    choices = {option.name: getattr(option.type, "choices", None) for option in command.params}
    assert tuple(choices["observable"]) == OBSERVABLES
    assert tuple(choices["level"]) == LEVELS


def test_several_runs_are_analysed_one_by_one(call, small):
    code, out, err = call("analyze", small, SAMPLES / "per_step.h5")
    assert code == 0
    assert out.index("small.h5") < out.index("per_step.h5")
    assert err.startswith("Analysed 2 runs in ")


def test_a_run_that_cannot_be_read_does_not_keep_the_others_from_it(call, small, tmp_path):
    lost = tmp_path / "lost.h5"
    code, out, err = call("analyze", lost, small, "--format", "json")
    assert code == 2
    parsed = json.loads(out)
    assert [run["run"]["path"] for run in parsed["runs"]] == [str(small)]
    assert [failure["path"] for failure in parsed["failed"]] == [str(lost)]
    assert err.startswith("error: ")
    assert "1 could not be read" in err


def test_formats_with_a_file_leave_stdout_to_the_table(call, small, tmp_path):
    code, out, _ = call("analyze", small, "--format", f"json={tmp_path / 'a.json'}")
    assert code == 0
    assert "Findings" in out
    assert json.loads((tmp_path / "a.json").read_text())["run"]["path"] == str(small)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_an_existing_output_is_kept_unless_forced(call, small, tmp_path):
    report = tmp_path / "a.json"
    report.write_text("mine")
    code, out, err = call("analyze", small, "--format", f"json={report}")
    assert (code, out) == (2, "")
    assert err == f"error: {report} exists and is kept\nhint: pass --force to replace it\n"
    assert report.read_text() == "mine"
    assert call("analyze", small, "--format", f"json={report}", "--force")[0] == 0
    assert json.loads(report.read_text())["schema_version"] == "1.0"


def test_an_output_that_cannot_be_written_is_an_error(call, small):
    code, _, err = call("analyze", small, "--format", "json=/proc/report.json")
    assert code == 2
    assert err.startswith("error: cannot write /proc/report.json: ")


def test_plots_are_drawn_into_a_folder_and_kept(call, small, tmp_path):
    folder = tmp_path / "deep" / "plots"
    code, _, err = call("-v", "analyze", small, "--plots", folder, "--plot-format", "svg")
    assert code == 0
    names = {"eigenvalues.svg", "singular_values.svg", "windows.svg", "motion.svg"}
    assert {path.name for path in folder.iterdir()} >= names
    assert f"wrote {folder / 'motion.svg'}" in err
    code, _, err = call("analyze", small, "--plots", folder, "--plot-format", "svg")
    assert code == 2
    assert "exists and is kept" in err


def test_figures_come_for_one_column_and_for_several_runs(call, small, tmp_path):
    words = ("--plots", tmp_path / "plots", "--plot-format", "svg", "--figure-size", "one-column")
    code, out, _ = call("analyze", small, SAMPLES / "per_step.h5", *words)
    assert code == 0
    drawn = (tmp_path / "plots" / "sweep.svg").read_text()
    assert "2 runs, best first" in drawn
    assert 'width="241.2pt"' in drawn  # 3.35 in
    assert "Ranking" in out
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "sweep.svg", small.stem, "per_step",
    }  # fmt: skip


def test_nan_weights_are_named_and_the_rest_is_analysed(call):
    code, out, _ = call("analyze", SAMPLES / "diverging.h5")
    assert code == 0
    assert "NaN or infinite weights in head.weight from step 92 on" in out
    assert "analysed: 46 snapshots, steps 0 to 90" in out


@pytest.mark.parametrize("snapshots", [1, 2, 3])
def test_very_short_runs_are_analysed_honestly(call, tmp_path, snapshots):
    path = tmp_path / "short.h5"
    with koopscope.Recorder(path) as recorder:
        for k in range(snapshots):
            recorder.snapshot(k, {"w": np.full(4, 0.5**k)})
    code, out, err = call("analyze", path, "--spectrum")
    assert code == 0
    assert ("and it takes 3" in out) == (snapshots < 3)
    assert "inconclusive" in err


def test_names_the_encoding_lacks_are_spelled_out(tmp_path):
    path = tmp_path / "names.h5"
    with koopscope.Recorder(path) as recorder:
        for k in range(8):
            recorder.snapshot(k, {"größe.weight": np.full(4, 0.5**k)})
    done = process(f"koopscope -q analyze {path}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe" in done.stdout
    assert done.stdout.isascii()


def test_a_reader_that_leaves_early_is_no_failure(small):
    done = process(f"koopscope analyze {small} | head -1")
    assert (done.returncode, done.stdout.decode()) == (0, f"{small}\n")
    # This reader has gone before the first line is written.
    done = process(f"koopscope -q analyze {small} | true")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_same_run_gives_the_same_bytes_in_every_process():
    first, second = (process(f"koopscope -q analyze {SAMPLE} -f json").stdout for _ in range(2))
    assert first == second
    assert json.loads(first)["run"]["path"] == SAMPLE


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_of_80_columns_is_not_exceeded(environment):
    terminal = (
        "import os, pty, sys\n"
        "sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-m', 'koopscope', "
        f"'analyze', {str(SAMPLES / 'transformer.h5')!r}, '--level', 'tensor'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", terminal],
        env={name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "80", "TERM": "xterm", "PYTHONUTF8": "1"}
        | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    lines = [_without_styles(line) for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert any("blocks.0.qkv" in line for line in lines)
    has_colour, has_bold = "\x1b[32m" in text, "\x1b[1m" in text
    assert has_colour == (not environment)
    assert has_bold == ("TERM" not in environment)


def _without_styles(line: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", line)


def imported_by(program: str) -> set[str]:
    """Return which of the heavy packages a program has imported when it ends."""
    listing = f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    script = (
        "import sys\nfrom koopscope.cli.main import cli\n"
        f"try:\n    cli.main(args={program!r}.split(), standalone_mode=False)\n"
        f"except SystemExit: pass\n{listing}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


@pytest.mark.parametrize("words", ["--help", "--version", "analyze --help"])
def test_help_imports_nothing_heavy(words):
    assert imported_by(words) == set()


def test_the_table_needs_neither_matplotlib_nor_scipy_nor_rich():
    assert imported_by(f"-q analyze {SAMPLE}") == {"numpy", "h5py"}


def test_a_report_never_replaces_the_run_it_is_of(call, small):
    before = small.read_bytes()
    code, out, err = call("analyze", small, "--format", f"json={small}", "--force")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {small} is an input of this command")
    assert small.read_bytes() == before


def test_a_pipe_or_device_is_written_to_and_not_replaced(small, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = process(
        f"cat {tmp_path}/pipe & "
        f"koopscope -q analyze {small} --format json={tmp_path}/pipe > /dev/null"
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema_version"] == "1.0"
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_cannot_be_made_is_one_error(call, small, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = call("analyze", small, "--plots", tmp_path / "file" / "plots")
    assert code == 2
    assert err.startswith(f"error: cannot write {tmp_path}/file/plots/summary.png: ")


def test_no_verb_shows_the_help(call):
    code, out, err = call()
    assert (code, err) == (0, "")
    assert out == call("--help")[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("verb", ["analyze", "inspect"])
def test_a_full_disk_behind_stdout_is_one_error(small, verb):
    done = process(f"koopscope -q {verb} {small} > /dev/full")
    assert done.returncode == 2
    error, hint = done.stderr.decode().splitlines()
    assert error == "error: No space left on device"
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("where", ["> /dev/null 2>/dev/full", "2>&-", ">&-", ">&- 2>&-"])
def test_a_stream_that_cannot_be_written_to_costs_only_what_it_would_have_shown(small, where):
    done = process(f"koopscope analyze {small} {where}")
    assert done.returncode == 0
    assert b"Traceback" not in done.stdout + done.stderr
