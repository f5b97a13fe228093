"""Who records to a path: one process at a time, told by a lock on a file beside it.

The lock is never on the run itself, so readers and HDF5's own locks are not touched. The system
gives it back when its process dies, whatever killed it; a forked child does not inherit it. Where a
file system has no locks, the lock file's existence is the lock, and a dead owner's is taken over.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Seconds to wait for a process that is just ending.
PATIENCE = 0.25

_PAUSE = 0.02
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_LONGEST_NAME = 200


@dataclass
class Claim:
    """The right of this process to write to a path, shared by all that write there in it.

    Attributes
    ----------
    path
        What is claimed, without links.
    turn
        Held by the thread that is writing.
    """

    path: Path
    descriptor: int | None
    pid: int = field(default_factory=os.getpid)
    turn: Any = field(default_factory=threading.RLock)
    shares: int = 1

    @property
    def holds(self) -> bool:
        """Whether the claim is still this process's: not a forked child's, nor taken away."""
        if self.pid != os.getpid() or not self.shares:
            return False
        return self.descriptor is None or _is_at(self.descriptor, lock_file(self.path))

    def release(self) -> None:
        """Give up this share of the claim; the last one lets others write there."""
        if self.pid != os.getpid():
            return
        with _guard:
            self.shares -= 1
            if self.shares == 0:
                _claims.pop(str(self.path), None)
                _unlock(self)


_claims: dict[str, Claim] = {}
_guard = threading.RLock()


def claim(path: Path, patience: float = PATIENCE, *, shared: bool = True) -> Claim | None:
    """Claim a path for this process; ``None`` if another process has it.

    Parameters
    ----------
    path
        What will be written.
    patience
        Seconds to wait for the other process.
    shared
        Whether several in this process may have it, who take turns.

    Raises
    ------
    OSError
        If the folder is not there.
    """
    real = Path(os.path.realpath(path))
    with _guard:
        known = _claims.get(str(real))
        if known is not None and known.holds:
            if not shared:
                return None
            known.shares += 1
            return known
        deadline = time.monotonic() + patience
        while True:
            taken, descriptor = _taken(lock_file(real))
            if taken:
                _claims[str(real)] = Claim(real, descriptor)
                return _claims[str(real)]
            if time.monotonic() + _PAUSE > deadline:
                return None
            time.sleep(_PAUSE)


@contextlib.contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the claim to a path that nobody else, in this process or another, writes to.

    Raises
    ------
    KoopscopeError
        If somebody does.
    """
    taken = claim(path, shared=False)
    if taken is None:
        raise KoopscopeError(
            f"{path} is being written by {holder_of(path)}",
            "wait until it is done, or name another output",
        )
    try:
        yield
    finally:
        taken.release()


def holder_of(path: Path) -> str:
    """Return which process writes to a path, as far as its lock file tells."""
    try:
        descriptor = os.open(
            lock_file(Path(os.path.realpath(path))),
            os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NOT_FOLLOWED,
        )
        try:
            pid = os.read(descriptor, 200).split()[0].decode("ascii")
        finally:
            os.close(descriptor)
    except (OSError, IndexError, ValueError):
        return "another process"
    return f"process {pid}" if pid.isdecimal() else "another process"


def lock_file(path: Path) -> Path:
    """Return the file beside ``path`` that tells whether it is claimed."""
    return path.with_name(f".{hidden_name(path.name)}.lock")


def hidden_name(name: str) -> str:
    """Return a name, or a digest of it where there is no room for something around it."""
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST_NAME else hashlib.sha256(raw).hexdigest()[:32]


def alive(pid: int) -> bool:
    """Return whether a process of this machine runs; where that cannot be asked, say it does."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def locked(descriptor: int) -> bool:
    """Take the lock of an open file without waiting; return whether it was free.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 2**30, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def _taken(path: Path) -> tuple[bool, int | None]:
    """Return whether the lock is ours now, and what holds it; nothing where none can be had."""
    while True:
        try:
            descriptor = _opened(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT):
                raise
            # A folder that takes no new file, or a link that is not followed: nobody locks there.
            return True, None
        kept = False
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                return True, None
            try:
                if not locked(descriptor):
                    return False, None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return _taken_by_name(_mark(path)), None
            if _is_at(descriptor, path):
                _sign(descriptor)
                kept = True
                return True, descriptor
        finally:
            if not kept:
                os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | _NOT_FOLLOWED, 0o644)
    except PermissionError:  # another user's: a lock needs no right to write
        return os.open(path, os.O_RDONLY | _NOT_FOLLOWED)


def _taken_by_name(mark: Path) -> bool:
    """Take what only one can create; what a dead process of this machine left is moved away."""
    for _ in range(3):
        try:
            descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOT_FOLLOWED, 0o644)
        except FileExistsError:
            if not _left_by_the_dead(mark):
                return False
            old = mark.with_name(f"{mark.name}.{os.getpid()}")
            with contextlib.suppress(OSError):
                os.rename(mark, old)  # of several who try, one succeeds
                if not _left_by_the_dead(old):
                    os.link(old, mark)  # it was taken anew in between
                os.unlink(old)
        else:
            _sign(descriptor)
            os.close(descriptor)
            return True
    return False


def _left_by_the_dead(mark: Path) -> bool:
    try:
        pid, host = mark.read_text("utf-8").split()
    except (OSError, ValueError):
        return False
    return host == socket.gethostname() and pid.isdecimal() and not alive(int(pid))


def _mark(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}ed")


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for messages; without it the lock holds as well."""
    with contextlib.suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _unlock(claim: Claim) -> None:
    path = lock_file(claim.path)
    if claim.descriptor is None:
        if _signed_by_us(_mark(path)):
            with contextlib.suppress(OSError):
                os.unlink(_mark(path))
                os.unlink(path)
        return
    with contextlib.suppress(OSError):
        if _is_at(claim.descriptor, path):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.close(claim.descriptor)
    claim.descriptor = None


def _signed_by_us(mark: Path) -> bool:
    try:
        return mark.read_text("utf-8").split() == [str(os.getpid()), socket.gethostname()]
    except (OSError, ValueError):
        return False


def _forget_the_parents() -> None:
    """Drop what a forked child has of its parent's claims; the parent keeps them."""
    global _guard
    _guard = threading.RLock()
    for inherited in _claims.values():
        if inherited.descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(inherited.descriptor)
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)
