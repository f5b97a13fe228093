"""Units that are killed, units that only shrink, and adapters that never learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import dead_units, rest
from koopscope.runs.detect.opening import open_run
from tests.small_training import Training, analysed

RUNS = Path(__file__).parents[2] / "sample_runs"
COUNT, UNITS, INPUTS = 40, 10, 6


def drifting(seed: int = 0, shape: tuple[int, ...] = (UNITS, INPUTS)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 0.01 * rng.standard_normal((COUNT, *shape)).cumsum(axis=0)


def layer(dead: list[int], since: int, decay: float = 1.0) -> dict[str, np.ndarray]:
    """A layer with a bias, some units of which stop at a snapshot, or only shrink from there."""
    weight, bias = drifting(), drifting(1, (UNITS,))
    for values in (weight, bias):
        powers = decay ** np.arange(COUNT - since)
        last = values[since, dead]
        values[since:, dead] = powers.reshape(-1, *[1] * last.ndim) * last
    return {"l.weight": weight, "l.bias": bias, "head.weight": drifting(2, (3, UNITS))}


@pytest.mark.parametrize("decay", [1.0, 0.999])
def test_units_that_stop_are_counted_and_named(decay: float) -> None:
    found = dead_units.ask(analysed(layer([1, 4, 5, 7, 8, 9], 20, decay)))
    (dead,) = found.evidence["layers"]
    assert dead["indices"] == [1, 4, 5, 7, 8, 9]
    assert dead["never_moved"] == 0
    assert found.status == "warn"
    assert found.value == pytest.approx(0.6)
    assert (found.action.do, found.action.layers) == ("lower_lr", ("l.weight",))


def test_units_that_never_move_ask_for_another_start() -> None:
    found = dead_units.ask(analysed(layer(list(range(9)), 0)))
    assert found.evidence["layers"][0]["never_moved"] == 9
    assert (found.status, found.action.do) == ("fail", "restart")


def test_a_unit_whose_bias_moves_is_alive() -> None:
    paths = layer([], 20)
    paths["l.weight"][:, 3] = paths["l.weight"][0, 3]
    assert dead_units.ask(analysed(paths)).status == "pass"


def test_units_of_a_kernel_lie_on_its_last_axis() -> None:
    paths = layer([2], 10)
    kernels = {
        "l/kernel": paths["l.weight"].transpose(0, 2, 1).copy(),
        "l/bias": paths["l.bias"],
        "head/kernel": drifting(2, (UNITS, 3)),
    }
    found = dead_units.ask(analysed(kernels))
    assert found.evidence["layers"][0]["indices"] == [2]


def test_rows_of_a_lookup_table_are_no_units() -> None:
    table = drifting(3, (50, 4))
    table[:, 10:] = table[0, 10:]
    found = dead_units.ask(analysed({"embed.weight": table, "l.weight": drifting()}))
    assert found.status == "pass"
    assert found.evidence["looked_at"] == 1


def test_a_layer_that_is_frozen_has_no_dead_units() -> None:
    still = np.repeat(drifting()[:1], COUNT, axis=0)
    found = dead_units.ask(analysed({"l.weight": still, "head.weight": drifting(2, (3, UNITS))}))
    assert found.status == "pass"


def adapter(first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    still = np.repeat(drifting()[:1], COUNT, axis=0)
    return {"l.base.weight": still, "l.lora_A.weight": first, "l.lora_B.weight": second}


def test_an_adapter_whose_second_half_stays_zero_is_named() -> None:
    first, zero = drifting(0, (2, INPUTS)), np.zeros((COUNT, UNITS, 2))
    found = dead_units.ask(analysed(adapter(first, zero)))
    assert found.status == "fail"
    assert found.evidence["idle_adapters"][0]["zero"] == "l.lora_B.weight"
    assert "l.lora_B.weight is zero" in found.message


def test_an_adapter_is_judged_as_a_product() -> None:
    first, second = drifting(0, (2, INPUTS)), drifting(1, (UNITS, 2))
    still = np.repeat(first[:1], COUNT, axis=0)
    found = dead_units.ask(analysed(adapter(still, second)))
    assert found.status == "pass"  # B alone moves, and so does B A
    assert found.evidence["adapters"] == 1
    stands = np.repeat(second[:1], COUNT, axis=0)
    assert dead_units.ask(analysed(adapter(still, stands))).status in ("fail", "inconclusive")


def test_peft_names_pair_up() -> None:
    names = ("q.lora_A.default.weight", "q.lora_B.default.weight")
    first, zero = drifting(0, (2, INPUTS)), np.zeros((COUNT, UNITS, 2))
    found = dead_units.ask(analysed(dict(zip(names, (first, zero), strict=True))))
    assert found.evidence["idle_adapters"][0]["second"] == names[1]


def test_a_dead_network_fails_with_the_weights_to_go_back_to() -> None:
    """Stability once passed it, and depth said that no layer can be spared."""
    run = Training(rate=0.3, every=20, rate_at=lambda part: 50.0 if 0.6 < part < 0.65 else 1.0)
    analysis = run.run().analysis()
    for found in (dead_units.ask(analysis), rest.ask(analysis)):
        assert found.status == "fail"
        assert (found.action.do, found.action.step) == ("restore", 36 * run.every)


def test_a_network_that_is_dead_from_the_start_is_told_from_one_that_is_frozen() -> None:
    def spoil(weights: dict[str, np.ndarray]) -> None:
        weights["hidden.1.bias"][:] = -100.0

    dead = Training(rate=0.3, start=spoil).run().analysis()
    assert dead_units.ask(dead).action.do == rest.ask(dead).action.do == "restart"
    frozen = rest.ask(Training(rate=0.3, frozen=("hidden.0", "hidden.1")).run().analysis())
    assert frozen.evidence["state"] != "dead"
    assert [each["why"] for each in frozen.evidence["resting"]][:2] == ["frozen", "frozen"]


def test_a_part_of_a_run_is_not_judged_and_says_why() -> None:
    with open_run(RUNS / "mlp_sgd.h5") as run:
        analysis = Analysis.of(run).until(1000)
    found = dead_units.ask(analysis)
    assert found.status == "inconclusive"
    assert "28 of its 61 snapshots" in found.message


def test_projections_of_the_weights_have_no_units_and_it_says_so() -> None:
    with open_run(RUNS / "mlp_sgd.h5") as run:
        analysis = Analysis.of(run, Settings(method="compressed", measurement="gaussian"))
    found = dead_units.ask(analysis)
    assert found.evidence["not_told_apart"] == 2
    assert "those of 2 of 3 matrices cannot be told" in found.message


def test_few_snapshots_cannot_tell() -> None:
    paths = {name: values[:5] for name, values in layer([1], 2).items()}
    found = dead_units.ask(analysed(paths))
    assert (found.status, found.action.do) == ("inconclusive", "record_more")
