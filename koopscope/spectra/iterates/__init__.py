"""Iterated operators: fixed point, contraction factor, acceleration."""
