"""A pruned copy differs from its checkpoint in zeros where the mask says so, nowhere else."""

import json

import h5py
import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.pruning.application import apply_masks
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from tests.frameworks import framework
from tests.recorded import MLP, PRUNABLE, recorded, settling

REQUEST = MaskRequest(0.7)


@pytest.fixture
def network(tmp_path):
    return recorded(tmp_path / "run.h5", settling(MLP))


@pytest.fixture
def masks(network):
    return koopscope.prune(network, REQUEST.sparsity).masks


@pytest.fixture
def weights():
    return {name: array[-1] for name, array in settling(MLP, seed=7).items()}


def applied(network, checkpoint, output, request=REQUEST, **options):
    settings = PruningSettings()
    with open_run(network) as run, Pruner(run, pruning_basis(run, settings), settings) as pruner:
        return apply_masks(pruner, request, checkpoint, output, **options)


def load(path):
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {n: file[n] for n in file.files if n != "__metadata__"}
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda n, d: found.update({n: d[()]} if isinstance(d, h5py.Dataset) else {})
        )
        return found


def same_bits(one, other):
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def must_be_pruned(found, before, masks):
    assert list(found) == list(before)
    for name, array in before.items():
        wanted = np.where(masks[name], array, np.zeros_like(array)) if name in masks else array
        assert same_bits(found[name], wanted), name


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_copy_of_npz_keeps_every_dtype_and_what_is_not_pruned(
    tmp_path, network, weights, masks, dtype
):
    before = {name: array.astype(dtype) for name, array in weights.items()}
    before["step"] = np.array(700)
    before["norm.num_batches_tracked"] = np.array([3], np.int64)
    before["odd"] = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    before["hidden.0.bias"][1] = np.nan
    np.savez_compressed(tmp_path / "ckpt.npz", **before)
    notes = applied(network, tmp_path / "ckpt.npz", tmp_path / "pruned.npz")
    must_be_pruned(load(tmp_path / "pruned.npz"), before, masks)
    assert notes == ("copied unchanged, not in the run: odd",)
    with np.load(tmp_path / "pruned.npz") as file:
        said = json.loads(str(file["__metadata__"]))
    assert said["koopscope.sparsity"] == "0.7"
    assert said["koopscope.criterion"] == "magnitude"


def test_a_copy_of_a_runs_last_snapshot(tmp_path, network, masks):
    applied(network, network, tmp_path / "pruned.npz")
    before = {name: array[-1] for name, array in settling(MLP).items()}
    must_be_pruned(load(tmp_path / "pruned.npz"), before, masks)


def test_a_pruned_h5_is_read_back_as_a_checkpoint(tmp_path, network, weights, masks):
    np.savez(tmp_path / "ckpt.npz", **weights)
    applied(network, tmp_path / "ckpt.npz", tmp_path / "pruned.h5")
    must_be_pruned(
        dict(sorted(load(tmp_path / "pruned.h5").items())), dict(sorted(weights.items())), masks
    )
    applied(network, tmp_path / "pruned.h5", tmp_path / "again.npz")
    again = load(tmp_path / "again.npz")
    assert again.keys() == weights.keys()
    for name, array in load(tmp_path / "pruned.h5").items():
        assert same_bits(again[name], array)


def test_what_a_run_cannot_give_is_named(tmp_path):
    path = tmp_path / "run.h5"
    weights = settling({"w": (6, 5)})["w"]
    with Recorder(path) as recorder:
        with pytest.warns(RuntimeWarning, match="counter"):
            recorder.snapshot(0, {"w": weights[0], "counter": np.array(0)})
        recorder.snapshot(1, {"w": weights[1], "counter": np.array(1)})
    (note,) = applied(path, path, tmp_path / "pruned.npz")
    assert note.startswith("not copied: counter (int64 values")


