"""``python -m koopscope``."""

from koopscope_command import main

main()
