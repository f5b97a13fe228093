"""The tables of docs/evidence/rules.md, from the results: ``python -m studies.rules.page``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "evidence" / "rules.md"
BEGIN, END = "<!-- scores: begin, written by studies/rules/page.py -->", "<!-- scores: end -->"


def tables(results: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = [
        "| question | runs: so, not so | who answers | found | false alarms | precision |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for question, row in results["questions"].items():
        for who, said in row.items():
            if who in ("yes", "no"):
                continue
            hits, false = said["found"], said["false_alarms"]
            precision = f"{hits / (hits + false):.0%}" if hits + false else ""
            lines.append(
                f"| {question} | {row['yes']}, {row['no']} | {who} | {hits} of {row['yes']} | "
                f"{false} of {row['no']} | {precision} |"
            )
    return "\n".join(lines)


def facts(results: Mapping[str, Any]) -> str:
    """Return what else was measured, a line each."""
    healthy, units, rest = results["healthy"], results["units"], results["rest"]
    wasted, back = results["wasted"], results["weights_to_go_back_to"]
    factor, ending = results["factors"], results["spike_endings"]
    runs = healthy["runs"]
    alarms = [
        f"`{rule}` {len(names)}" for rule, names in healthy.items() if isinstance(names, list)
    ]
    return "\n".join(
        [
            f"- False alarms on the {runs} healthy runs: {', '.join(alarms)}.",
            f"- Units: {units['killed_and_found']} of "
            f"{units['killed_and_found'] + units['killed_and_missed']} killed ones found, "
            f"{units['found_besides']} others of the same layers named.",
            f"- Layers at rest: {rest['stayed']} of {rest['at_rest']} stayed so when the run was "
            f"trained on for a quarter as long; {rest['frozen_named']} of {rest['frozen']} layers "
            "that were frozen half-way were named, and none called dead.",
            f"- Wasted budget: called in {wasted['called']} of {wasted['of']} runs (median "
            f"{wasted['median_share']:.0%} of the budget); stopping there cost at most "
            f"{wasted['largest_cost']:.1%} of the validation gain, "
            f"{wasted['cost_no_more_than_2%']} times no more than 2%.",
            f"- Weights to go back to: over {back['runs']} over-fit runs, their excess on "
            f"validation data that no rule saw has a median of {back['median_excess']:.1%} of the "
            f"gain and is at most {back['largest']:.0%}.",
            "- Rates that are too low: the true factor is "
            f"{factor['median_true_over_advised']:.0f} times the advised one (median of "
            f"{factor['runs']}); {factor['too_far']} were advised more than three times too much.",
            f"- Spikes: whether the run recovered was right for {ending['recovery_right']} of "
            f"{ending['found']}.",
        ]
    )


def section(results: Mapping[str, Any]) -> str:
    return f"{BEGIN}\n{tables(results)}\n\n{facts(results)}\n{END}"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    results = json.loads((HERE / "results.json").read_text())
    PAGE.write_text(before + section(results) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
