"""``koopscope check`` and ``explain`` as they are called: exit codes, configuration, outputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from koopscope.cli.configuration import _value, read_policy
from koopscope.errors import KoopscopeError
from koopscope.gate.rules import RULES, rule

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "sample_runs"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command in a folder with three sample runs in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("stopped_early", "diverging", "bfloat16"):
        shutil.copy(SAMPLES / f"{name}.h5", tmp_path)
    return call


ONLY_PRECISION = ("--config", "preset=none", "--config")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("stopped_early.h5", *ONLY_PRECISION, "rules.precision=error"), 0),
        (("diverging.h5",), 1),
        (("diverging.h5", "--fail-on", "never"), 0),
        (("bfloat16.h5", *ONLY_PRECISION, "rules.precision=error"), 0),
        (("bfloat16.h5", *ONLY_PRECISION, "rules.precision=error", "--fail-on", "warn"), 1),
        (("bfloat16.h5", *ONLY_PRECISION, "rules.precision=warn", "--fail-on", "error"), 0),
        (("bfloat16.h5", *ONLY_PRECISION, "rules.precision.warnings=true"), 1),
        (("stopped_early.h5", *ONLY_PRECISION, "metrics.bleu.final-above=20"), 2),
        (("stopped_early.h5", *ONLY_PRECISION, "metrics.bleu.final-above=20", "--strict"), 2),
        (("stopped_early.h5", "missing.h5", *ONLY_PRECISION, "rules.precision=error"), 2),
        (("stopped_early.h5", "--config", "preset=none"), 2),
        (("stopped_early.h5", *ONLY_PRECISION, "rules.contraction=error"), 2),
        (("stopped_early.h5", "--config", "rules.contraction=error"), 0),
        (("stopped_early.h5", "--config", "rules.contraction=error", "--strict"), 2),
    ],
)
def test_the_exit_code_says_passed_failed_or_undecided(
    call: Call, words: tuple[str, ...], code: int
) -> None:
    found, _, err = call("check", *words)
    assert found == code
    assert "Traceback" not in err


def test_an_unreadable_run_does_not_keep_the_others_from_being_judged(call: Call) -> None:
    code, out, err = call("check", "missing.h5", "diverging.h5", "-f", "json")
    document = json.loads(out)
    assert code == 2
    assert [entry["run"]["path"] for entry in document["runs"]] == ["diverging.h5"]
    assert [entry["path"] for entry in document["failed"]] == ["missing.h5"]
    assert "missing.h5 does not exist" in err


def test_failures_come_first_each_with_what_was_expected_and_found(call: Call) -> None:
    _, out, _ = call("check", "diverging.h5", "--config", "metrics.val_loss.best-below=0.1")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[1].startswith("do: ")
    assert lines[2].startswith("✗ KS101 ")
    assert lines[2].endswith("error")
    assert any(line.startswith("expected best val_loss < 0.1, found 0.94") for line in lines)


def test_several_outputs_come_from_one_analysis(call: Call, tmp_path: Path) -> None:
    words = [
        word
        for name in ("json", "junit", "markdown", "github")
        for word in ("-f", f"{name}=r.{name}")
    ]
    code, out, _ = call("check", "diverging.h5", *words)
    assert code == 1
    assert out.startswith("diverging.h5")
    assert json.loads((tmp_path / "r.json").read_text())["check"]["verdict"] == "error"
    assert (tmp_path / "r.junit").read_text().startswith("<?xml")
    code, _, err = call("check", "diverging.h5", *words)
    assert code == 2
    assert "exists and is kept" in err


def test_the_same_run_gives_the_same_bytes(call: Call, tmp_path: Path) -> None:
    for name in ("one", "two"):
        call("check", "bfloat16.h5", "-f", f"json={name}")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_stored_report_is_a_baseline(call: Call) -> None:
    rules = (*ONLY_PRECISION, "rules.baseline=error")
    call("check", "stopped_early.h5", "-f", "json=before.json")
    same, _, _ = call("check", "stopped_early.h5", "--baseline", "before.json", *rules)
    other, out, _ = call("check", "bfloat16.h5", "--baseline", "before.json", *rules)
    assert (same, other) == (0, 1)
    assert "metrics.val_loss was 0.84" in out
    code, _, err = call("check", "bfloat16.h5", "--baseline", "bfloat16.h5")
    assert code == 2
    assert "is not JSON" in err


def test_a_baseline_that_swells_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "swollen.json").write_text("[" + "[]," * 1_100_000 + "0]")
    (tmp_path / "deep.json").write_text("[" * 200_000)  # Pythons differ in how deep they go
    for name, why in (("swollen", "values, more than"), ("deep", "nested too deep")):
        code, _, err = call("check", "bfloat16.h5", "--baseline", f"{name}.json")
        assert code == 2
        assert err.startswith(f"error: the baseline {name}.json cannot be read: it is not JSON")
        assert why in err


def test_the_job_summary_is_appended_to_where_there_is_one(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    call("check", "diverging.h5")
    text = summary.read_text()
    assert text.startswith("earlier step\n## koopscope")
    assert "KS903" in text


def test_configuration_is_found_upwards_and_overridden_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.koopscope]\nfail-on = "warn"\n[tool.koopscope.rules]\n'
        'precision = "warn"\nsampling = { threshold = 20 }\n'
    )
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    environment = {"KOOPSCOPE_RULES__SAMPLING__THRESHOLD": "30", "KOOPSCOPE_STRICT": "true"}
    found = read_policy(["rules.sampling.threshold=40", "strict=false"], environment)
    assert found.fail_on == "warn"
    assert found.strict is False
    assert found.setting(rule("precision")).level == "warn"
    assert found.setting(rule("sampling")).threshold == 40.0
    assert read_policy([], environment).setting(rule("sampling")).threshold == 30.0
    assert read_policy([], environment, isolated=True).fail_on == "error"


def test_the_nearest_file_wins_and_a_comment_is_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "koopscope.toml").write_text('preset = "strict"\n')
    (inner / "pyproject.toml").write_text("# [tool.koopscope] is not set here\n[broken\n")
    monkeypatch.chdir(inner)
    assert read_policy([], {}).preset == "strict"
    (inner / "koopscope.toml").write_text('preset = "none"\n')
    assert read_policy([], {}).preset == "none"
    assert read_policy(["../koopscope.toml"], {}).preset == "strict"


def test_a_level_given_in_short_keeps_what_another_source_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "koopscope.toml").write_text('[rules]\nprecision = "warn"\n')
    found = read_policy(["rules.precision.threshold=0.3"], {}).setting(rule("precision"))
    assert (found.level, found.threshold) == ("warn", 0.3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("preset = ", "is not valid TOML"),
        ('[rules]\nprecison = "off"\n', "no rule 'precison'"),
        ("strict = 1\n", "strict is 1, not true or false"),
        ("[tool]\nkoopscope = 3\n", "tool.koopscope is 3, not a table"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(KoopscopeError, match=problem) as caught:
        read_policy([str(path)], {})
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_missing_file_and_a_wrong_variable_are_named() -> None:
    with pytest.raises(KoopscopeError, match=r"configuration nowhere.toml cannot be read"):
        read_policy(["nowhere.toml"], {})
    with pytest.raises(KoopscopeError, match="environment variable: preset is 'loud'"):
        read_policy([], {"KOOPSCOPE_PRESET": "loud"})


def test_explain_lists_every_rule_and_tells_each(call: Call) -> None:
    code, out, _ = call("explain")
    assert code == 0
    for known in RULES:
        assert known.code in out
        code, told, _ = call("explain", known.code)
        assert code == 0
        assert known.title in told
        assert known.explanation.asks.split()[0] in told
    code, _, err = call("explain", "precison")
    assert code == 2
    assert "did you mean 'precision'?" in err


@pytest.mark.parametrize("page", ["docs/guide/ci.md", "README.md"])
def test_pages_list_the_rules_of_the_registry(page: str) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    begin, end = "<!-- rules: begin -->\n", "\n<!-- rules: end -->"
    table = text[text.index(begin) + len(begin) : text.index(end)]
    rows = [f"| {rule.code} | `{rule.id}` | {rule.title} |" for rule in RULES]
    assert table.splitlines() == ["| code | name | asks about |", "|---|---|---|", *rows]


@pytest.mark.parametrize(
    "text",
    [
        '[tool.koopscope]\npreset = "strict"\n',
        '[ tool . koopscope ]\npreset = "strict"\n',
        '[tool."koopscope"]\npreset = "strict"\n',
        "['tool'.'koopscope']\npreset = \"strict\"\n",
        '[tool]\nkoopscope = { preset = "strict" }\n',
        '[tool]\nkoopscope.preset = "strict"\n',
        'tool.koopscope.preset = "strict"\n',
        'tool = { koopscope = { preset = "strict" } }\n',
        '[tool."koop\\u0073cope"]\npreset = "strict"\n',
    ],
)
def test_every_spelling_of_our_table_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert read_policy([], {}).preset == "strict"


def test_a_broken_project_file_matters_only_where_it_names_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\ndependencies = ["koopscope"]\n[broken\n')
    assert read_policy([], {}).preset == "recommended"
    project.write_text("[ tool.koopscope ]\npreset = \n")
    with pytest.raises(KoopscopeError, match="is not valid TOML"):
        read_policy([], {})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("KOOPSCOPE_PRESETT", "did you mean 'KOOPSCOPE_PRESET'?"),
        ("KOOPSCOPE_RULE__PRECISION", "did you mean 'KOOPSCOPE_RULES'?"),
        ("KOOPSCOPE_LOUD", "unset it"),
    ],
)
def test_an_unknown_variable_is_an_error(name: str, hint: str) -> None:
    with pytest.raises(KoopscopeError, match=f"there is no setting {name}") as caught:
        read_policy([], {name: "strict"})
    assert hint in str(caught.value.hint)
    assert read_policy([], {name: "strict"}, isolated=True).preset == "recommended"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[0.1,0.2]", [0.1, 0.2]),
        ("0.5", 0.5),
        ("1_000", 1000),
        ("0x10", 16),
        ("true", True),
        ("True", True),
        ("strict", "strict"),
        ("'strict'", "strict"),
        ("[converged, training]", ["converged", "training"]),
        ('["converged"]', ["converged"]),
        ("{ level = 'warn' }", {"level": "warn"}),
        ("a = b", "a = b"),
    ],
)
def test_a_value_is_read_as_toml(text: str, value: object) -> None:
    assert _value(text) == value
    assert type(_value(text)) is type(value)


def test_a_reader_that_leaves_early_does_not_change_the_exit_code(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("koopscope")
    for words, code in (
        (("check", SAMPLES / "diverging.h5", "--isolated"), 1),
        (("check", tmp_path / "missing.h5", "--isolated"), 2),
        (("check", SAMPLES / "stopped_early.h5", "--isolated"), 0),
        (("--help",), 0),
        ((), 0),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([command, *words], stdout=writing, stderr=subprocess.DEVNULL)
        os.close(writing)
        assert done.returncode == code, words


def test_explain_gives_levels_unit_and_threshold(call: Call) -> None:
    _, out, _ = call("explain", "sampling")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "recommended an error a warning" in lines
    assert "strict an error an error" in lines
    assert "none not judged not judged" in lines
    assert "unit snapshots" in lines
    assert "threshold at least 10 by default; set rules.sampling.threshold" in lines


def test_a_stalled_run_does_not_pass(call: Call) -> None:
    shutil.copy(SAMPLES / "dead_init.h5", ".")
    only = ("--config", "preset=none", "--config", "rules.convergence.level=error")
    code, out, _ = call("check", "dead_init.h5", *only)
    assert code == 1
    assert "expected a run that learns or has converged, found one that stalled" in " ".join(
        out.split()
    )
