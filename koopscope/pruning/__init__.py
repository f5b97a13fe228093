"""Which weights can go: scores from Koopman modes, exact selection in bounded memory, masks."""
