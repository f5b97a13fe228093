"""The yardstick of the verdicts: real training runs, what became of them, and the scores."""
