"""Checkpoint files of other programs, one module per kind, joined into runs."""
