"""Files from outside: whatever they hold, the answer is a run or one clear sentence."""

import fcntl
import os

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.hdf5 import step_attribute
from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5.safety import TEXT_LIMIT, has_attribute
from koopscope.runs.native.recorder import Recorder

TERABYTES_OF_WEIGHTS = 10**12


@pytest.fixture
def path(tmp_path):
    """A run of three snapshots of one tensor, 0, 1, 2 throughout."""
    path = tmp_path / "run.h5"
    recorder = Recorder(path)
    for step in range(3):
        recorder.snapshot(step, {"w": np.full(4, step, np.float32)}, loss=1.0)
    return path


def edited(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def read_all(path):
    with open_run(path) as run:
        for _ in run.blocks():
            pass
        return run.description


def refusal(path):
    with pytest.raises(KoopscopeError) as caught:
        read_all(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value.message


def skipped(path):
    return {entry.name: entry.reason for entry in read_all(path).skipped}


def external_link(file):
    file["weights/other"] = h5py.ExternalLink("/etc/hostname", "/")


def soft_link(file):
    file["weights/other"] = h5py.SoftLink("/weights/w")


def external_storage(file):
    file.create_dataset("weights/other", (3, 4), np.float32, external=[("/etc/hostname", 0, 48)])


def virtual_dataset(file):
    layout = h5py.VirtualLayout((3, 4), np.float32)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "w", (3, 4))
    file.create_virtual_dataset("weights/other", layout)


def endless_virtual_dataset(file):
    layout = h5py.VirtualLayout((3, 4), np.float32, maxshape=(None, 4))
    source = h5py.VirtualSource("elsewhere.h5", "w", (3, 4), maxshape=(None, 4))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("weights/other", layout)


def terabytes_in_chunks(file):
    file.create_dataset("weights/other", (3, TERABYTES_OF_WEIGHTS), np.float32, chunks=(1, 1024))


def terabytes_in_one_piece(file):
    file.create_dataset("weights/other", (3, TERABYTES_OF_WEIGHTS), np.float32)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (external_link, "an external link"),
        (soft_link, "a soft link"),
        (external_storage, "external file"),
        (virtual_dataset, "virtual dataset"),
        (endless_virtual_dataset, "virtual dataset"),
        (terabytes_in_chunks, "declared as 12000000000000 bytes while the file stores 0"),
        (terabytes_in_one_piece, "declared as 12000000000000 bytes while the file stores 0"),
    ],
)
def test_weights_that_are_not_in_the_file_are_refused(path, edit, reason):
    message = refusal(edited(path, edit))
    assert reason in message
    assert "other of" in message


@pytest.mark.parametrize("member", ["step", "weights"])
def test_the_parts_of_a_run_are_not_found_through_links(path, member):
    def elsewhere(file):
        file.move(member, "moved")
        file[member] = h5py.SoftLink("/moved")

    assert "soft link" in refusal(edited(path, elsewhere))


def test_what_lies_outside_the_run_is_listed_and_never_opened(path):
    def extras(file):
        file["extra"] = h5py.ExternalLink("/nowhere.h5", "/")
        file.create_group("notes")["text"] = "hello"
        file["metrics/far"] = h5py.SoftLink("/step")

    assert skipped(edited(path, extras)) == {
        "/extra": "an external link, which is not followed",
        "/notes": "not a part of run files",
        "/metrics/far": "a soft link, which is not followed",
    }


def test_a_group_that_holds_itself_is_walked_once(path):
    def circle(file):
        group = file.create_group("weights/deep")
        group["again"] = group
        group["top"] = file["weights"]

    assert set(skipped(edited(path, circle))) == {"deep/again", "deep/top"}


