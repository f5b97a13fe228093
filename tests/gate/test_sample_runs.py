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
    "bfloat16": ("KS301", "KS901", "KS101"),
    "cnn_adam": ("", "", ""),
    "cosine_schedule": ("", "", ""),
    "dead_init": ("KS101 KS301", "", "KS401"),
    "diverging": ("KS101 KS201 KS301 KS903 KS904", "KS902", "KS401"),
    "lr_too_high": ("", "KS201", "KS101"),
    "mlp_sgd": ("", "", ""),
    "overfitting": ("", "", ""),
    "past_convergence": ("", "", ""),
    "per_step": ("", "", ""),
    "stopped_early": ("", "", ""),
    "symmetric_init": ("KS301", "", ""),
    "too_deep": ("", "", ""),
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
