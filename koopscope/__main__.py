"""``python -m koopscope``."""

from koopscope.cli.main import main

main()
