"""The version of koopscope, alone so that every module can name it."""

__version__ = "0.1.0"
