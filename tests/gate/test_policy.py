"""What can be demanded, and how a wrong demand is answered."""

import pytest

from koopscope import KoopscopeError
from koopscope.gate.policy import MetricBound, RuleSetting, Tolerance, policy
from koopscope.gate.rules import LEVELS, PRESETS, RULES, rule


def test_every_rule_has_a_code_of_its_own_and_a_known_level_in_every_preset() -> None:
    assert len({known.code for known in RULES}) == len({known.id for known in RULES}) == len(RULES)
    for known in RULES:
        assert rule(known.code.lower()) is rule(known.id) is known
        assert all(known.level(preset) in LEVELS for preset in PRESETS)
        assert known.level("none") == "off"


def test_an_empty_configuration_is_the_recommended_preset() -> None:
    demanded = policy({}, "here")
    assert (demanded.preset, demanded.fail_on, demanded.strict) == ("recommended", "error", False)
    assert demanded.setting(rule("precision")) == RuleSetting("error")


def test_strict_takes_warnings_for_violations_and_none_asks_nothing() -> None:
    assert policy({"preset": "strict"}, "x").setting(rule("precision")).warnings
    assert policy({"preset": "none"}, "x").setting(rule("precision")).level == "off"


def test_rules_are_set_by_name_or_code_with_a_level_or_a_table() -> None:
    values = {
        "rules": {
            "KS901": "warn",
            "sampling": {"threshold": 40},
            "convergence": {"accept": ["converged"], "level": "warn"},
        }
    }
    demanded = policy(values, "here")
    assert demanded.setting(rule("precision")) == RuleSetting("warn")
    assert demanded.setting(rule("sampling")) == RuleSetting("error", threshold=40.0)
    assert demanded.setting(rule("convergence")) == RuleSetting("warn", accept=("converged",))


def test_a_rule_that_is_set_is_on_even_in_the_preset_none() -> None:
    demanded = policy({"preset": "none", "rules": {"sampling": {"threshold": 9}}}, "here")
    assert demanded.setting(rule("sampling")).level == "error"
    assert demanded.setting(rule("precision")).level == "off"


def test_metrics_and_baseline_tolerances_are_read() -> None:
    demanded = policy(
        {
            "metrics": {"val_loss": {"final-below": 0.5, "level": "warn"}},
            "baseline": {"relative": 0.2, "values": {"convergence": {"absolute": 1}}},
        },
        "here",
    )
    assert demanded.metrics == (MetricBound("val_loss", "warn", final_below=0.5),)
    assert demanded.tolerance_of("anything") == Tolerance(0.0, 0.2)
    assert demanded.tolerance_of("convergence") == Tolerance(1.0, 0.0)


@pytest.mark.parametrize(
    ("values", "problem", "hint"),
    [
        ({"presett": "strict"}, "no setting 'presett'", "'preset'"),
        ({"rules": {"precison": "off"}}, "no rule 'precison'", "'precision'"),
        ({"rules": {"KS9o1": "off"}}, "no rule 'KS9o1'", "'KS901'"),
        ({"rules": {"precision": "of"}}, "rules.precision.level is 'of'", "docs/guide/ci.md"),
        ({"rules": {"precision": {"treshold": 1}}}, "rules.precision.treshold", "'threshold'"),
        ({"rules": {"precision": {"threshold": "1"}}}, "is '1', not a number", "docs"),
        ({"rules": {"precision": {"threshold": True}}}, "is True, not a number", "docs"),
        (
            {"rules": {"precision": {"threshold": 10**400}}},
            "more than 30 digits, not a number below",
            "docs",
        ),
        (
            {"rules": {"precision": {"threshold": 16**9000}}},
            "more than 30 digits, not a number below",
            "docs",
        ),
        ({"rules": {"precision": {"accept": "x"}}}, "not a list of states", "docs"),
        ({"rules": "off"}, "rules is 'off', not a table", "docs"),
        ({"strict": "yes"}, "strict is 'yes', not true or false", "docs"),
        ({"fail-on": "always"}, "fail-on is 'always'", "docs"),
        ({"metrics": {"loss": {"final_below": 1}}}, "metrics.loss.final_below", "'final-below'"),
        ({"metrics": {"loss": 0.5}}, "metrics.loss is 0.5, not a table", "docs"),
        ({"baseline": {"relativ": 1}}, "baseline.relativ", "'relative'"),
        ({"baseline": {"relative": float("nan")}}, "baseline.relative is nan", "docs"),
    ],
)
def test_a_wrong_demand_is_named_with_where_it_stands_and_what_was_meant(
    values: dict[str, object], problem: str, hint: str
) -> None:
    with pytest.raises(KoopscopeError) as caught:
        policy(values, "koopscope.toml")
    assert caught.value.message.startswith("koopscope.toml: ")
    assert problem in caught.value.message
    assert hint in str(caught.value.hint)
