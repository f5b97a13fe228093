"""The one kind of failure koopscope expects: what is wrong, and a hint that says what to do.

Every module raises it; only the command line turns it into text and an exit code.
"""

from __future__ import annotations

from koopscope.inert import inert


class KoopscopeError(Exception):
    """An expected failure: bad input, an unusable file, a question the data cannot answer.

    Parameters
    ----------
    message
        One sentence that names the thing and the value. What it quotes from a file is made inert.
    hint
        One sentence that says what to do about it, or ``None``.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        message = inert(message)
        super().__init__(message)
        self.message = message
        self.hint = None if hint is None else inert(hint)
