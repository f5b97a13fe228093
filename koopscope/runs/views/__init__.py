"""Runs made of other runs: shards joined, snapshots averaged, excerpts."""
