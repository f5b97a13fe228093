"""Archives and folders that are built on PyTorch's files, and the tar of its first releases."""

import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from koopscope.cli.main import main
from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.torch.snapshots import torch_snapshot
from koopscope.runs.detect.opening import open_run
from tests.runs.checkpoints.pickles import archive, mapping, number, tensor, text

STATE = mapping(**{"w.weight": tensor("0", (2,), (1,), 2)})


def read(path):
    with open_run([path]) as run:
        (found,) = run.description.tensors
        out = np.empty((1, found.size), np.float32)
        run.read(found, 0, found.size, out)
        return found.name, out[0].tolist(), run.description.steps.tolist()


def test_a_stable_baselines3_archive_is_its_policy_at_its_timestep(tmp_path):
    policy = archive(tmp_path / "policy", STATE)
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("data", json.dumps({"num_timesteps": 2048}))
        zipped.write(policy, "policy.pth")
    assert read(path) == ("w.weight", [1.0, 2.0], [2048])


def test_a_deepspeed_folder_with_whole_weights_is_read_and_one_in_parts_says_what_to_do(tmp_path):
    for step in (5, 10):
        folder = tmp_path / "run" / f"global_step{step}"
        folder.mkdir(parents=True)
        content = mapping(module=STATE, global_steps=number(step))
        archive(folder / "mp_rank_00_model_states.pt", content)
    with open_run(tmp_path / "run") as run:
        assert run.description.steps.tolist() == [5, 10]
        assert [found.name for found in run.description.tensors] == ["w.weight"]
    parts = tmp_path / "global_step7"
    parts.mkdir()
    archive(parts / "zero_pp_rank_0_mp_rank_00_model_states.pt", STATE)
    with pytest.raises(KoopscopeError, match="ZeRO stage 3") as raised:
        open_run(parts)
    assert "zero_to_fp32.py" in raised.value.hint


def test_the_tar_of_the_first_releases_is_read(tmp_path):
    def pickled(body):
        return b"\x80\x02" + body + b"."

    storages = pickled(b"K\x01") + pickled(text("7") + text("cpu") + b"ctorch\nFloatStorage\n\x87")
    storages += struct.pack("<q3f", 3, 1.0, 2.0, 3.0) + pickled(b"]")
    tensors = pickled(b"K\x01") + pickled(text("9") + text("7") + b"ctorch\nFloatTensor\n\x87")
    tensors += struct.pack("<ii3q", 1, 0, 2, 1, 1)
    content = pickled(mapping(**{"w.weight": text("9") + b"Q"}))
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w") as made:
        for name, raw in (("storages", storages), ("tensors", tensors), ("pickle", content)):
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            made.addfile(member, io.BytesIO(raw))
    assert read(path)[:2] == ("w.weight", [2.0, 3.0])
    with tarfile.open(tmp_path / "other.pth.tar", "w") as made:
        made.addfile(tarfile.TarInfo("readme"), io.BytesIO(b""))
    with pytest.raises(KoopscopeError, match="PyTorch did not write"):
        torch_snapshot(tmp_path / "other.pth.tar")


def test_key_chooses_on_the_command_line(tmp_path, capsys):
    other = mapping(**{"v.weight": tensor("0", (1,), (1,), 2)})
    archive(tmp_path / "step_1.pt", mapping(model=STATE, other=other))
    for words, weights in (([], 2), (["--key", "other"], 1)):
        with pytest.raises(SystemExit) as stop:
            main(["inspect", str(tmp_path / "step_1.pt"), "--format", "json", *words])
        assert stop.value.code == 0
        found = json.loads(capsys.readouterr().out)
        assert found["run"]["parameters"] == weights
    np.savez(tmp_path / "step_1.npz", w=np.ones(3))
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(tmp_path / "step_1.npz"), "--key", "other"])
    assert stop.value.code == 2
    assert "--key other chooses inside files of PyTorch" in capsys.readouterr().err
