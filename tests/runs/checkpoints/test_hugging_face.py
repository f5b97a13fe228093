"""Hugging Face's cache, diffusers' folders and adapters, written by the libraries themselves."""

import json
import os

import numpy as np
import pytest

from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from tests.calling import called
from tests.frameworks import assert_same_numbers, framework
from tests.series_files import trajectory, write_safetensors

#: Real hashes are as long; one of them is all digits, which must not become a step.
HASHES = [f"{k:x}" * 40 for k in range(1, 15)]


def rows(run):
    found = {}
    for tensor in run.description.tensors:
        out = np.empty((run.description.snapshots, tensor.size), run.read_dtype(tensor))
        run.read(tensor, 0, tensor.size, out)
        found[tensor.name] = out.reshape(-1, *tensor.shape)
    return found


def cached(folder, revisions, snapshots=12, name="model.safetensors"):
    """Write the cache as huggingface_hub lays it out: blobs, links to them, and refs."""
    cache = folder / "models--org--net"
    for part in ("blobs", "refs", "snapshots"):
        (cache / part).mkdir(parents=True)
    run = trajectory(snapshots, "float64")
    for t, revision in enumerate(revisions):
        blob = write_safetensors(
            cache / "blobs" / f"blob{t}", {k: v[min(t, snapshots - 1)] for k, v in run.items()}
        )
        home = cache / "snapshots" / HASHES[t]
        home.mkdir()
        (home / name).symlink_to(os.path.relpath(blob, home))
        if revision is not None:
            ref = cache / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(HASHES[t])
    return cache


def recorded(path, run, steps):
    with Recorder(path) as recorder:
        for t, step in enumerate(steps):
            recorder.snapshot(step, {name: values[t] for name, values in run.items()})
    return path


STEPS = list(range(0, 12000, 1000))


@pytest.mark.parametrize("named", ["", "snapshots", "refs", ".."])
def test_revisions_of_a_cache_are_snapshots(tmp_path, named):
    cache = cached(tmp_path / "hub", [f"step{step}" for step in STEPS])
    with open_run(cache / named) as run:
        assert run.description.steps.tolist() == STEPS
        assert "steps come from the names" in run.description.notes
    beside = recorded(tmp_path / "beside.h5", trajectory(12, "float64"), STEPS)
    assert_same_numbers(beside, cache, 0)


def test_main_and_what_has_no_revision_or_no_weights_is_left_out_and_said(tmp_path):
    cache = cached(tmp_path, ["step0", "step1000", "main", None])
    (cache / "refs" / "main").write_text(HASHES[1])
    (cache / "refs" / "step2000").write_text(HASHES[9])
    (cache / "refs" / "pr").mkdir()
    (cache / "refs" / "pr" / "7").write_text(HASHES[0])
    with open_run(cache) as run:
        assert run.description.steps.tolist() == [0, 1000]
        notes = "; ".join(run.description.notes)
    assert "1 of 4 revisions have no weights here: step2000" in notes
    assert "2 snapshots of models--org--net that no revision names are left out" in notes
    assert "main is left out: it holds the same weights" in notes


def test_a_hash_is_never_a_step(tmp_path, capsys):
    one = cached(tmp_path / "one", [None])
    with open_run(one) as run:
        assert run.description.steps.tolist() == [0]
    several = cached(tmp_path / "several", [None, None])
    code, _, told = called(capsys, "inspect", several)
    assert code == 2
    assert "no revision tells their steps" in told


def test_stages_in_revisions_are_kept_apart(tmp_path, capsys):
    cache = cached(tmp_path, ["stage1-step1000-tokens3B", "stage2-step1000-tokens3B"])
    code, _, told = called(capsys, "inspect", cache)
    assert code == 2
    assert "2 runs, which are not joined" in told


def test_links_are_followed_only_inside_the_cache(tmp_path, capsys):
    cache = cached(tmp_path, ["step1", "step2"])
    outside = write_safetensors(tmp_path / "secret", {"w": np.ones(3, np.float32)})
    link = cache / "snapshots" / HASHES[0] / "model.safetensors"
    link.unlink()
    link.symlink_to(outside)
    for source in (cache, link.parent):
        code, _, told = called(capsys, "inspect", source)
        assert code == 2
        assert "leads out of the cache models--org--net" in told


@pytest.mark.parametrize("text", ["", "../../../etc", "x" * 1000, "\xff", "zz" * 20])
def test_a_revision_without_a_hash_is_one_sentence(tmp_path, capsys, text):
    cache = cached(tmp_path, ["step1"])
    (cache / "refs" / "step1").write_text(text)
    code, _, told = called(capsys, "inspect", cache)
    assert code == 2
    assert "does not hold the hash of a commit" in told


def test_a_cache_of_several_models_names_one(tmp_path, capsys):
    for name in ("models--a--b", "models--a--c"):
        (tmp_path / name / "snapshots").mkdir(parents=True)
    code, _, told = called(capsys, "inspect", tmp_path)
    assert code == 2
    assert "a cache of 2 models" in told


def test_a_cache_that_the_hub_client_reads_too(tmp_path):
    hub = framework("huggingface_hub")
    cache = cached(tmp_path, ["step1", "step2"])
    found = {
        ref: revision.commit_hash
        for repo in hub.scan_cache_dir(tmp_path).repos
        for revision in repo.revisions
        for ref in revision.refs
    }
    assert found == {"step1": HASHES[0], "step2": HASHES[1]}
    with open_run(cache) as run:
        assert run.description.steps.tolist() == [1, 2]