def test_one_dataset_under_two_names_counts_once(path):
    def alias(file):
        file["weights/tied"] = file["weights/w"]

    description = read_all(edited(path, alias))
    assert description.parameters == 4
    assert [entry.name for entry in description.skipped] == ["tied"]


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (np.int64, "int64 values"),
        (np.clongdouble, "compound values"),
        (np.dtype([("real", "f4"), ("imag", "f4")]), "compound values"),
        (np.dtype([("r", "f4"), ("i", "f8")]), "compound values"),
        (np.dtype([("r", "f2"), ("i", "f2")]), "compound values"),
        (np.dtype([("a", "f4"), ("b", "f4")]), "values"),
        (h5py.string_dtype(), "values"),
        (h5py.ref_dtype, "values"),
        (h5py.vlen_dtype(np.float32), "values"),
        (h5py.enum_dtype({"on": 1}), "values"),
        (np.dtype("V8"), "values"),
        (np.uint16, "uint16 values"),
        (np.longdouble, "values"),
        (np.bool_, "values"),
    ],
)
def test_what_is_no_tensor_of_floats_is_skipped_with_its_reason(path, dtype, reason):
    def strange(file):
        file["weights"].create_dataset("odd", (3, 2), dtype)

    assert reason in skipped(edited(path, strange))["odd"]


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", ">f2"])
def test_floats_of_either_byte_order_are_read(path, dtype):
    values = np.arange(6).reshape(3, 2)

    def foreign(file):
        file["weights"].create_dataset("foreign", data=values, dtype=dtype)

    with open_run(edited(path, foreign)) as run:
        block = next(block for block in run.blocks() if block.tensor.name == "foreign")
        np.testing.assert_array_equal(block.values, values)
        assert block.values.dtype.isnative


def test_empty_scalar_and_short_datasets_are_skipped(path):
    def odd(file):
        file["weights/scalar"] = 1.5
        file["weights/null"] = h5py.Empty("f4")
        file["weights/nothing"] = np.zeros((3, 0), np.float32)
        file["weights/short"] = np.zeros((2, 5), np.float32)

    reasons = skipped(edited(path, odd))
    assert reasons["scalar"] == reasons["null"] == "a single value without a time axis"
    assert reasons["nothing"] == "no elements (shape [0])"
    assert reasons["short"] == "recorded in only 2 of 3 snapshots"


@pytest.mark.parametrize("chunks", [(1, 5), (2, 3), None])
def test_rows_that_were_never_written_are_not_read_as_zeros(path, chunks):
    def unwritten(file):
        file["weights"].create_dataset("hollow", (3, 5), np.float32, chunks=chunks)
        if chunks:
            file["weights/hollow"][0] = 1.0

    assert "lacks" in refusal(edited(path, unwritten))


def test_an_unknown_filter_is_named(path):
    def filtered(file):
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((1, 4))
        plan.set_filter(32_123, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((3, 4))
        group = h5py.h5g.open(file.id, b"weights")
        h5py.h5d.create(group, b"packed", h5py.h5t.IEEE_F32LE, space, plan)

    assert "filter number 32123" in refusal(edited(path, filtered))


@pytest.mark.parametrize("name", ["bell\x07", "line\nbreak", "n" * 2000, b"\xff"])
def test_names_no_framework_gives_are_refused_and_shown_harmlessly(path, name):
    def odd(file):
        file["weights"][name] = np.zeros((3, 1), np.float32)

    assert refusal(edited(path, odd)).isprintable()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (np.array([0, 2, 2]), "do not increase: 2 follows 2"),
        (np.array([0.0, 1.0, 2.0]), "not a list of whole numbers"),
        (np.zeros((3, 1), np.int64), "not a list of whole numbers"),
        (np.bytes_(b"three"), "not a list of whole numbers"),
        (np.array([0, 1, 2**62]), "is beyond what can be counted"),
        (np.array([-(2**63), 0, 2]), "is beyond what can be counted"),
        (np.array([0, 1, 2**64 - 1], np.uint64), "is beyond what can be counted"),
    ],
)
def test_steps_that_are_no_steps_are_refused(path, steps, message):
    def replace(file):
        del file["step"]
        file["step"] = steps

    assert message in refusal(edited(path, replace))


def test_a_run_of_absurdly_many_snapshots_is_refused_before_it_is_read(path):
    def endless(file):
        del file["step"]
        file.create_dataset("step", (2**28,), np.int64, chunks=(2**20,), compression="gzip")

    assert "snapshots long" in refusal(edited(path, endless))


def test_steps_that_a_small_file_packs_are_not_unpacked(path):
    def packed(file):
        del file["step"]
        steps = np.arange(3_000_000)
        file.create_dataset("step", data=steps, chunks=(2**20,), compression=1, shuffle=True)

    assert "in a file too small for so many" in refusal(edited(path, packed))


