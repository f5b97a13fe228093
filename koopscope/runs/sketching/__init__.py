"""Sketching: random sums of a tensor's weights, where it lies, and exact facts beside them."""
