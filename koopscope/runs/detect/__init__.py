"""What lies at a path, and opening it as a run."""
