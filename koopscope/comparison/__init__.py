"""Are two trainings the same dynamics, and where do they part? One question a module."""
