"""Are two trainings the same? Pairs of runs whose answer is known, and how often it was found."""
