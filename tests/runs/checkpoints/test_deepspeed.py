"""DeepSpeed's ZeRO stage 3: the shares of three ranks, written by it, are read as whole weights."""

from __future__ import annotations

import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from studies.fuzzing.mutations import mutate

WRITTEN = Path(__file__).with_name("deepspeed") / "zero3.zip"
STEPS = (3, 6)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a folder as DeepSpeed left it, and what ``zero_to_fp32.py`` made of it beside."""
    with zipfile.ZipFile(WRITTEN) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "saved"
    folder.mkdir()
    for step in STEPS:
        (tmp_path / f"global_step{step}").rename(folder / f"global_step{step}")
    (tmp_path / "latest").rename(folder / "latest")
    return folder


def weights(folder: Path, block_bytes: int = 100) -> dict[str, np.ndarray]:
    with koopscope.open_run(folder) as run:
        parts: dict[str, list[np.ndarray]] = {}
        for block in run.blocks(block_bytes=block_bytes):
            parts.setdefault(block.tensor.name, []).append(block.values.copy())
        shapes = {tensor.name: tensor.shape for tensor in run.description.tensors}
    joined = {name: np.concatenate(held, axis=1) for name, held in parts.items()}
    return {name: values.reshape(-1, *shapes[name]) for name, values in joined.items()}


def test_the_weights_are_those_that_deepspeeds_own_tool_joins(saved: Path) -> None:
    with koopscope.open_run(saved) as run:
        assert run.description.steps.tolist() == list(STEPS)
        assert run.description.format == "DeepSpeed ZeRO stage 3, 2 checkpoints"
        names = [tensor.name for tensor in run.description.tensors]
    assert names[:2] == ["first.weight", "first.bias"]  # the order of the model
    found = weights(saved)
    for row, step in enumerate(STEPS):
        with np.load(saved.parent / f"joined_{step}.npz") as joined:
            floats = {name for name in joined if joined[name].dtype.kind == "f"}
            assert set(found) == floats
            for name in floats:
                assert np.array_equal(found[name][row], joined[name]), name


def test_a_checkpoint_of_the_trainer_that_holds_nothing_else_is_read(saved: Path) -> None:
    for step in STEPS:
        folder = saved.parent / "trainer" / f"checkpoint-{step * 10}"
        shutil.copytree(saved / f"global_step{step}", folder / f"global_step{step}")
        (folder / "latest").write_text(f"global_step{step}")
        (folder / "trainer_state.json").write_text(f'{{"global_step": {step * 10}}}')
    with koopscope.open_run(saved.parent / "trainer") as run:
        assert run.description.steps.tolist() == [30, 60]
    found, expected = weights(saved.parent / "trainer"), weights(saved)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("tag", ["../saved/global_step3", "..", "", "global_step3\0", "x" * 300])
def test_a_tag_that_leads_elsewhere_is_not_followed(saved: Path, tag: str) -> None:
    folder = saved.parent / "checkpoint-1"
    folder.mkdir()
    (folder / "latest").write_text(tag)
    (folder / "trainer_state.json").write_text("{}")
    with pytest.raises(KoopscopeError, match="holds no"):
        koopscope.open_run(folder)


def rank(folder: Path, number: int, what: str) -> Path:
    return folder / f"zero_pp_rank_{number}_mp_rank_00_{what}_states.pt"


def test_the_share_of_a_rank_that_is_missing_is_named(saved: Path) -> None:
    folder = saved / "global_step3"
    rank(folder, 1, "optim").unlink()
    with pytest.raises(KoopscopeError, match=r"the optim_states\.pt of rank 1 is missing"):
        koopscope.open_run(folder)


def test_the_last_rank_is_missed_as_well(saved: Path) -> None:
    folder = saved / "global_step3"
    for what in ("optim", "model"):
        rank(folder, 2, what).unlink()
    missing = r"lacks its share of frozen|one of 3 ranks', and 2 are"
    with pytest.raises(KoopscopeError, match=missing):
        koopscope.open_run(folder)


def test_shares_of_another_network_do_not_fit(saved: Path) -> None:
    with zipfile.ZipFile(rank(saved / "global_step3", 1, "optim")) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (home,) = {name.partition("/")[0] for name in members}
    pickle = members[f"{home}/data.pkl"]
    # The second flat group of rank 1 claims one number less than it stores.
    members[f"{home}/data.pkl"] = pickle.replace(b"K\x12", b"K\x11")
    with zipfile.ZipFile(rank(saved / "global_step3", 1, "optim"), "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    with pytest.raises(KoopscopeError, match="not of one size"):
        koopscope.open_run(saved / "global_step3")


def test_a_key_or_model_parallel_ranks_are_refused(saved: Path) -> None:
    with pytest.raises(KoopscopeError, match="--key ema chooses inside one file"):
        koopscope.open_run(saved, key="ema")
    folder = saved / "global_step3"
    first = rank(folder, 0, "model")
    shutil.copy(first, folder / "zero_pp_rank_0_mp_rank_01_model_states.pt")
    with pytest.raises(KoopscopeError, match="model-parallel"):
        koopscope.open_run(folder)


def test_damaged_files_are_refused_or_read(saved: Path) -> None:
    folder = saved / "global_step6"
    chance = random.Random(0)
    said: list[str] = []
    for number in range(40):
        path = rank(folder, number % 3, ("optim", "model")[number % 2])
        sound = path.read_bytes()
        path.write_bytes(mutate(sound, chance))
        try:  # some damage is in numbers that are not looked at
            weights(folder)
        except KoopscopeError as error:
            said.append(error.message)
        path.write_bytes(sound)
    assert len(said) > 10
    assert all(message.isprintable() for message in said)
