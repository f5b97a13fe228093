"""How files of others that the tests read were written."""
