"""Several networks in one run are told apart by what the user says, or by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.groups import groups_of
from koopscope.analysis.settings import Settings
from koopscope.errors import KoopscopeError
from koopscope.gate.judgement import judge
from koopscope.gate.policy import policy
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of


def analysed(*names: str, groups: tuple[str, ...] = ()) -> Analysis:
    weights = np.arange(8.0).reshape(4, 2)
    tensors = tuple(TensorInfo(name, (2,), "float64") for name in names)
    description = RunDescription("run.h5", "test", np.arange(4), tensors)
    return Analysis(
        description, {name: gram_of(weights) for name in names}, Settings(groups=groups)
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("generator.0.weight", "discriminator.0.weight"), ["generator", "discriminator"]),
        (("netG.a.weight", "netD.a.weight"), ["netG", "netD"]),
        (("G_A.w", "G_B.w", "D_A.w", "D_B.w"), ["G_A", "G_B", "D_A", "D_B"]),
        (("actor.0.w", "critic.0.w"), ["actor", "critic"]),
        (("policy_net.w", "value_net.w", "log_std"), ["policy_net", "value_net"]),
        (("actor.w", "qf1.w", "qf2.w"), ["actor", "qf1", "qf2"]),
        (("teacher.w", "student.w", "head.w"), ["teacher", "student"]),
        (("model.w", "ema_model.w"), ["model", "ema_model"]),
        (("online_network.w", "target_network.w"), ["online_network", "target_network"]),
        (("module.generator.w", "module.critic.w"), ["generator", "critic"]),
        (("params/actor/w", "params/critic/w"), ["actor", "critic"]),
        (("encoder.w", "decoder.w"), []),
        (("generator.w", "head.w"), []),
        (("gru.weight", "dense.weight", "d.weight"), []),
        (("layers.0.w", "layers.1.w"), []),
        (("model.layers.0.w", "model.layers.1.w"), []),
    ],
)
def test_networks_are_recognised_by_names_that_go_together(names, found):
    groups = groups_of(analysed(*names))
    assert [group.name for group in groups] == found
    assert all(group.recognised for group in groups)


def test_the_user_says_which_tensors_are_whose():
    names = ("a.w", "b.w", "c.w")
    groups = groups_of(analysed(*names, groups=("first=a.*", "rest=b.*", "rest=c.*")))
    assert [(group.name, group.tensors) for group in groups] == [
        ("first", ("a.w",)),
        ("rest", ("b.w", "c.w")),
    ]
    assert not any(group.recognised for group in groups)
    assert groups_of(analysed("generator.w", "critic.w", groups=("none",))) == ()


def test_a_group_without_tensors_or_without_a_glob_is_one_error():
    with pytest.raises(KoopscopeError, match=r"no tensor of run\.h5 belongs to the group x"):
        groups_of(analysed("a.w", groups=("x=b.*",)))
    for text in ("generator", "=a.*", "a="):
        with pytest.raises(KoopscopeError, match="does not say which tensors it has"):
            Settings(groups=(text,))


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Path:
    """Record a generator that settles and a discriminator that runs away; the loss rises."""
    path = tmp_path_factory.mktemp("runs") / "gan.h5"
    rng = np.random.default_rng(0)
    start, away, critic, way = rng.normal(size=(4, 6, 5))
    with Recorder(path) as recorder:
        for step in range(40):
            weights = {
                "generator.weight": start + 0.8**step * away,
                "critic.weight": critic + 1e-3 * 1.3**step * way,
            }
            recorder.snapshot(step, weights, loss=1.0 + step)
    return path


def test_each_network_is_judged_apart_as_well_as_together(played):
    diagnosis = koopscope.analyze(played)
    parts = {part.group.name: part.diagnosis for part in diagnosis.parts}
    assert parts["critic"].finding("stability").status == "fail"
    assert parts["generator"].finding("stability").status == "pass"
    assert not any(f.code.startswith("KS9") for f in parts["critic"].findings)
    alone = koopscope.analyze(played, include="critic*").finding("stability")
    assert parts["critic"].finding("stability").value == pytest.approx(alone.value)
    (note, *_) = diagnosis.first_look.notes
    assert "several networks (generator, critic)" in note


def test_the_losses_of_a_game_decide_nothing(played):
    assert "last training loss" not in koopscope.analyze(played).finding("convergence").message
    one = koopscope.analyze(played, groups="none")
    assert one.parts == ()
    assert "last training loss" in one.finding("convergence").message


def test_the_gate_warns_of_recognised_networks_and_fails_those_that_were_asked_for(played):
    def verdict(**options):
        judged = judge(koopscope.analyze(played, **options), policy({}, "test"))
        (found,) = [o for o in judged.outcomes if o.title == "Stability: critic"]
        assert found.message.startswith("critic: The weights run away")
        return found.verdict

    assert verdict() == "warn"
    assert verdict(groups=["critic=critic.*", "generator=generator.*"]) == "error"
