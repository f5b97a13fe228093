"""How far ahead recorded weights can be told, and what that is good for."""
