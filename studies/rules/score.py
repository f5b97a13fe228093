"""Score the rules: ``python -m studies.rules.score FOLDER [--logs]``.

``--logs`` only writes the logs that ``linters.py`` reads. Without it, every rule is asked of every
run and held against what is true, next to plain rules and to the linters if they have spoken; the
numbers go to ``results.json`` beside this file, one line a run to ``verdicts.csv``.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.diagnosis import Diagnosis, diagnose
from koopscope.runs.detect.opening import open_run
from studies.rules.truth import COSTS, RESTS, Truth, array, truth

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    outcome: Mapping[str, Any]
    truth: Truth
    diagnosis: Diagnosis
    loss: Float64
    val_loss: Float64
    linters: Mapping[str, list[str]]

    def flags(self, rule: str) -> bool:
        return self.diagnosis.finding(rule).status in ("warn", "fail")

    def state(self, rule: str) -> str | None:
        return self.diagnosis.finding(rule).evidence.judged_state


def load(folder: Path) -> list[Case]:
    outcomes = {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("*-*.json"))}
    said = folder / "linters.json"
    linters = json.loads(said.read_text()) if said.exists() else {}
    best: dict[str, float] = {}
    for outcome in outcomes.values():
        if outcome["recipe"]["variant"] == "clean":
            family, end = outcome["recipe"]["family"], array(outcome["train_loss"])[-5:].mean()
            best[family] = float(np.fmin(best.get(family, np.inf), end))
    cases = []
    for name, outcome in outcomes.items():
        with open_run(folder / f"{name}.h5") as run:
            metrics = run.description.metrics
            diagnosis = diagnose(Analysis.of(run))
        recipe = outcome["recipe"]
        cases.append(
            Case(
                name,
                recipe["kind"],
                outcome,
                truth(outcome, best[recipe["family"]]),
                diagnosis,
                metrics["loss"],
                metrics["val_loss"],
                linters.get(name, {}),
            )
        )
    return cases


def patience(values: Float64, snapshots: int = 5) -> bool:
    """Whether the last so many values brought no new best."""
    return (
        bool(np.isfinite(values).any()) and len(values) - 1 - int(np.nanargmin(values)) >= snapshots
    )


def three_sigma(values: Float64) -> bool:
    """Whether a value lies three standard deviations above the mean of the ten before it."""
    for t in range(10, len(values)):
        past = values[t - 10 : t]
        if not np.isfinite(values[t]) or values[t] > np.nanmean(past) + 3.0 * np.nanstd(past):
            return True
    return False


def reduce_on_plateau(values: Float64, snapshots: int = 10) -> bool:
    """Whether PyTorch's ReduceLROnPlateau, at its defaults, is due at the end."""
    best, bad = np.inf, 0
    for value in values[np.isfinite(values)]:
        best, bad = (value, 0) if value < best * (1.0 - 1e-4) else (best, bad + 1)
    return bad > snapshots


def hardly_fell(values: Float64) -> bool:
    """Whether the loss lost less than a tenth of its first value: a look for too low a rate."""
    given = values[np.isfinite(values)]
    return bool(given[-1] > 0.9 * given[0])


def rose(values: Float64) -> bool:
    """Whether the loss ends above half of its first value, or rises by a tenth at once."""
    given = values[np.isfinite(values)]
    return len(given) < len(values) - 1 or bool(
        given[-1] > 0.5 * given[0] or (given[1:] > 1.1 * given[:-1]).any()
    )


def snitched(case: Case, words: str) -> bool:
    """Whether gradsnitch has a finding whose name begins so."""
    return any(name.startswith(words) for name in case.linters.get("gradsnitch", []))


Says = Callable[[Case], bool]

