"""Keras trains a small network: its own checkpoints and the callback tell the same numbers."""

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from tests.frameworks import assert_same_numbers, framework

framework("torch")
keras = framework("keras")

KoopscopeCallback = framework("koopscope.integrations.keras").KoopscopeCallback

EPOCHS = 8


def model(policy="float32", depth=1):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(12, activation="tanh", name="front", dtype=policy),
            layers.BatchNormalization(name="norm", dtype=policy),
            *(layers.Dense(12, activation="tanh", dtype=policy) for _ in range(depth)),
            layers.Dense(1, name="head", dtype=policy),
        ],
        name="net",
    )
    # Adam's second moments do not survive bfloat16: it would leave every weight where it is.
    sgd = policy == "bfloat16"
    network.compile(keras.optimizers.SGD(0.3) if sgd else keras.optimizers.Adam(0.01), "mse")
    return network


def fit(network, callbacks, epochs=EPOCHS):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(48, 6)).astype("float32")
    return network.fit(
        inputs, inputs[:, :1] ** 2, epochs=epochs, batch_size=16, verbose=0, callbacks=callbacks
    )


@pytest.mark.parametrize(
    ("pattern", "weights_only"),
    [("e{epoch:02d}.weights.h5", True), ("e{epoch:02d}.keras", False), ("e{epoch:02d}.h5", False)],
)
def test_checkpoints_hold_the_numbers_recorded_beside_them(tmp_path, pattern, weights_only):
    (tmp_path / "saved").mkdir()
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "saved" / pattern), save_weights_only=weights_only
    )
    network = model(depth=11 if weights_only else 1)
    fit(network, [KoopscopeCallback(tmp_path / "run.h5"), checkpoint])
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "saved", first_step=3)
    with open_run(tmp_path / "saved") as run:
        layers = run.description.layers
        assert layers[0].endswith("front")
        assert layers[-1].endswith("head")
        assert sum(t.size for t in run.description.tensors if t.kind == "buffer") == 24
        assert "optimizer" in run.description.skipped[0].name


def test_bfloat16_weights_are_read_as_the_words_that_keras_wrote(tmp_path):
    (tmp_path / "saved").mkdir()
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "saved" / "e{epoch:02d}.weights.h5"), save_weights_only=True
    )
    fit(model("bfloat16"), [KoopscopeCallback(tmp_path / "run.h5"), checkpoint])
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "saved", first_step=3)
    with open_run(tmp_path / "saved") as run:
        assert "bfloat16" in run.description.dtype


def test_the_callback_takes_steps_metrics_and_a_selection(tmp_path):
    callback = KoopscopeCallback(tmp_path / "run.h5", every_n_steps=2, include=["net/front/*"])
    fit(model(), [callback], epochs=4)
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [0, 2, 4, 6, 8, 10, 12]
        assert [t.name for t in run.description.tensors] == ["net/front/kernel", "net/front/bias"]
        assert np.isfinite(run.description.metrics["loss"][1:]).all()


def test_the_callback_refuses_a_file_of_another_training(tmp_path):
    fit(model(), [KoopscopeCallback(tmp_path / "run.h5")], epochs=1)
    with pytest.raises(KoopscopeError, match=r"run\.h5 exists"):
        fit(model(), [KoopscopeCallback(tmp_path / "run.h5")], epochs=1)


def test_training_goes_on_in_the_same_file(tmp_path):
    network = model()
    fit(network, [KoopscopeCallback(tmp_path / "run.h5")], epochs=2)
    fit(network, [KoopscopeCallback(tmp_path / "run.h5")], epochs=2)
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [0, 3, 6, 9, 12]
