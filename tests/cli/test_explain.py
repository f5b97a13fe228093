"""``koopscope explain``: the levels are those that ``check`` would apply here."""

from __future__ import annotations

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder of one's own, where no variable says anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KOOPSCOPE_PRESET", raising=False)
    return tmp_path


def levels(out: str) -> list[str]:
    """Return the words of the row of what is in force here."""
    (row,) = [line for line in out.splitlines() if line.startswith("here  ")]
    return row.split(None, 1)[1].split("  ")


def test_without_a_configuration_the_defaults_are_in_force(call, folder):
    code, out, _ = call("explain", "KS101")
    assert code == 0
    assert [word.strip() for word in levels(out) if word.strip()] == ["an error", "a warning"]
    assert "here: the defaults" in out


def test_a_configuration_file_a_variable_and_an_option_are_told(call, folder, monkeypatch):
    (folder / "koopscope.toml").write_text(
        'preset = "strict"\n[rules]\nsampling = { level = "warn", threshold = 20 }\n'
        'convergence = { accept = ["converged", "training"] }\n'
    )
    _, out, _ = call("explain", "stability")
    assert [word.strip() for word in levels(out) if word.strip()] == ["an error", "an error"]
    assert f"here: as {folder / 'koopscope.toml'} says" in out
    _, out, _ = call("explain", "sampling")
    assert [word.strip() for word in levels(out) if word.strip()] == ["a warning", "a warning"]
    assert "limit here at least 20" in out
    assert "passes     converged or training, here" in call("explain", "convergence")[1]
    _, out, _ = call("explain", "KS201", "--config", "rules.stability=off")
    assert "not judged" in " ".join(levels(out))
    assert "--config rules.stability=off" in out
    monkeypatch.setenv("KOOPSCOPE_RULES__STABILITY", "warn")
    _, out, _ = call("explain", "KS201")
    assert "environment variable" in out
    _, out, _ = call("explain", "KS201", "--isolated")
    assert "here" not in [line.split(" ")[0] for line in out.splitlines()]


def test_the_list_says_what_a_failure_counts_as_here(call, folder):
    (folder / "koopscope.toml").write_text('[rules]\ndepth = "off"\n')
    lines = call("explain")[1].splitlines()
    assert next(line for line in lines if "KS401" in line).endswith("not judged")
    assert next(line for line in lines if "KS101" in line).endswith("an error")


def test_a_wrong_configuration_is_one_error(call, folder):
    (folder / "koopscope.toml").write_text("preset = 3\n")
    code, _, err = call("explain", "KS101")
    assert code == 2
    assert "preset" in err