#: Question: its truth, what the rule says, and what others say.
QUESTIONS: dict[str, tuple[Callable[[Case], bool | None], dict[str, Says]]] = {
    "overfitting": (
        lambda case: case.truth.overfit,
        {
            "koopscope": lambda case: case.state("overfitting") == "overfitting",
            "patience 5": lambda case: patience(case.val_loss),
            "losslint": lambda case: "overfit_onset" in case.linters.get("losslint", []),
            "gradsnitch": lambda case: snitched(case, "Train/val divergence"),
        },
    ),
    "plateau": (
        lambda case: case.truth.plateau,
        {
            "koopscope": lambda case: case.flags("plateau"),
            "koopscope, or too high": lambda case: (
                case.flags("plateau") or case.state("learning-rate") == "too high"
            ),
            "ReduceLROnPlateau": lambda case: reduce_on_plateau(case.loss),
            "losslint": lambda case: "stagnation" in case.linters.get("losslint", []),
            "gradsnitch": lambda case: snitched(case, "Loss plateau"),
        },
    ),
    "spikes": (
        lambda case: case.truth.spiked,
        {
            "koopscope": lambda case: case.flags("spikes"),
            "three sigma": lambda case: three_sigma(case.loss),
            "losslint": lambda case: "loss_spike" in case.linters.get("losslint", []),
        },
    ),
    "rate too low": (
        lambda case: case.truth.too_low,
        {
            "koopscope": lambda case: case.state("learning-rate") == "too low",
            "loss hardly fell": lambda case: hardly_fell(case.loss),
            "losslint": lambda case: "stagnation" in case.linters.get("losslint", []),
            "gradsnitch": lambda case: snitched(case, "Loss plateau"),
        },
    ),
    "rate too high": (
        lambda case: case.truth.too_high,
        {
            "koopscope": lambda case: case.state("learning-rate") == "too high",
            "koopscope, any failure": lambda case: any(
                case.diagnosis.finding(rule).status == "fail"
                for rule in ("learning-rate", "stability", "spikes", "rest", "dead-units")
            ),
            "loss rose": lambda case: rose(case.loss),
            "losslint": lambda case: bool(
                {"divergence", "nan_inf", "loss_spike"} & set(case.linters.get("losslint", []))
            ),
            "gradsnitch": lambda case: any(
                snitched(case, said) for said in ("Loss divergence", "Loss became", "Loss oscill")
            ),
        },
    ),
    "dead units": (
        lambda case: bool(case.truth.killed) if case.kind in ("dead", "healthy") else None,
        {"koopscope": lambda case: case.flags("dead-units")},
    ),
    "idle adapter": (
        lambda case: case.truth.idle_adapter,
        {"koopscope": lambda case: case.state("dead-units") == "adapters do not train"},
    ),
}


def table(cases: list[Case]) -> dict[str, Any]:
    """Return hits, misses and false alarms of everybody who answers a question."""
    found: dict[str, Any] = {}
    for question, (label, answers) in QUESTIONS.items():
        known = [(case, bool(said)) for case in cases if (said := label(case)) is not None]
        found[question] = {"yes": sum(y for _, y in known), "no": sum(not y for _, y in known)}
        for who, says in answers.items():
            hits = sum(says(case) for case, yes in known if yes)
            false = sum(says(case) for case, yes in known if not yes)
            found[question][who] = {"found": hits, "false_alarms": false}
    return found


def healthy_alarms(cases: list[Case]) -> dict[str, Any]:
    """Return how often each rule warns of a healthy run; over-fitting and waste only if untrue."""
    healthy = [case for case in cases if case.kind == "healthy"]
    found: dict[str, Any] = {"runs": len(healthy)}
    for rule in ("overfitting", "plateau", "spikes", "learning-rate", "rest", "dead-units"):
        wrong = [case for case in healthy if case.flags(rule)]
        if rule == "overfitting":
            wrong = [case for case in wrong if not case.truth.overfit]
        if rule == "spikes":  # one that the loss on the whole training set shows, too, is real
            wrong = [case for case in wrong if case.truth.spiked is False]
        if rule == "plateau":
            wrong = [case for case in wrong if not case.truth.plateau]
        found[rule] = [case.name for case in wrong]
    found["wasted"] = [
        case.name for case in healthy if case.flags("wasted") and _cost(case) > COSTS
    ]
    return found


def _cost(case: Case) -> float:
    """Return what stopping where the rule says would have cost, in parts of the validation gain."""
    second = array(case.outcome["second_val_loss"])
    step = case.diagnosis.finding("wasted").evidence["useful_until"]
    at = int(np.searchsorted(case.diagnosis.analysis.description.steps, step))
    near = second[max(0, at - 2) : at + 3].mean()
    ends = np.convolve(second, np.ones(5) / 5.0, "valid")
    return float((near - ends[-1]) / max(second[0] - ends.min(), 1e-12))


def wasted_scores(cases: list[Case]) -> dict[str, Any]:
    """Return how often the budget called wasted was, and what stopping there cost."""
    called = [c for c in cases if c.kind in ("healthy", "overfit") and c.flags("wasted")]
    costs = [_cost(case) for case in called]
    shares = [float(case.diagnosis.finding("wasted").value or 0.0) for case in called]
    return {
        "called": len(called),
        "of": sum(case.kind in ("healthy", "overfit") for case in cases),
        "cost_no_more_than_2%": sum(cost <= COSTS for cost in costs),
        "largest_cost": max(costs, default=0.0),
        "median_share": float(np.median(shares)) if shares else 0.0,
    }