def test_diffusers_folders_take_the_network_that_is_trained(tmp_path):
    save_file = framework("safetensors.numpy").save_file
    run = trajectory(12, "float64")
    for t in range(12):
        for part in ("unet", "vae"):
            folder = tmp_path / "saved" / f"checkpoint-{500 * (t + 1)}" / part
            folder.mkdir(parents=True)
            weights = {k: np.ascontiguousarray(v[t]) for k, v in run.items()}
            if part == "vae":
                weights = {"decoder": np.ones((2, 2))}
            save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    steps = [500 * (t + 1) for t in range(12)]
    with open_run(tmp_path / "saved") as opened:
        assert opened.description.steps.tolist() == steps
        assert any("those of unet; beside it lie vae" in n for n in opened.description.notes)
    beside = tmp_path / "beside.h5"
    with Recorder(beside) as recorder:
        for t, step in enumerate(steps):
            recorder.snapshot(step, {name: run[name][t] for name in sorted(run)})
    assert_same_numbers(beside, tmp_path / "saved", 0)


def lora_model(torch, dtype):
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = torch.nn.Embedding(11, 6)
            self.query = torch.nn.Linear(6, 5)
            self.other = torch.nn.Linear(5, 6)
            self.image = torch.nn.Conv2d(3, 4, 3)

    return Net().to(dtype)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("rslora", [True, False])
def test_adapters_give_b_a_and_their_product_as_peft_merges_it(tmp_path, safe, rslora):
    torch, peft = framework("torch"), framework("peft")
    config = peft.LoraConfig(
        r=2,
        lora_alpha=6,
        target_modules=["tokens", "query", "other", "image"],
        rank_pattern={"other": 3},
        alpha_pattern={"other": 7},
        use_rslora=rslora,
    )
    model = peft.get_peft_model(lora_model(torch, torch.float64), config)
    model = model.double()
    generator = torch.Generator().manual_seed(1)
    beside = Recorder(tmp_path / "beside.h5")
    with beside, torch.no_grad():
        for step in range(10, 130, 10):
            for name, weights in model.named_parameters():
                if "lora_" in name:
                    weights += torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
            folder = tmp_path / "saved" / f"checkpoint-{step}"
            model.save_pretrained(folder, safe_serialization=safe)
            stored = peft.get_peft_model_state_dict(model)
            deltas = {
                f"{name}.lora_product": layer.get_delta_weight("default")
                for name, layer in model.named_modules()
                if hasattr(layer, "get_delta_weight")
            }
            deltas = {k: v.T if "tokens" in k else v for k, v in deltas.items()}
            beside.snapshot(step, {**stored, **deltas})
    with open_run(tmp_path / "saved") as run, open_run(tmp_path / "beside.h5") as truth:
        mine, theirs = rows(run), rows(truth)
        notes = "; ".join(run.description.notes)
        tensors = {tensor.name: tensor for tensor in run.description.tensors}
        conv = next(t for name, t in tensors.items() if name.endswith("image.lora_product"))
        assert conv.shape == (4, 3, 3, 3)
        part = np.empty((run.description.snapshots, 50))
        run.read(conv, 13, 63, part)
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(part, theirs[conv.name].reshape(12, -1)[:, 13:63], atol=1e-12)
    assert "4 products of the adapter's B and A are computed" in notes


def lora_folder(folder, said, a=(2, 5), b=(4, 2)):
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"q.lora_A.weight": np.ones(a, "f4"), "q.lora_B.weight": np.ones(b, "f4")}
    write_safetensors(folder / "adapter_model.safetensors", weights)
    if said is not None:
        (folder / "adapter_config.json").write_text(said)
    return folder


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "no adapter_config.json lies beside"),
        ("{}", "no adapter_config.json lies beside"),
        ('{"r": 2}', "no number lora_alpha"),
        ('{"lora_alpha": "4"}', "no number lora_alpha"),
        ('{"lora_alpha": true}', "no number lora_alpha"),
        ('{"lora_alpha": 4, "use_dora": true}', "DoRA"),
        ('{"lora_alpha": 4, "alpha_pattern": {"(a+)+$": 3}}', "which is not evaluated"),
    ],
)
def test_a_product_whose_scale_is_not_known_is_left_out(tmp_path, said, why):
    with open_run(lora_folder(tmp_path / "checkpoint-5", said)) as run:
        assert len(run.description.tensors) == 2
        (skip,) = run.description.skipped
    assert skip.name == "q.lora_product"
    assert why in skip.reason


def test_shapes_that_do_not_fit_have_no_product(tmp_path):
    folder = lora_folder(tmp_path / "checkpoint-5", '{"lora_alpha": 4}', b=(4, 3))
    with open_run(folder) as run:
        assert "do not fit together" in run.description.skipped[0].reason


@pytest.mark.parametrize("said", ["", "[]", "[" * 100_000, '{"a":'])
def test_a_damaged_adapter_config_is_one_sentence(tmp_path, capsys, said):
    code, _, told = called(capsys, "inspect", lora_folder(tmp_path / "checkpoint-5", said))
    assert code == 2
    assert "is not a readable JSON object" in told


def test_adapters_of_mlx_are_transposed_and_have_their_scale(tmp_path):
    rng = np.random.default_rng(3)
    expected = []
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"fine_tune_type": "lora", "lora_parameters": {"rank": 2, "scale": 20.0}})
    )
    for step in (100, 200, 300):
        a, b = rng.normal(size=(5, 2)), rng.normal(size=(2, 4))
        weights = {"layers.0.q_proj.lora_a": a, "layers.0.q_proj.lora_b": b}
        write_safetensors(tmp_path / f"{step:07d}_adapters.safetensors", weights)
        expected.append(20.0 * (a @ b).T)
    write_safetensors(tmp_path / "adapters.safetensors", weights)
    with open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [100, 200, 300]
        found = rows(run)["layers.0.q_proj.lora_product"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
