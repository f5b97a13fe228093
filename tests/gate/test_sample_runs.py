"""Which preset passes and fails each sample run, and for which reasons.

What is true of each run stands in sample_runs/README.md; the reasons here have to agree with it.
"""

from pathlib import Path

import pytest

import koopscope
from koopscope.gate.judgement import judge
from koopscope.gate.policy import policy

SAMPLES = Path(__file__).parents[2] / "sample_runs"

#: run -> (errors in the preset recommended, further errors in the preset strict, cannot tell)
EXPECTED: dict[str, tuple[str, str, str]] = {
    "bfloat16": ("KS301", "KS901", "KS101 KS302"),
    "cnn_adam": ("", "", ""),
    "cosine_schedule": ("", "", ""),
    "dead_init": ("KS101 KS104 KS301 KS302", "KS105", "KS202 KS203 KS401"),
    "dead_units": ("", "KS302", ""),
    "diverging": ("KS101 KS201 KS203 KS301 KS903 KS904", "KS102 KS902", "KS302 KS401"),
    "frozen": ("", "", ""),
    "lr_too_high": ("KS203 KS302", "KS105 KS201 KS202", "KS101"),
    "mlp_sgd": ("", "", ""),
    "overfitting": ("KS102", "KS105", ""),
    "past_convergence": ("", "KS105", ""),
    "per_step": ("", "", ""),
    "plateau": ("", "KS103", ""),
    "rate_too_low": ("KS203 KS301", "", ""),
    "spike": ("", "KS202", "KS101"),
    "stopped_early": ("", "", ""),
    "symmetric_init": ("KS301", "", ""),
    "thrown_off": ("KS101 KS104 KS201 KS202 KS302", "KS102", ""),
    "too_deep": ("", "KS103 KS202", ""),
    "transformer": ("", "", ""),
}


def test_every_sample_run_has_a_row() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in SAMPLES.glob("*.h5"))


@pytest.mark.parametrize("name", EXPECTED)
def test_the_presets_find_what_is_true_of_the_run(name: str) -> None:
    recommended, strict, undecided = (codes.split() for codes in EXPECTED[name])
    diagnosis = koopscope.analyze(SAMPLES / f"{name}.h5")

    def codes(preset: str, verdict: str) -> list[str]:
        outcomes = judge(diagnosis, policy({"preset": preset}, "test")).outcomes
        return sorted({found.code for found in outcomes if found.verdict == verdict})

    assert codes("recommended", "error") == recommended
    assert codes("recommended", "warn") == strict
    assert codes("recommended", "inconclusive") == undecided
    assert codes("strict", "error") == sorted({*recommended, *strict})
    assert not judge(diagnosis, policy({"preset": "none"}, "test")).outcomes
