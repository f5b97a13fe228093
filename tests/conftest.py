"""What all tests share: the threads of the command, and examples of Hypothesis without a deadline.

Machines differ in speed, so a deadline would only tell the machine.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as koopscope.cli.main says, before NumPy

from hypothesis import settings

settings.register_profile("koopscope", deadline=None)
settings.load_profile("koopscope")
