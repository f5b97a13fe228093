"""Hugging Face's Trainer: checkpoint folders and the callback tell the same numbers."""

import warnings

import numpy as np
import pytest

from koopscope.runs.detect.converting import convert
from koopscope.runs.detect.opening import open_foreign, open_run
from tests.frameworks import assert_same_numbers, framework

torch = framework("torch")
framework("accelerate")
transformers = framework("transformers")

KoopscopeCallback = framework("koopscope.integrations.transformers").KoopscopeCallback

transformers.logging.set_verbosity_error()


def trained(tmp_path, callbacks, **options):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=12, n_layer=1, n_head=2, tie_word_embeddings=True
    )
    words = torch.randint(0, 20, (32, 8))
    data = [{"input_ids": row, "labels": row} for row in words]
    arguments = transformers.TrainingArguments(
        str(tmp_path / "out"),
        num_train_epochs=5,
        per_device_train_batch_size=16,
        learning_rate=0.01,
        save_strategy="steps",
        save_steps=1,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **options,
    )
    trainer = transformers.Trainer(
        transformers.GPT2LMHeadModel(config), arguments, train_dataset=data, callbacks=callbacks
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    return trainer


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    trained(folder, [KoopscopeCallback(folder / "run.h5", every_n_steps=1)])
    return folder


def test_checkpoint_folders_hold_the_numbers_recorded_beside_them(training):
    assert_same_numbers(training / "run.h5", training / "out", first_step=1)


def test_tied_tensors_are_recorded_once_either_way(training):
    with open_run(training / "run.h5") as left, open_run(training / "out") as right:
        names = [{t.name for t in run.description.tensors} for run in (left, right)]
        assert names[0] == names[1]
        assert "lm_head.weight" not in names[0]
        assert right.description.format.startswith("Hugging Face checkpoint")


def test_losses_come_from_the_trainers_state_and_are_those_of_the_callback(training):
    with open_foreign([training / "out"]) as run:
        convert(run, training / "converted.h5", tensors=run.description.tensors, metrics={})
    with open_run(training / "converted.h5") as run, open_run(training / "run.h5") as recorded:
        assert run.description.steps.tolist() == list(range(1, 11))
        assert recorded.description.steps.tolist() == list(range(11))
        for name in ("loss", "lr", "grad_norm"):
            found = run.description.metrics[name]
            assert np.isfinite(found).all()
            np.testing.assert_array_equal(found, recorded.description.metrics[name][1:])


def test_sharded_checkpoints_are_read_through_their_index(training, tmp_path):
    model = transformers.GPT2LMHeadModel.from_pretrained(training / "out" / "checkpoint-10")
    model.save_pretrained(tmp_path / "checkpoint-10", max_shard_size="4KB")
    assert (tmp_path / "checkpoint-10" / "model.safetensors.index.json").exists()
    with open_run([tmp_path / "checkpoint-10"]) as run:
        state = model.state_dict()
        for block in run.blocks():
            np.testing.assert_array_equal(
                block.values[0], state[block.tensor.name].numpy().ravel()[block.start : block.stop]
            )
