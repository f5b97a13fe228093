"""koopscope's own run file: recording, writing, reading."""