def best_steps(cases: list[Case]) -> dict[str, Any]:
    """Return what the weights to go back to are worth on data that the rule has not seen."""
    gains = []
    for case in cases:
        if case.state("overfitting") == "overfitting" and case.truth.overfit:
            second = array(case.outcome["second_val_loss"])
            step = case.diagnosis.finding("overfitting").evidence["best_step"]
            at = int(np.searchsorted(case.diagnosis.analysis.description.steps, step))
            gained = second[0] - second.min()
            gains.append(float((second[at] - second.min()) / gained))
    return {"runs": len(gains), "median_excess": float(np.median(gains)), "largest": max(gains)}


def unit_scores(cases: list[Case]) -> dict[str, int]:
    """Count units: killed and found, found and not killed, in the tensor where they were killed."""
    hits = missed = others = 0
    for case in cases:
        for tensor, killed in case.truth.killed.items():
            layers = case.diagnosis.finding("dead-units").evidence["layers"]
            found = {i for each in layers if each["tensor"] == tensor for i in each["indices"]}
            hits += len(found & set(killed))
            missed += len(set(killed) - found)
            others += len(found - set(killed))
    return {"killed_and_found": hits, "killed_and_missed": missed, "found_besides": others}


def rest_scores(cases: list[Case]) -> dict[str, int]:
    """Count layers called at rest that stayed so when the run was trained on at the same rate."""
    stayed = called = 0
    for case in cases:
        moved = case.outcome.get("same", {}).get("moved", {})
        evidence = case.diagnosis.finding("rest").evidence
        for layer in evidence["resting"]:
            own = {n: v for n, v in moved.items() if n.rpartition(".")[0] == layer["layer"]}
            if layer["why"] != "at rest" or not own or case.kind == "high":
                continue
            grams = case.diagnosis.analysis.grams
            way = np.sqrt(sum(grams[name].displacement() ** 2 for name in own))
            called += 1
            stayed += np.sqrt(sum(v**2 for v in own.values())) < RESTS * way
    frozen = [case for case in cases if case.kind == "frozen"]
    named = sum(
        any(each["why"] == "stopped" for each in case.diagnosis.finding("rest").evidence["resting"])
        and not case.flags("rest")
        for case in frozen
    )
    return {"at_rest": called, "stayed": int(stayed), "frozen": len(frozen), "frozen_named": named}


def factors(cases: list[Case]) -> dict[str, Any]:
    """Return how far the factor advised for a rate that is too low lies from the true one."""
    found = [
        (
            case.diagnosis.finding("learning-rate").action.factor,
            1.0 / case.outcome["recipe"]["factor"],
        )
        for case in cases
        if case.kind == "low" and case.state("learning-rate") == "too low"
    ]
    ratios = [float(true / advised) for advised, true in found if advised]
    return {
        "runs": len(ratios),
        "too_far": sum(ratio < 1.0 / 3.0 for ratio in ratios),
        "median_true_over_advised": float(np.median(ratios)),
    }


def spike_endings(cases: list[Case]) -> dict[str, int]:
    """Count spikes whose recovery was called right."""
    known = [case for case in cases if case.truth.spiked and case.flags("spikes")]
    right = sum(
        (case.state("spikes") == "recovered") == bool(case.truth.recovered) for case in known
    )
    return {"found": len(known), "recovery_right": right}


def write_logs(folder: Path) -> None:
    (folder / "logs").mkdir(exist_ok=True)
    for path in sorted(folder.glob("*-*.h5")):
        with open_run(path) as run:
            description = run.description
        columns = (description.metrics["loss"], description.metrics["val_loss"])
        with (folder / "logs" / f"{path.stem}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["step", "loss", "eval_loss", "lr"])
            rate = description.metrics["lr"]
            for t, step in enumerate(description.steps):
                values = [repr(float(c[t])) if np.isfinite(c[t]) or t else "" for c in columns]
                rows.writerow([int(step), *values, repr(float(rate[t]))])


def main() -> None:
    folder = Path(sys.argv[1])
    if "--logs" in sys.argv:
        write_logs(folder)
        return
    cases = load(folder)
    results = {
        "runs": len(cases),
        "questions": table(cases),
        "healthy": healthy_alarms(cases),
        "wasted": wasted_scores(cases),
        "weights_to_go_back_to": best_steps(cases),
        "units": unit_scores(cases),
        "rest": rest_scores(cases),
        "factors": factors(cases),
        "spike_endings": spike_endings(cases),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    with (HERE / "verdicts.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rules = (
            "overfitting",
            "plateau",
            "rest",
            "wasted",
            "spikes",
            "learning-rate",
            "dead-units",
        )
        rows.writerow(["run", "kind", *rules, "losslint", "gradsnitch"])
        for case in cases:
            said = [f"{case.state(r)} ({case.diagnosis.finding(r).status})" for r in rules]
            others = ["; ".join(case.linters.get(w, [])) for w in ("losslint", "gradsnitch")]
            rows.writerow([case.name, case.kind, *said, *others])


if __name__ == "__main__":
    main()
