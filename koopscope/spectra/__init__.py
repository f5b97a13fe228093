"""The mathematics: arrays in, frozen dataclasses out. Knows no file, no terminal, no configuration."""
