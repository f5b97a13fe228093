"""The callbacks stop real trainings where the diagnostic says so, and the command agrees."""

import logging

import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence
from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.finding import Finding
from koopscope.integrations import Tracker
from koopscope.runs.detect.opening import open_run
from tests.frameworks import framework

STOP_STEP = 5


class StopAfter:
    """A diagnostic whose verdict is known: "stop" from one step on."""

    def ask(self, analysis):
        reached = int(analysis.description.steps[-1]) >= STOP_STEP
        evidence = ConvergenceEvidence(stop_step=STOP_STEP if reached else None)
        return Finding("convergence", "KS101", "pass", "settled", evidence=evidence)


def test_a_plain_loop_stops_where_the_command_says_it_could_have(tmp_path):
    torch = framework("torch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = torch.randn(64, 6)
    targets = inputs @ torch.randn(6, 2) + 0.1 * torch.randn(64, 2)
    model = torch.nn.Linear(6, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with Tracker(tmp_path / "run.h5", stop_on_convergence=True) as tracker:
        for epoch in range(1, 300):
            optimizer.zero_grad()
            loss = ((model(inputs) - targets) ** 2).mean()
            loss.backward()
            optimizer.step()
            tracker.after_epoch(epoch, epoch, model, loss=loss.item())
            if tracker.should_stop:
                break
    assert 10 < tracker.stopped_epoch < 299
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps[-1] == tracker.stopped_step
        finding = convergence.DIAGNOSTIC.ask(Analysis.of(run, Settings()))
    assert finding.evidence["stop_step"] == tracker.stopped_step
    assert finding.message == tracker.stopping_reason_message


@pytest.fixture
def stops(monkeypatch):
    monkeypatch.setattr(convergence, "DIAGNOSTIC", StopAfter())


def test_keras_stops(tmp_path, stops, caplog):
    framework("keras")
    from tests.integrations.test_keras import KoopscopeCallback, fit, model

    caplog.set_level(logging.INFO, logger="koopscope")
    callback = KoopscopeCallback(
        tmp_path / "run.h5", stop_on_convergence=True, patience=1, verbose=1
    )
    assert callback.stopping_reason_message is None
    history = fit(model(), [callback], epochs=9)
    assert callback.stopping_reason_message == "settled"
    assert caplog.messages == ["Epoch 3: early stopping: settled"]
    assert len(history.epoch) == 3
    assert callback.stopped_epoch == 2


def test_lightning_stops(tmp_path, stops):
    framework("lightning")
    from tests.integrations.test_lightning import KoopscopeCallback, fit

    callback = KoopscopeCallback(tmp_path / "run.h5", stop_on_convergence=True)
    trainer = fit(tmp_path, [callback])
    assert trainer.current_epoch == 2
    assert callback.stopped_epoch == 1
    assert callback.stopping_reason_message == "settled"


def test_the_trainer_of_hugging_face_stops(tmp_path, stops):
    framework("transformers")
    framework("accelerate")
    from tests.integrations.test_transformers import KoopscopeCallback, trained

    callback = KoopscopeCallback(tmp_path / "run.h5", every_n_steps=1, stop_on_convergence=True)
    trainer = trained(tmp_path, [callback])
    assert trainer.state.global_step == STOP_STEP + 1
