"""What a file says never acts: not in a terminal, not in the log of a CI, not as another line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from koopscope.cli.main import main
from koopscope.errors import KoopscopeError
from koopscope.gate.rules import RULES
from koopscope.inert import inert, inert_report
from koopscope.report.json_values import json_text
from koopscope.report.pictures import picture_paths
from koopscope.report.registry import formats
from koopscope.report.text.terminal_style import Cell, Page, wrapped
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.arrays.writing import array_writer
from koopscope.runs.hdf5 import structure
from studies.fuzzing.seeds import safetensors

#: A title of a window, a colour, a line of its own, a turned direction, and orders to three CIs.
HOSTILE = (
    "w\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\nerror: forged\n::stop-commands::x\r##[error]y "
    "::error::z ##vso[task.complete]"
)
COMMAND = re.compile(r"##\w*\[|^\s*::[\w-]", re.M)
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|^error: forged", re.M)


def obeyed(text: str) -> str | None:
    found = ACTS.search(text) or COMMAND.search(text)
    return None if found is None else text[max(0, found.start() - 40) : found.end() + 40]


@given(st.text())
@example(HOSTILE)
@example("##" * 3 + "[x")
@example(" ::a::b ::c")
def test_an_inert_text_is_one_line_without_orders_and_stays_so(text: str) -> None:
    shown = inert(text)
    assert obeyed(shown) is None
    assert len(shown.splitlines()) <= 1
    assert inert(shown) == shown


@pytest.mark.parametrize(
    "text", ["layers.0.weight", "größe", "std::vector", "a # b [c]", "层", "x\u00a0y", "C:\\x"]
)
def test_ordinary_names_are_left_alone(text: str) -> None:
    assert inert(text) == text


def test_what_is_spelled_out_can_be_recognised() -> None:
    assert inert("a\x1b[31m\nb") == r"a\x1b[31m\nb"
    assert inert("::error::x") == r"\x3a:error::x"
    assert inert("##[error]") == r"\x23#[error]"


def test_errors_cells_and_sentences_are_inert_and_own_styles_remain() -> None:
    error = KoopscopeError(HOSTILE, HOSTILE)
    page = Page(width=40, styled=True, coloured=True)
    for text in (error.message, str(error), error.hint or "", Cell(HOSTILE).text):
        assert obeyed(text) is None
    assert all(obeyed(line) is None for line in wrapped(HOSTILE, page))
    assert page.style("x\x1b[0m", "fail") == "\x1b[1;31mx\\x1b[0m\x1b[0m"
    assert inert_report("\x1b[1ma\x1b[0m\n\x1b[5mb") == "\x1b[1ma\x1b[0m\n\\x1b[5mb"


def test_json_keeps_the_value_and_gives_no_order() -> None:
    text = json_text({HOSTILE: HOSTILE})
    assert obeyed(text) is None
    assert json.loads(text) == {HOSTILE: HOSTILE}


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A run and checkpoints with a hostile text in every field that allows one, in such folders."""
    monkeypatch.setattr(structure, "_walks_are_needed", False)
    home = tmp_path / HOSTILE.replace("/", "")
    (home / "series").mkdir(parents=True)
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((16, 4, 3)), 0).astype("f4")
    for step, values in enumerate(walk):
        content = safetensors({HOSTILE: values, f"b.{HOSTILE}": values[0]}, {"step": str(step)})
        (home / "series" / f"ckpt_{step}.safetensors").write_bytes(content)
    skipped = json.dumps([{"name": HOSTILE, "reason": HOSTILE}])
    for name, kind in (("run.h5", "parameter"), ("iterates.h5", "state")):
        with h5py.File(home / name, "w") as file:
            file.attrs.update({"format": "koopscope-run", "format_version": "1.0", "kind": kind})
            file.attrs["metadata"] = json.dumps({HOSTILE: HOSTILE, "list": [HOSTILE]})
            file.attrs["skipped"] = skipped
            file["step"] = np.arange(16)
            file["weights/w"] = walk.reshape(16, -1) * 0.7 ** np.arange(16)[:, None]
            file[f"metrics/{HOSTILE.replace('/', '')}"] = np.arange(16.0)
            file["metrics/::error::loss"] = np.arange(16.0)
            file["##[error] outside"] = 1.0
    (home / "policy.toml").write_text(f"[rules]\n{json.dumps(HOSTILE)} = 'warn'\n")
    (home / "bad.csv").write_text("1,2\n2,3\n3,\x1b[31mx\n")
    return {name: home / name for name in ("run.h5", "iterates.h5", "series", "policy.toml")} | {
        "home": home,
        "bad.csv": home / "bad.csv",
    }


