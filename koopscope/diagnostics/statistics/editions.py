"""Which records a verdict may look at: there is an edition of each verdict for every combination.

Decides nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edition:
    """An edition of a verdict.

    Attributes
    ----------
    name
        Its key in the tables.
    training, validation
        Whether it sees a recorded training loss, and a validation loss.
    source
        What it was drawn from, for people.
    """

    name: str
    training: bool
    validation: bool
    source: str


EDITIONS = (
    Edition("weights", False, False, "weights"),
    Edition("training", True, False, "weights and training loss"),
    Edition("validation", False, True, "weights and validation loss"),
    Edition("losses", True, True, "weights and losses"),
)


def edition_for(training: bool, validation: bool) -> Edition:
    """Return the edition that sees exactly what was recorded."""
    (found,) = (
        each for each in EDITIONS if (each.training, each.validation) == (training, validation)
    )
    return found
