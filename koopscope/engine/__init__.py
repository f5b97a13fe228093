"""How a pass over a run is carried out: in this process, or on a cluster. Same result, same interface."""
