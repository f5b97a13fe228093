"""Lightning trains a small network: its own checkpoints and the callback tell the same numbers."""

import logging
import warnings

import numpy as np

from koopscope.runs.checkpoints.metrics_log import metrics_from
from koopscope.runs.detect.converting import convert
from koopscope.runs.detect.opening import open_foreign, open_run
from tests.frameworks import assert_same_numbers, framework

torch = framework("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lightning = framework("lightning")

KoopscopeCallback = framework("koopscope.integrations.lightning").KoopscopeCallback

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Network(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"width": 10})
        self.body = torch.nn.Sequential(
            torch.nn.Linear(6, 10),
            torch.nn.BatchNorm1d(10),
            torch.nn.Tanh(),
            torch.nn.Linear(10, 1),
        )

    def training_step(self, batch, _):
        loss = ((self.body(batch[0]) - batch[1]) ** 2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", ((self.body(batch[0]) - batch[1]) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.02)


def fit(tmp_path, callbacks, epochs=9):
    torch.manual_seed(1)
    inputs = torch.randn(48, 6)
    data = torch.utils.data.TensorDataset(inputs, inputs[:, :1] ** 2)
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=callbacks,
        logger=lightning.pytorch.loggers.CSVLogger(tmp_path, name="log", version=0),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Network(), loader, loader)
    return trainer


def test_checkpoints_hold_the_numbers_recorded_beside_them(tmp_path):
    checkpoint = lightning.pytorch.callbacks.ModelCheckpoint(
        tmp_path / "saved", filename="{epoch}-{step}", save_top_k=-1
    )
    fit(tmp_path, [KoopscopeCallback(tmp_path / "run.h5"), checkpoint])
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "saved", first_step=3)
    with open_foreign([tmp_path / "saved"]) as run:
        assert run.description.format == "Lightning checkpoint, 9 checkpoints"
        assert "steps come from the checkpoints themselves" in run.description.notes
        log = metrics_from(
            tmp_path / "log" / "version_0" / "metrics.csv", run.description.steps.tolist(), "step"
        ).columns
        convert(run, tmp_path / "converted.h5", tensors=run.description.tensors, metrics=log)
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "converted.h5", first_step=3)
    with open_run(tmp_path / "run.h5") as left, open_run(tmp_path / "converted.h5") as right:
        assert [t.name for t in left.description.tensors] == [
            t.name for t in right.description.tensors
        ]
        for name in ("loss", "val_loss"):
            ours, theirs = left.description.metrics[name][1:], right.description.metrics[name]
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_the_callback_counts_optimizer_steps(tmp_path):
    fit(tmp_path, [KoopscopeCallback(tmp_path / "run.h5", every_n_steps=4)], epochs=4)
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [0, 4, 8, 12]
