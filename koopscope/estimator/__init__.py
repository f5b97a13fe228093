"""``koopscope.DMD``: fit, predict and reconstruct arrays through the interface of PyDMD's DMD."""
