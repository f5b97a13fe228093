"""Options that several verbs share, each defined once.

A verb takes ``@analysis_options`` and gets a ``settings`` argument; a new option of the analysis is
one line here and one field of ``koopscope.analysis.settings.Settings``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import click


def rank_rule(context: click.Context, option: click.Parameter, text: str) -> int | float | str:
    """``auto``, an integer or a fraction; what they mean is checked with the settings."""
    if text == "auto":
        return text
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    raise click.BadParameter(f"{text!r} is neither auto nor a number")


def _window(
    context: click.Context, option: click.Parameter, text: str
) -> tuple[int | None, int | None]:
    """``FIRST:LAST`` in steps; either side may be left open."""
    first, colon, last = text.partition(":")
    with contextlib.suppress(ValueError):
        bounds = (int(first) if first else None, int(last) if last else None)
        if colon:
            return bounds
    raise click.BadParameter(f"{text!r} is not FIRST:LAST in steps, such as 100:900 or 500:")


#: What ``click.option`` returns.
Option = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Which recorded metric says how good a run is.
metric_option = click.option(
    "--metric",
    metavar="NAME[:max|min]",
    help="The recorded metric that says how good the run is, and on which side it is better, such "
    "as val_accuracy:max.  [default: guessed by name, val_loss first]",
)


#: Field of ``Settings`` -> the option that sets it, in the order of ``--help``.
_ANALYSIS_OPTIONS: dict[str, Option] = {
    "observable": click.option(
        "--observable",
        type=click.Choice(["increments", "weights", "centered", "raw"]),
        default="increments",
        show_default=True,
        help="What the spectrum describes: increments, the changes from snapshot to snapshot; "
        "weights, the weights and the point they move to; centered, the weights about their mean; "
        "raw, the weights alone, as in the papers.",
    ),
    "rank": click.option(
        "--rank",
        callback=rank_rule,
        default="auto",
        show_default=True,
        metavar="auto|R|0|0.99|-1",
        help="How many directions of motion to keep: auto as many as predict best, R of them, 0 "
        "those that stand out of the noise, 0.99 that share of the energy, -1 all.",
    ),
    "delay": click.option(
        "--delay",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="D",
        help="Look at D consecutive snapshots at a time, for motion that one alone does not show.",
    ),
    "noise_filter": click.option(
        "--noise-filter",
        type=click.Choice(["none", "sobolev"]),
        default="none",
        show_default=True,
        help="Smooth noisy weights over time before the spectrum is computed.",
    ),
    "window": click.option(
        "--window",
        callback=_window,
        default=":",
        show_default="the whole run",
        metavar="FIRST:LAST",
        help="Analyse only these steps; either side may be left out.",
    ),
    "until": click.option(
        "--until", type=int, metavar="STEP", help="Analyse the run as if it had ended at this step."
    ),
    "level": click.option(
        "--level",
        type=click.Choice(["network", "layer", "tensor"]),
        default="layer",
        show_default=True,
        help="Report the network alone, its layers, or every tensor as well.",
    ),
    "intervals": click.option(
        "--intervals",
        type=click.Choice(["network", "all"]),
        default="network",
        show_default=True,
        help="In JSON, give intervals and held-out errors of the network's eigenvalues, or of all "
        "layers' and tensors' too (twice as long).",
    ),
    "include": click.option(
        "--include", multiple=True, metavar="GLOB", help="Analyse only tensors named like this."
    ),
    "exclude": click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this."
    ),
    "metric": metric_option,
    "groups": click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME=GLOB",
        help="Judge the tensors named like this apart as well; repeat it for each of several "
        "networks. none judges the run as one.  [default: networks recognised by their names, such "
        "as generator and discriminator]",
    ),
    "method": click.option(
        "--method",
        type=click.Choice(["auto", "exact", "compressed"]),
        default="auto",
        show_default=True,
        help="Read all weights (exact) or some of them (compressed); auto reads all unless that "
        "would take long.",
    ),
    "measurement": click.option(
        "--measurement",
        type=click.Choice(["sample", "sparse", "gaussian"]),
        default="sample",
        show_default=True,
        help="Compressed: read a random sample of the weights, or random sums of all of them "
        "(sparse, gaussian).",
    ),
    "measurements": click.option(
        "--measurements",
        type=click.IntRange(1),
        metavar="P",
        help="Compressed: how many weights to sample (262144), or how many sums to form (4096 "
        "sparse, 1024 gaussian).",
    ),
    "seed": click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        metavar="K",
        help="Compressed: seed of the random choice.",
    ),
    "tolerance": click.option(
        "--tolerance",
        type=float,
        metavar="E",
        help="Compressed: enlarge the sample until its error in every eigenvalue is below E.",
    ),
}


def analysis_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the analysis to a verb; it receives them as one ``settings``."""
    return some_analysis_options(*_ANALYSIS_OPTIONS)(verb)


def some_analysis_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds only these options; the other settings keep their defaults."""

    def add(verb: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(verb)
        def with_settings(*arguments: Any, **options: Any) -> Any:
            from koopscope.analysis.settings import Settings

            chosen = {name: options.pop(name) for name in names}
            return verb(*arguments, settings=Settings(**chosen), **options)

        return decorated(with_settings, [_ANALYSIS_OPTIONS[name] for name in names])

    return add


def decorated(verb: Callable[..., Any], options: Iterable[Option]) -> Callable[..., Any]:
    """Apply click options so that ``--help`` lists them in the order given."""
    for option in reversed(list(options)):
        verb = option(verb)
    return verb
