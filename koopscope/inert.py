"""Text from outside made inert: it can name things, but steer no terminal and command no CI.

Names, metadata and paths are chosen by whoever made a file. Whatever koopscope prints passes
through here first; what it stores (files, the values in JSON) keeps names as they are.
"""

from __future__ import annotations

import re
import unicodedata

#: Azure Pipelines and GitHub obey ``##[error]`` and ``##vso[...]`` anywhere in a line, TeamCity
#: ``##teamcity[...]``; GitHub obeys ``::error::`` where a line begins. A sentence that is wrapped
#: may begin a line with any of its words.
_HASH_COMMAND = re.compile(r"#(?=#\w*\[)")
_COLON_COMMAND = re.compile(r"(?<!\S):(?=:[\w-])")

#: The styles that ``koopscope.report.text.terminal_style`` writes, and no other escape sequence.
_OWN_STYLES = re.compile(r"(\x1b\[(?:0|1|2|3[2356]|1;31)m)")


def inert(text: str) -> str:
    r"""Return a text as one line that a terminal shows and a CI's log obeys in nothing.

    Control characters, line breaks, marks that turn the direction of writing, and whatever else
    has no shape are spelled out (``\x1b``, ``\n``, ``\u202e``), and so is the first sign of a
    command to a CI. Other text is returned as it is; doing it twice changes nothing.
    """
    if not text.isprintable():
        text = "".join(sign if _has_a_shape(sign) else ascii(sign)[1:-1] for sign in text)
    return without_commands(text)


def without_commands(text: str, escape: str = r"\x") -> str:
    r"""Return a text of any number of lines with commands to a CI spelled out: ``\x3a:error::``."""
    if "##" in text:
        text = _HASH_COMMAND.sub(lambda _: f"{escape}23", text)
    if "::" in text:
        text = _COLON_COMMAND.sub(lambda _: f"{escape}3a", text)
    return text


def inert_report(text: str) -> str:
    """Return a laid-out report in which only line breaks and koopscope's own styles act.

    The last line of defence: the parts of a report are inert before they are laid out, since here
    a line break out of a name could not be told from one of the layout.
    """
    if _is_plain(text):
        return text
    return "\n".join(
        "".join(
            piece if _OWN_STYLES.fullmatch(piece) else inert(piece)
            for piece in _OWN_STYLES.split(line)
        )
        for line in text.split("\n")
    )


def _has_a_shape(sign: str) -> bool:
    """Whether a sign shows as itself: printable, or a space of any width."""
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def _is_plain(text: str) -> bool:
    return "##" not in text and "::" not in text and text.replace("\n", "").isprintable()
