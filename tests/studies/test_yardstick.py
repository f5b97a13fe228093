"""The plan covers what it promises; a run can be trained, packed, labelled and read again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from studies.yardstick import plan, store


def test_the_plan_covers_what_it_promises_on_either_side():
    recipes = plan.all_recipes()
    assert len(recipes) == len({recipe.name for recipe in recipes}) >= 1200
    assert len(plan.TUNING) >= 24
    assert len(plan.HELD_OUT) >= 16
    assert not set(plan.TUNING) & set(plan.HELD_OUT)
    for held_out in (False, True):
        chosen = [recipe for recipe in recipes if recipe.held_out == held_out]
        assert {recipe.optimizer for recipe in chosen} == set(plan.OPTIMIZERS)
        assert {recipe.schedule for recipe in chosen} == set(plan.SCHEDULES)
        assert {recipe.variant for recipe in chosen} == set(plan.VARIANTS)
        assert {recipe.start for recipe in chosen} >= {"default", "trained", *plan.SPOILED}
        assert {recipe.dtype for recipe in chosen} == {"float32", "bfloat16", "float16"}
    assert all(recipe.snapshots <= recipe.steps + 1 for recipe in recipes)


def test_families_come_in_turn_so_that_an_interrupted_generation_has_them_all():
    first = plan.all_recipes()[: len(plan.PACES)]
    assert {recipe.family for recipe in first} == set(plan.PACES)


torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")


@pytest.mark.parametrize("family", ["wine_mlp", "cartpole_reinforce", "digits_lora"])
def test_a_run_is_trained_packed_and_read_again(family, tmp_path):
    from koopscope.diagnostics import convergence
    from studies import corpus
    from studies.generate import packed
    from studies.yardstick.training import train

    base = plan.recipes(family)[0]
    names = []
    for seed in (1, 2):
        recipe = dataclasses.replace(
            base, name=f"{family}-0{seed}", seed=seed, steps=24, snapshots=13, dtype="bfloat16"
        )
        trained = train(recipe)
        assert len(trained.outcome["steps"]) == 25  # as long again, for the labels
        assert trained.weights.shape[0] == 13
        store.write(tmp_path / f"{recipe.name}.npz", {recipe.name: packed(recipe, trained)})
        names.append(recipe.name)
    cases = corpus.load(tmp_path, [family])
    assert [case.name for case in cases] == names
    assert all(np.isfinite(case.truth.val_loss).all() for case in cases)
    assert convergence.ask(cases[0].analysis).evidence["state"] is not None
    corpus.freeze(tmp_path, names[:1], cases, tmp_path / "frozen.npz")
    (again,) = corpus.thaw(tmp_path / "frozen.npz")
    assert again.truth.state == cases[0].truth.state
    ours, theirs = (
        convergence.ask(case.analysis).evidence["stop_history"] for case in (cases[0], again)
    )
    assert ours == theirs


def test_training_is_determined_by_its_recipe():
    from studies.yardstick.training import train

    recipe = dataclasses.replace(plan.recipes("curve_mlp")[3], steps=10, snapshots=6)
    assert np.array_equal(train(recipe).weights, train(recipe).weights)


@pytest.mark.parametrize("start", plan.SPOILED)
def test_every_way_to_spoil_a_start_changes_it(start):
    from studies.yardstick import starts

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    before = [p.detach().clone() for p in net.parameters()]
    starts.spoil(net, start, 0)
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", plan.OPTIMIZERS)
def test_every_optimizer_lowers_a_square(optimizer):
    from studies.yardstick.optimizers import Flat, Optimizer

    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    flat = Flat(net)
    method = Optimizer(flat, optimizer, 0.0)

    def loss():
        return sum(p.square().sum() for p in net.parameters())

    start = float(loss().detach())
    for _ in range(60):
        loss().backward()
        method.step(0.02)
    assert float(loss().detach()) < 0.5 * start


def test_trees_as_numbers_say_what_the_fitted_model_says():
    from sklearn.ensemble import GradientBoostingRegressor

    from studies.boosting import fit_trees, score_of

    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4)).astype(np.float32).astype(float)
    y = X[:, 0] - X[:, 1] ** 2
    fitted = fit_trees(X, y, np.ones(80), list("abcd"), trees=6, leaf=3)
    model = GradientBoostingRegressor(
        max_depth=3,
        n_estimators=6,
        learning_rate=0.08,
        min_samples_leaf=3,
        subsample=0.5,
        max_features=0.12,
        random_state=0,
    ).fit(X, y)
    assert score_of(fitted, X) == pytest.approx(model.predict(X), abs=2e-3)