COMMANDS = [
    *(f"inspect {run} -f {form}" for run in ("series", "run.h5") for form in ("table", "json")),
    *(f"analyze {run} --level tensor -f {form}" for run in ("series", "run.h5")
      for form in ("table", "json")),
    *(
        f"check {run} --isolated -f {form}"
        for run in ("series", "run.h5")
        for form in formats("gate")
    ),
    "check run.h5 --config policy.toml",
    *(f"prune {run} --sparsity 0.5 -f {form}" for run in ("series", "run.h5")
      for form in ("table", "json")),
    *(f"forecast series --ahead 1 --beyond-trust --allow-growth -f {form}"
      for form in ("table", "json")),
    *(f"contraction iterates.h5 -f {form}" for form in ("table", "json")),
    "convert series -o home/out.h5",
    "convert series -o out.h5 --exclude *",
    "watch series --once",
    "watch run.h5 --once",
    "depth --signal bad.csv",
    "analyze missing-in-home",
    "analyze run.h5 --plots home/plots -v",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_verb_and_no_format_lets_a_name_act(
    command: str, hostile: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = []
    for word in command.split():
        head, _, rest = word.partition("/")
        if word == "missing-in-home":
            words.append(str(hostile["home"] / HOSTILE.replace("/", "")))
        else:
            words.append(str(hostile[head] / rest) if head in hostile else word)
    with pytest.raises(SystemExit):
        main(words)
    out, err = capsys.readouterr()
    assert "fault of koopscope" not in err
    if words[-1] == "github":  # what is meant for GitHub begins so, and nothing else does
        assert ACTS.search(out) is None
        known = re.compile(r"::(error|warning|notice) file=[^:]*,title=[^:]*::")
        for line in out.splitlines():
            assert known.match(line), line
            assert not re.search(r"##\w*\[", line)
        out = ""
    assert obeyed(out) is None
    assert obeyed(err) is None
    if words[-1] == "json" and command.startswith("inspect series"):
        assert json.loads(out)["tensors"][0]["name"] == HOSTILE


def test_rules_are_explained_without_orders(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in RULES:
        with pytest.raises(SystemExit):
            main(["explain", rule.code])
    assert obeyed(capsys.readouterr().out) is None


def test_folders_of_pictures_stay_in_theirs(tmp_path: Path) -> None:
    runs = ["..", "a/..", "/", f"{HOSTILE}.h5", "sound.h5"]
    for paths in picture_paths(runs, tmp_path, "png", True):
        for path in paths.values():
            assert os.path.realpath(path).startswith(f"{os.path.realpath(tmp_path)}/")
            assert path.parent.parent == tmp_path
            assert obeyed(str(path.relative_to(tmp_path))) is None


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "..\\x"])
def test_no_archive_is_written_that_unpacks_elsewhere(tmp_path: Path, name: str) -> None:
    target = tmp_path / "out.npz"
    with (
        pytest.raises(KoopscopeError, match="would leave its folder"),
        array_writer(target, {name: ArraySpec((2,), "float32")}) as writer,
    ):
        writer.append(name, np.zeros(2, "f4"))
    assert not list(tmp_path.iterdir())
