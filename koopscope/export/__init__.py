"""Files of arrays computed from a run, and the second passes that compute modes, fixed points."""
