"""Files that appear under their names complete or not at all. Knows names, not what is written.

A draft lies beside its target under a name that nobody can foresee, is created anew and never
through a link, and is removed by whoever writes there next if its process died. A target that is a
link stays one: the file appears where it points.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from koopscope.runs.claims import alive, hidden_name, locked

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


@contextmanager
def drafted(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a name to write under: it becomes ``path`` if the block ends well, and else nothing.

    Parameters
    ----------
    path
        What is written. A file that is there already keeps its permissions.
    replace
        Whether it may be there already.

    Raises
    ------
    FileExistsError
        If it is and may not, also when somebody else has created it in the meantime.
    """
    target = Path(os.path.realpath(path))
    _remove_abandoned(target)
    name = f".{hidden_name(target.name)}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    draft = target.with_name(name)
    descriptor = os.open(draft, _NEW | _FLAGS, 0o666)
    try:
        with contextlib.suppress(OSError):
            locked(descriptor)  # tells whoever cleans up that this one is being written
        yield draft
        if replace:
            _keep_mode(target, draft)
            os.replace(draft, target)
        else:
            _publish(draft, target)
    finally:
        draft.unlink(missing_ok=True)
        os.close(descriptor)


def _publish(draft: Path, target: Path) -> None:
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists") from None
        os.rename(draft, target)


def _keep_mode(target: Path, draft: Path) -> None:
    try:
        status = os.stat(target, follow_symlinks=False)
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        with contextlib.suppress(OSError):
            os.chmod(draft, stat.S_IMODE(status.st_mode))


def _remove_abandoned(target: Path) -> None:
    """Remove what dead processes began to write for this target."""
    pattern = re.compile(rf"\.{re.escape(hidden_name(target.name))}\.(\d+)(-[0-9a-f]+)?\.tmp")
    try:
        with os.scandir(target.parent) as entries:
            drafts = [
                (entry.path, match) for entry in entries if (match := pattern.fullmatch(entry.name))
            ]
    except OSError:
        return
    for path, match in drafts:
        if not alive(int(match[1])):
            with contextlib.suppress(OSError):
                _remove_unless_locked(path)


def _remove_unless_locked(path: str) -> None:
    """Remove a draft, unless a process that this machine does not see is writing it."""
    if not stat.S_ISREG(os.stat(path, follow_symlinks=False).st_mode):
        return
    descriptor = os.open(path, os.O_RDWR | _FLAGS)
    try:
        if locked(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)
