"""Averages of recorded weights: how many snapshots, whether it helps, and the file."""
