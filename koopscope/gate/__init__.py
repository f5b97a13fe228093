"""Rules over findings: what ``koopscope check`` holds a run against, and what comes of it."""
