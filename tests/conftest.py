"""What all tests share: machines differ in speed, so no example of Hypothesis has a deadline."""

from hypothesis import settings

settings.register_profile("koopscope", deadline=None)
settings.load_profile("koopscope")
