"""Call the command line in this process, as the installed command would."""

from __future__ import annotations

import pytest

from koopscope.cli.main import main


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Call ``koopscope WORDS``; return its exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err
