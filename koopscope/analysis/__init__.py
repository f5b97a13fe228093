"""The analysis of one run: settings, the plan of the read, every spectrum once."""
