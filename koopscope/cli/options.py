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

#: Field of ``Settings`` -> the option that sets it, in the order of ``--help``.
_ANALYSIS_OPTIONS: dict[str, Option] = {
    "observable": click.option(
        "--observable",
        type=click.Choice(["increments", "weights", "centered", "raw"]),
        default="increments",
        show_default=True,
        help="What the spectrum is of: increments; weights, by a law with a constant; centered, "
        "the same about their mean; raw, weights without a constant as the papers have them.",
    ),
    "rank": click.option(
        "--rank",
        callback=rank_rule,
        default="auto",
        show_default=True,
        metavar="auto|R|0|0.99|-1",
        help="Truncation: auto by held-out prediction, R directions, 0 the optimal hard threshold, "
        "0.99 of the energy, -1 none.",
    ),
    "delay": click.option(
        "--delay",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="D",
        help="Stack D consecutive values of the observable.",
    ),
    "noise_filter": click.option(
        "--noise-filter",
        type=click.Choice(["none", "sobolev"]),
        default="none",
        show_default=True,
        help="Smooth along time before the spectrum, for noisy trajectories.",
    ),
    "window": click.option(
        "--window",
        callback=_window,
        default=":",
        show_default="the whole run",
        metavar="FIRST:LAST",
        help="Look only at these steps; either side may be open.",
    ),
    "until": click.option(
        "--until", type=int, metavar="STEP", help="Pretend the run ended at this step."
    ),
    "level": click.option(
        "--level",
        type=click.Choice(["network", "layer", "tensor"]),
        default="layer",
        show_default=True,
        help="The finest parts to report.",
    ),
    "include": click.option(
        "--include", multiple=True, metavar="GLOB", help="Analyse only tensors named like this."
    ),
    "exclude": click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this."
    ),
    "method": click.option(
        "--method",
        type=click.Choice(["auto", "exact", "compressed"]),
        default="auto",
        show_default=True,
        help="Read every weight, or measure some; auto reads all unless that would take long.",
    ),
    "measurement": click.option(
        "--measurement",
        type=click.Choice(["sample", "sparse", "gaussian"]),
        default="sample",
        show_default=True,
        help="Compressed: read a random sample of the weights, or fold all of them randomly.",
    ),
    "measurements": click.option(
        "--measurements",
        type=click.IntRange(1),
        metavar="P",
        help="Compressed: weights to sample (262144), or rows of a projection (4096, 1024).",
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
        help="Compressed: enlarge the sample until it moves no eigenvalue by more than E.",
    ),
}


#: Where the weights lie in checkpoints, for verbs that read them.
key_option = click.option(
    "--key",
    metavar="NAME",
    help="PyTorch checkpoints: take the weights under this name, such as ema.",
)


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
