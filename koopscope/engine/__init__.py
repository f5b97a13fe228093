"""How a pass over a run is carried out; every way gives the same result."""
