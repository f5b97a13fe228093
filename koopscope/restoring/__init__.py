"""Recorded weights given back: those of a step, the best, or the last healthy ones."""
