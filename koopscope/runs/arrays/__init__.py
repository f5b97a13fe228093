"""Files of named arrays: masks, weights, signals."""
