"""``python -m koopscope``."""

from koopscope.cli.start import main

main()
