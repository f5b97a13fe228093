"""A few dozen damaged files of every kind: the large campaign is ``studies.fuzzing.campaign``."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from studies.fuzzing import campaign
from studies.fuzzing.mutations import mutate
from tests.frameworks import framework

FEW = 57


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    campaign.load()


def test_sound_files_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    framework("torch")  # writes some of the sound files
    monkeypatch.setattr(campaign, "mutate", lambda content, *_: content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for seed in campaign.seeds(tmp_path):
        one = replace(seed, commands=seed.commands[:1])
        words, _ = campaign._laid_out(one, random.Random(0), tmp_path)
        assert campaign.tried(words, tmp_path).kind == "answered", seed.name


def test_damaged_files_cost_a_sentence_and_bounded_time_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework("torch")  # writes some of the sound files
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # put back afterwards
    counts = campaign.campaign(FEW, 20, tmp_path)
    kinds = {kind for verbs in counts.values() for count in verbs.values() for kind in count}
    assert not kinds & set(campaign.FAULTS)
    assert {"answered", "refused"} <= kinds


def test_the_same_seed_does_the_same_damage() -> None:
    content = bytes(range(256)) * 8
    first = [mutate(content, random.Random(f"7:{number}")) for number in range(50)]
    assert first == [mutate(content, random.Random(f"7:{number}")) for number in range(50)]
    assert sum(each != content for each in first) > 45
