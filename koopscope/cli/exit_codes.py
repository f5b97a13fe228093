"""The exit codes of the command, each in one place."""

from __future__ import annotations

#: ``check`` found something.
FOUND = 1

#: A job could not be done or decided: usage, unreadable or unsafe input, nothing to judge.
COULD_NOT = 2

#: Ctrl-C.
INTERRUPTED = 130
