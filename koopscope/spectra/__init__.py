"""The mathematics: arrays in, frozen dataclasses out. Knows no file and no terminal."""
