"""Pictures of a diagnosis, through matplotlib's object interface: no state, no window system."""
