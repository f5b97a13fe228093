"""Where trajectories come from: files in, a ``Run`` out. Knows files, knows no mathematics."""
