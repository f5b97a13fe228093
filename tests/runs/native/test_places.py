"""Where a training is recorded when something is there already: nothing is lost, or overwritten."""

import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs import claims
from koopscope.runs.atomic import drafted
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.native.storable import StorableNames

ROOT = Path(__file__).parents[2]


def weights(step):
    return {"w": np.full((4, 5), step, np.float32)}


def record(path, steps, **options):
    recorder = Recorder(path, **options)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in steps:
            assert recorder.snapshot(step, weights(step), loss=step)
    recorder.close()
    return recorder.path.name, [str(warning.message) for warning in said]


def steps_of(path):
    with open_run(path) as run:
        for block in run.blocks():
            assert (block.values == run.description.steps[:, None]).all()
        return run.description.steps.tolist()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


def test_a_training_that_begins_again_goes_to_the_next_name_and_says_so_once(path):
    assert record(path, range(5)) == ("run.h5", [])
    name, said = record(path, range(3))
    assert name == "run-2.h5"
    assert len(said) == 1
    assert f"{path} holds a training, steps 0 to 4" in said[0]
    assert record(path, range(7))[0] == "run-3.h5"
    found = [steps_of(path.with_name(name)) for name in ("run.h5", "run-2.h5", "run-3.h5")]
    assert [len(steps) for steps in found] == [5, 3, 7]


def test_a_training_whose_steps_go_on_goes_on_in_the_file(path):
    record(path, range(5))
    assert record(path, range(5, 8)) == ("run.h5", [])
    assert steps_of(path) == list(range(8))


def test_another_model_goes_to_another_file_whatever_its_steps(path):
    record(path, range(3))
    with pytest.warns(RuntimeWarning, match="a training of another model"):
        Recorder(path).snapshot(9, {"other": np.zeros(2)})
    assert steps_of(path) == [0, 1, 2]


def test_resuming_replaces_the_snapshots_from_the_first_new_step_on(path):
    record(path, range(8))
    name, said = record(path, [5, 7], mode="resume")
    assert (name, steps_of(path)) == ("run.h5", [0, 1, 2, 3, 4, 5, 7])
    assert len(said) == 1
    assert "went on to step 7: training resumes at step 5" in said[0]


@pytest.mark.parametrize("options", [{"mode": "resume"}, {"resume_from": -1}])
def test_resuming_never_leaves_nothing_of_a_run(path, options):
    record(path, range(4))
    assert record(path, range(2), **options)[0] == "run-2.h5"
    assert steps_of(path) == [0, 1, 2, 3]


def test_overwriting_keeps_the_old_run_until_the_new_one_has_a_snapshot(path):
    record(path, range(6))
    recorder = Recorder(path, mode="overwrite")
    assert steps_of(path) == list(range(6))
    recorder.snapshot(3, weights(3))
    assert steps_of(path) == [3]


@pytest.mark.parametrize("options", [{"mode": "append"}, {"mode": "overwrite", "resume_from": 2}])
def test_options_that_make_no_sense_are_said_at_once(path, options):
    with pytest.raises(KoopscopeError, match="mode"):
        Recorder(path, **options)


def emptied(path):
    os.truncate(path, 0)


def cut(path):
    os.truncate(path, path.stat().st_size - 200)


def overwritten(path):
    path.write_text("hello" * 100)


