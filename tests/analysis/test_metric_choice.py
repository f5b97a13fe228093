"""Which metric counts, and in which direction: said by the user, or guessed by its name."""

import numpy as np
import pytest

from koopscope.analysis.metric_choice import (
    MetricChoice,
    better_side,
    parsed_choice,
    training_choice,
    validation_choice,
)
from koopscope.analysis.settings import Settings
from koopscope.errors import KoopscopeError


def of(*names: str) -> dict[str, np.ndarray]:
    return {name: np.ones(3) for name in names}


@pytest.mark.parametrize(
    ("recorded", "name", "better"),
    [
        (("loss", "val_loss", "val_accuracy"), "val_loss", "min"),
        (("loss", "eval_loss"), "eval_loss", "min"),
        (("loss", "valid/mlm_loss"), "valid/mlm_loss", "min"),
        (("val_accuracy", "test_loss"), "test_loss", "min"),
        (("loss", "val_accuracy"), "val_accuracy", "max"),
        (("accuracy", "perplexity_val"), "perplexity_val", "min"),
    ],
)
def test_a_validation_metric_is_guessed_by_its_name(
    recorded: tuple[str, ...], name: str, better: str
) -> None:
    assert validation_choice(of(*recorded)) == MetricChoice(name, better)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["loss", "train_loss", "accuracy", "val_temperature", "lr"])
def test_nothing_is_guessed_where_no_name_says_so(name: str) -> None:
    assert validation_choice(of(name)) is None


def test_a_metric_without_a_value_does_not_count() -> None:
    recorded = {"val_loss": np.full(3, np.nan), "val_acc": np.array([np.nan, 0.5, np.nan])}
    assert validation_choice(recorded) == MetricChoice("val_acc", "max")


def test_what_is_said_comes_before_any_guess() -> None:
    recorded = of("val_loss", "fid")
    assert validation_choice(recorded, "fid:min") == MetricChoice("fid", "min", guessed=False)
    assert validation_choice(recorded, "fid") == MetricChoice("fid", "min", guessed=False)


def test_a_name_may_hold_a_colon() -> None:
    assert parsed_choice("val:loss:max") == MetricChoice("val:loss", "max", guessed=False)


@pytest.mark.parametrize("text", ["temperature", ":max", "x:up", ""])
def test_a_direction_that_is_not_said_is_asked_for(text: str) -> None:
    with pytest.raises(KoopscopeError, match="lower or higher") as caught:
        Settings(metric=text)
    assert "NAME:min or NAME:max" in caught.value.hint


def test_a_metric_that_was_not_recorded_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(KoopscopeError, match="no value of the metric 'val_acuracy'") as caught:
        validation_choice(of("val_accuracy"), "val_acuracy:max")
    assert caught.value.hint == "did you mean 'val_accuracy'?"
    with pytest.raises(KoopscopeError) as caught:
        validation_choice({}, "val_accuracy")
    assert caught.value.hint == "it holds no metric at all"


def test_higher_is_better_turned_into_a_loss() -> None:
    values = np.array([0.5, 0.75])
    assert MetricChoice("acc", "max").as_loss(values).tolist() == [-0.5, -0.75]
    assert MetricChoice("acc", "max").words == "acc (higher is better)"


def test_the_training_loss_is_found_by_its_usual_name() -> None:
    assert training_choice(of("train_loss")) == MetricChoice("train_loss", "min")
    assert training_choice(of("val_loss")) is None


def test_sides_by_name() -> None:
    assert [better_side(name) for name in ("mse", "top_accuracy", "step_time")] == [
        "min",
        "max",
        None,
    ]