def test_steps_that_were_never_written_are_not_zeros(path):
    def declared(file):
        del file["step"]
        file.create_dataset("step", (3,), np.int64, chunks=(3,))

    assert "never written" in refusal(edited(path, declared))


@pytest.mark.parametrize(
    ("version", "message"),
    [("2.0", "has format 2.0"), ("one", "'one' as its format_version"), (3, "format_version")],
)
def test_another_major_version_is_refused(path, version, message):
    def relabel(file):
        file.attrs["format_version"] = version

    assert message in refusal(edited(path, relabel))


def test_a_newer_minor_version_is_read_with_a_note(path):
    def relabel(file):
        file.attrs["format_version"] = "1.7"

    assert "1.7 is newer than 1.2" in " ".join(read_all(edited(path, relabel)).notes)


@pytest.mark.parametrize(
    "metadata",
    ["{", "[1]", "[" * 100_000, b"\xff\xfe", np.zeros(3), "x" * 20_000_000, h5py.Empty("S5")],
    ids=["torn", "list", "deep", "binary", "numbers", "huge", "empty"],
)
def test_metadata_that_is_no_json_object_is_ignored_with_a_note(path, metadata):
    def relabel(file):
        file.attrs["metadata"] = metadata

    description = read_all(edited(path, relabel))
    assert dict(description.metadata) == {}
    assert "metadata" in " ".join(description.notes)


def test_metrics_of_another_kind_or_length_do_not_stop_the_reading(path):
    def odd(file):
        del file["metrics/loss"]
        file["metrics/loss"] = np.array([5.0])
        file["metrics/words"] = np.bytes_(b"hello")
        file["metrics/nested/deeper"] = np.arange(3.0)
        file["metrics/nested/again"] = file["metrics"]

    description = read_all(edited(path, odd))
    np.testing.assert_array_equal(description.metrics["loss"], [5.0, np.nan, np.nan])
    np.testing.assert_array_equal(description.metrics["nested/deeper"], [0, 1, 2])
    assert {entry.name for entry in description.skipped} == {"/metrics/words"}


def test_a_file_cut_anywhere_is_an_error(path, tmp_path):
    whole = path.read_bytes()
    cut = tmp_path / "cut.h5"
    for length in np.linspace(0, len(whole) - 1, 25).astype(int):
        cut.write_bytes(whole[:length])
        message = refusal(cut)
        if length > 1000:
            assert f"is truncated: {length:,} of {len(whole):,} bytes are there" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\x89HDF\r\n\x1a\n" + bytes(20), "cannot be read")],
)
def test_a_file_that_is_no_file_of_this_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "run.h5"
    path.write_bytes(content)
    assert message in refusal(path)


def test_a_plain_hdf5_file_that_claims_to_be_a_run_must_have_its_parts(tmp_path):
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "koopscope-run"
        file.attrs["format_version"] = "1.0"
    assert "/step" in refusal(path)


def test_a_missing_file_a_pipe_and_a_forbidden_file_are_refused(tmp_path, path):
    assert "does not exist" in refusal(tmp_path / "missing.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    assert "not a regular file" in refusal(tmp_path / "pipe.h5")
    if os.geteuid():
        path.chmod(0)
        assert "may not be read" in refusal(path)


def test_a_file_that_another_program_has_locked_is_read(path):
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert read_all(path).snapshots == 3


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_file_that_this_program_has_open_is_read(path, mode):
    with h5py.File(path, mode):
        assert read_all(path).snapshots == 3


def test_lists_and_steps_in_attributes_are_bounded_before_they_are_read(tmp_path):
    size = TEXT_LIMIT + 1
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file.attrs["layer_names"], file.attrs["step"] = np.array([b"a", b"b"]), 3
        large = file.create_group("large")
        large.attrs.create("layer_names", np.zeros(size, "S1"))
        large.attrs.create("step", np.zeros(size, "i1"))
        assert [has_attribute(file, name) for name in ("layer_names", "step", "none")] == [1, 1, 0]
        assert not has_attribute(large, "layer_names")
        assert not has_attribute(large, "step")
        assert step_attribute(file) == (3, "step")
        assert step_attribute(large) == (None, "step")
