"""One check of outputs: files are told apart by what they are, not by how they are spelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.targets import check_targets


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    path.write_bytes(b"weights")
    return path


def refusal(*arguments: object, **options: object) -> str:
    with pytest.raises(KoopscopeError) as caught:
        check_targets(*arguments, **options)  # type: ignore[arg-type]
    return caught.value.message


def spellings(run: Path) -> list[Path]:
    soft, hard = run.with_name("soft.h5"), run.with_name("hard.h5")
    soft.symlink_to(run)
    hard.hardlink_to(run)
    (run.parent / "sub").mkdir()
    return [run, soft, hard, run.parent / "sub" / ".." / "run.h5"]


def test_an_input_is_never_an_output_however_it_is_spelt(run: Path) -> None:
    for target in spellings(run):
        for read in (run, run.parent):
            assert refusal([target], [read], force=True) == f"{target} is an input of this command"


def test_two_outputs_share_no_file(run: Path) -> None:
    for target in spellings(run)[1:]:
        assert refusal([run, target], force=True) == f"two outputs would go to {target}"
    new = run.parent / "new.json"
    assert "two outputs" in refusal([new, run.parent / "sub" / ".." / "new.json"])


def test_what_exists_is_kept_unless_forced(run: Path) -> None:
    assert refusal([run]) == f"{run} exists and is kept"
    check_targets([run], [run.with_name("other.h5")], force=True)


def test_folders_must_be_there_and_stand_in_no_way(run: Path) -> None:
    missing = run.parent / "no" / "report.json"
    assert refusal([missing]) == f"there is no folder {missing.parent}"
    check_targets([missing], folders_are_made=True)
    assert refusal([run.parent], force=True) == f"{run.parent} is a folder"


def test_several_may_write_to_a_device(run: Path) -> None:
    check_targets(["/dev/null", "/dev/null"], [run])
