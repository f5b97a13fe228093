"""koopscope: what the Koopman spectrum of a recorded weight trajectory tells about a training run."""

__version__ = "0.1.0"
