"""JAX and Flax parameters, as they are, are a run."""

import numpy as np

from koopscope.integrations import Tracker
from koopscope.runs.detect.opening import open_run
from tests.frameworks import framework

jax = framework("jax")


def test_nested_parameters_of_a_plain_loop_are_recorded(tmp_path):
    jnp = jax.numpy
    parameters = {
        "dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)},
        "scale": jnp.asarray(0.5, jnp.bfloat16),
    }
    gradient = jax.jit(jax.grad(lambda p: (p["dense"]["kernel"].sum() - p["scale"]) ** 2))
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=1)
    kept = []
    for step in range(1, 5):
        update = gradient(parameters)
        parameters = jax.tree.map(lambda w, g: (w - 0.01 * g).astype(w.dtype), parameters, update)
        tracker.after_step(step, parameters)
        kept.append(np.asarray(parameters["dense"]["kernel"]).ravel())
    tracker.close()
    with open_run(tmp_path / "run.h5") as run:
        found = {b.tensor.name: (b.tensor.dtype, b.values.copy()) for b in run.blocks()}
    assert {name: dtype for name, (dtype, _) in found.items()} == {
        "dense/kernel": "float32",
        "dense/bias": "float32",
        "scale": "bfloat16",
    }
    np.testing.assert_array_equal(found["dense/kernel"][1], kept)


def test_a_flax_nnx_model_is_recorded_by_its_parameters(tmp_path):
    nnx = framework("flax.nnx")
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=1)
    tracker.after_step(1, nnx.state(model, nnx.Param))
    with open_run(tmp_path / "run.h5") as run:
        found = {b.tensor.name: b.values.copy() for b in run.blocks()}
    np.testing.assert_array_equal(found["kernel"][0], np.asarray(model.kernel[...]).ravel())
    assert set(found) == {"kernel", "bias"}
