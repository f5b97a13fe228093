"""How much another seed of the same recipe changes what a report says: the gate's default spread.

Every family of the yardstick is trained with two optimizers and several seeds (of the start and of
the order of the batches; the data stay). ``python -m studies.seeds FOLDER`` trains what the
folder lacks, analyses and prints.
"""

from __future__ import annotations

import json
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import torch

import koopscope
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.gate.judgement import judge
from koopscope.gate.policy import policy
from koopscope.report.analysis_json import run_document
from koopscope.runs.native.recorder import Recorder
from studies import training
from studies.plan import FAMILIES, HELD_OUT, TUNING

SNAPSHOTS = 41
SEEDS = range(6)
OPTIMIZERS = {"momentum": 1, "adam": 2}


def trained(folder: Path, family: str, optimizer: str, seed: int) -> Path:
    """Train one run of a family for one budget; return its file."""
    path = folder / f"{family}-{optimizer}-{seed}.h5"
    if path.exists():
        return path
    torch.manual_seed(seed)
    known = FAMILIES[family]
    task = known.task()
    net = known.network(0.0, False)
    rate = known.rates[OPTIMIZERS[optimizer]]
    made = training.make_optimizer(net, optimizer, rate, 0.0)
    trainer = training.Trainer(net, task, made, seed)
    accuracies = []
    original = trainer.record

    def record(step: int, loss: float, rate: float, keep_weights: bool) -> None:
        original(step, loss, rate, keep_weights)
        accuracies.append(accuracy(net, task))

    trainer.record = record
    course = trainer.train("constant", SNAPSHOTS, known.steps_per_snapshot, budgets=1)
    with Recorder(path) as recorder:
        for index, weights in enumerate(course.weights):
            recorder.snapshot(
                course.steps[index],
                weights,
                loss=course.train_loss[index],
                val_loss=course.val_loss[index],
                val_accuracy=accuracies[index],
            )
    return path


@torch.no_grad()
def accuracy(net, task) -> float | None:
    """Return the share of validation answers that are right, ``None`` where answers are numbers."""
    if task.y_val.is_floating_point():
        return None
    net.eval()
    answer = net(task.x_val)
    net.train()
    if answer.shape[:-1] != task.y_val.shape:
        return None
    return float((answer.argmax(-1) == task.y_val).float().mean())


def quantities(report: dict) -> dict[str, float]:
    """Return what a baseline compares: the findings' values and the metrics' last ones."""
    found = {f["id"]: f["value"] for f in report["findings"] if f["value"] is not None}
    for name, metric in report["run"]["metrics"].items():
        if metric["last"] is not None:
            found[f"metrics.{name}"] = metric["last"]
    return found


def differences(groups: list[list[dict]]) -> dict[str, np.ndarray]:
    """Return, by quantity, all differences between two seeds of a recipe; of losses, log ratios."""
    found: dict[str, list[float]] = {}
    for reports in groups:
        for old, new in permutations([quantities(report) for report in reports], 2):
            for name in old.keys() & new.keys():
                scale = np.log if name.endswith("loss") else float
                found.setdefault(name, []).append(float(scale(new[name]) - scale(old[name])))
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[list[Diagnosis]]] = {"tuning": [], "held out": []}
    for part, families in (("tuning", TUNING), ("held out", HELD_OUT)):
        for family in families:
            for optimizer in OPTIMIZERS:
                paths = [trained(folder, family, optimizer, seed) for seed in SEEDS]
                groups[part].append([koopscope.analyze(path) for path in paths])
                print(part, family, optimizer, file=sys.stderr, flush=True)
    documents = {
        part: [[json.loads(json.dumps(run_document(d))) for d in runs] for runs in each]
        for part, each in groups.items()
    }
    for part, each in documents.items():
        print(part)
        for name, values in sorted(differences(each).items()):
            q = np.quantile(np.abs(values), [0.5, 0.9, 0.95, 0.99])
            print(f"  {name:22} {len(values):4}  " + "  ".join(f"{v:.3f}" for v in q))
    print("runs held against others of their recipe: share that fails, by number of reports")
    for part, each in groups.items():
        for count in (1, 3, 5):
            failed = total = 0
            rules: dict[str, int] = {}
            for runs, stored in zip(each, documents[part], strict=True):
                for index, run in enumerate(runs):
                    others = [s for k, s in enumerate(stored) if k != index][:count]
                    outcomes = judge(run, policy({}, "seeds"), others).outcomes
                    bad = [o for o in outcomes if o.id == "baseline" and o.verdict == "error"]
                    failed, total = failed + bool(bad), total + 1
                    for one in bad:
                        rules[one.title] = rules.get(one.title, 0) + 1
            print(f"  {part:9} {count} {failed} of {total} {rules}", flush=True)


if __name__ == "__main__":
    main()
