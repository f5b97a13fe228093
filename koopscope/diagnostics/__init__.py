"""One question per module; one registry that asks them all."""
