"""One line in a training program: record the run, and stop it when the weights have settled.

Each framework's callback is a module of its own, imported only by whoever has that framework.
"""

from __future__ import annotations

from koopscope.integrations.tracker import Tracker

__all__ = ["Tracker"]