def with_torch():
    return framework("torch"), framework("safetensors.torch")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_copy_of_safetensors_keeps_bits_dtype_and_metadata(
    tmp_path, network, weights, masks, dtype
):
    torch, safetensors_torch = with_torch()
    before = {n: torch.from_numpy(a).to(getattr(torch, dtype)) for n, a in weights.items()}
    before["norm.num_batches_tracked"] = torch.tensor(3)
    checkpoint, output = tmp_path / "ckpt.safetensors", tmp_path / "pruned.safetensors"
    safetensors_torch.save_file(before, checkpoint, metadata={"format": "pt"})
    assert applied(network, checkpoint, output) == ()
    found = safetensors_torch.load_file(output)
    assert found.keys() == before.keys()
    for name, tensor in before.items():
        assert found[name].dtype == tensor.dtype
        wanted = tensor * torch.from_numpy(masks[name]) if name in masks else tensor
        assert torch.equal(found[name], wanted)
    with safetensors_torch.safe_open(output, "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert file.metadata()["koopscope.step"] == "11"


def test_a_bfloat16_run_keeps_its_words(tmp_path):
    torch, safetensors_torch = with_torch()
    values = [torch.randn(6, 5).to(torch.bfloat16) for _ in range(4)]
    with Recorder(tmp_path / "run.h5") as recorder:
        for step, value in enumerate(values):
            recorder.snapshot(step, {"w": value})
    applied(tmp_path / "run.h5", tmp_path / "run.h5", tmp_path / "pruned.safetensors")
    found = safetensors_torch.load_file(tmp_path / "pruned.safetensors")["w"]
    mask = koopscope.prune(tmp_path / "run.h5", 0.7).masks["w"]
    assert torch.equal(found, values[-1] * torch.from_numpy(mask))
    applied(tmp_path / "run.h5", tmp_path / "run.h5", tmp_path / "pruned.npz")
    again = tmp_path / "again.safetensors"
    applied(tmp_path / "run.h5", tmp_path / "pruned.npz", again)
    assert torch.equal(safetensors_torch.load_file(again)["w"], found)


def test_a_tied_tensor_stored_once_or_twice_is_pruned_wherever_it_is(tmp_path):
    weights = settling({"enc.weight": (6, 5), "up.weight": (7, 5)})
    weights["dec.weight"] = weights["enc.weight"]
    run = recorded(tmp_path / "run.h5", weights)
    mask = koopscope.prune(run, 0.7).masks["enc.weight"]
    last = {name: array[-1] for name, array in weights.items()}
    for names in (("enc.weight", "up.weight", "dec.weight"), ("dec.weight", "up.weight")):
        checkpoint = tmp_path / f"{len(names)}.npz"
        np.savez(checkpoint, **{name: last[name] for name in names})
        applied(run, checkpoint, tmp_path / "pruned.npz", force=True)
        found = load(tmp_path / "pruned.npz")
        assert tuple(found) == names
        for name in set(names) - {"up.weight"}:
            np.testing.assert_array_equal(found[name], np.where(mask, last[name], 0))


def test_wrapped_names_of_a_checkpoint_are_recognised(tmp_path, network, weights, masks):
    before = {f"module.{name}": array for name, array in weights.items()}
    np.savez(tmp_path / "ckpt.npz", **before)
    assert applied(network, tmp_path / "ckpt.npz", tmp_path / "pruned.npz") == ()
    found = load(tmp_path / "pruned.npz")
    must_be_pruned(found, before, {f"module.{name}": mask for name, mask in masks.items()})


def test_units_are_pruned_with_their_biases(tmp_path, network, weights):
    request = MaskRequest(0.5, structure="unit")
    masks = koopscope.prune(network, 0.5, structure="unit").masks
    np.savez(tmp_path / "ckpt.npz", **weights)
    applied(network, tmp_path / "ckpt.npz", tmp_path / "pruned.npz", request)
    assert "hidden.0.bias" in masks
    must_be_pruned(load(tmp_path / "pruned.npz"), weights, masks)


def test_a_checkpoint_of_another_network_is_refused_by_tensor_and_shapes(
    tmp_path, network, weights
):
    output = tmp_path / "pruned.npz"
    other = weights | {"head.weight": np.zeros((5, 7), np.float32)}
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(
        KoopscopeError,
        match=r"head\.weight has shape \[5, 7\] in .*other\.npz and \[4, 7\] in the run",
    ):
        applied(network, tmp_path / "other.npz", output)
    del other["head.weight"]
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(KoopscopeError, match=r"other\.npz has no tensor head\.weight"):
        applied(network, tmp_path / "other.npz", output)
    assert not output.exists()


@pytest.mark.parametrize(
    ("array", "problem"),
    [(np.array(["a"]), "words of .* holds <U1 values"), (None, "does not exist")],
)
def test_what_cannot_be_copied_is_named(tmp_path, network, weights, array, problem):
    if array is not None:
        np.savez(tmp_path / "ckpt.npz", **weights, words=array)
    with pytest.raises(KoopscopeError, match=problem):
        applied(network, tmp_path / "ckpt.npz", tmp_path / "pruned.npz")


def test_a_damaged_checkpoint_leaves_no_output(tmp_path, network, weights):
    np.savez(tmp_path / "ckpt.npz", **weights)
    whole = (tmp_path / "ckpt.npz").read_bytes()
    (tmp_path / "ckpt.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(KoopscopeError, match=r"ckpt\.npz"):
        applied(network, tmp_path / "ckpt.npz", tmp_path / "pruned.npz")
    assert not list(tmp_path.glob("*pruned*"))


def test_the_masks_prune_the_tensors_they_are_named_for(masks):
    assert tuple(masks) == PRUNABLE