def replaced_by_other_hdf5(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = 1


def replaced_by_another_run(path):
    path.unlink()
    record(path, range(10, 14))


def removed(path):
    path.unlink()


@pytest.mark.parametrize(
    "harm", [emptied, cut, overwritten, replaced_by_other_hdf5, replaced_by_another_run, removed]
)
def test_whatever_befalls_the_file_the_training_goes_on_in_another(path, harm):
    recorder = Recorder(path)
    for step in range(3):
        recorder.snapshot(step, weights(step), loss=1)
    harm(path)
    content = path.read_bytes() if path.exists() else None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in (9, 10, 11):
            assert recorder.snapshot(step, weights(step), loss=1)
    assert len(said) == 1
    assert "this training is recorded in" in str(said[0].message)
    assert steps_of(recorder.path) == [9, 10, 11]
    if content is not None:
        assert recorder.path.name == "run-2.h5"
        assert path.read_bytes() == content


HOLD = """
import sys, numpy as np
from koopscope import Recorder
recorder = Recorder(sys.argv[1])
recorder.snapshot(0, {"w": np.zeros((4, 5), np.float32)})
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def elsewhere(path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    other.early = Recorder(path)
    assert other.stdout.readline() == "begun\n"
    yield other
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()


def test_of_two_that_begin_one_file_the_first_has_it_and_the_other_says_so(path, elsewhere):
    with pytest.warns(RuntimeWarning, match=f"recorded by process {elsewhere.pid}") as said:
        assert elsewhere.early.snapshot(1, weights(1)) is False
    assert elsewhere.early.snapshot(2, weights(2)) is False
    assert len(said) == 1
    assert steps_of(path) == [0]
    assert sorted(os.listdir(path.parent)) == [".run.h5.lock", "run.h5"]


def test_a_training_that_begins_while_another_records_goes_beside_it(path, elsewhere):
    name, said = record(path, [5, 6])  # also where its steps would go on
    assert name == "run-2.h5"
    assert f"is being recorded by process {elsewhere.pid}" in said[0]
    assert steps_of(path) == [0]


def test_the_lock_of_a_killed_process_is_nobodys(path, elsewhere):
    elsewhere.kill()
    elsewhere.wait()
    assert (path.parent / ".run.h5.lock").exists()
    assert record(path, [5, 6]) == ("run.h5", [])
    assert os.listdir(path.parent) == ["run.h5"]


def test_where_there_are_no_locks_a_file_is_one_and_a_dead_owners_is_taken_over(
    tmp_path, monkeypatch
):
    def none(*_):
        raise OSError(claims.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claims, "locked", none)
    mark = tmp_path / ".run.h5.locked"
    dead = subprocess.Popen(["true"])
    dead.wait()
    mark.write_text(f"{dead.pid} {claims.socket.gethostname()}\n")
    taken = claims.claim(tmp_path / "run.h5")
    assert mark.read_text().split()[0] == str(os.getpid())
    taken.release()
    assert os.listdir(tmp_path) == []
    mark.write_text(f"{os.getppid()} {claims.socket.gethostname()}\n")
    assert claims.claim(tmp_path / "run.h5", patience=0.0) is None
    mark.write_text(f"{dead.pid} another-machine\n")
    assert claims.claim(tmp_path / "run.h5", patience=0.0) is None


def test_a_planted_link_in_place_of_the_lock_is_not_followed(path):
    precious = path.with_name("precious")
    precious.write_text("kept")
    path.with_name(".run.h5.lock").symlink_to(precious)
    record(path, range(2))
    assert precious.read_text() == "kept"


def test_a_forked_child_writes_nothing_of_its_parents(path):
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0))
    warnings.simplefilter("ignore")
    child = os.fork()
    if child == 0:
        os._exit(int(recorder.snapshot(1, weights(1))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert recorder.snapshot(2, weights(2))
    assert steps_of(path) == [0, 2]


def test_a_link_stays_one_and_the_run_lies_where_it_points(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run.h5").symlink_to("scratch/run.h5")
    record(tmp_path / "run.h5", range(2))
    record(tmp_path / "run.h5", range(3), mode="overwrite")
    assert (tmp_path / "run.h5").is_symlink()
    assert steps_of(tmp_path / "scratch" / "run.h5") == [0, 1, 2]
    assert os.listdir(tmp_path / "scratch") == ["run.h5"]


def test_drafts_of_the_dead_are_removed_and_those_of_the_living_kept(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [tmp_path / f".a.npz.{dead.pid}-0123abcd.tmp", tmp_path / f".a.npz.{dead.pid}.tmp"]
    living = [tmp_path / f".a.npz.{os.getppid()}-0123abcd.tmp", tmp_path / f".b.npz.{dead.pid}.tmp"]
    for draft in left + living:
        draft.write_text("half")
    with drafted(tmp_path / "a.npz") as draft:
        assert draft.parent == tmp_path
        draft.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.npz", *(each.name for each in living)])


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("{}")
    target.chmod(0o600)
    with drafted(target) as draft:
        draft.write_text("[]")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_what_appeared_meanwhile_is_not_replaced_unless_it_may_be(tmp_path):
    target = tmp_path / "run.h5"
    with pytest.raises(FileExistsError), drafted(target, replace=False) as draft:
        draft.write_text("mine")
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["run.h5"]


def test_names_are_told_apart_in_a_time_that_does_not_grow_with_their_number():
    names = StorableNames(f"layer{k}/weight" for k in range(100_000))
    assert names.problem("layer7") == "not storable in HDF5 next to layer7/weight"
    assert names.problem("layer7/weight/inner") == "not storable in HDF5 next to layer7/weight"
    assert names.problem("layer7/bias") == ""
    assert names.problem("a//b").startswith("not storable")
