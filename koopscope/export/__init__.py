"""Files written from a second pass over the snapshots: modes, fixed points."""
