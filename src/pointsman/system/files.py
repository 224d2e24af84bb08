"""Files that are replaced as a whole, those that are small, and the lock that only one process holds."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pointsman.model.fault import Fault


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file as a whole: a reader, also after a power cut, sees the old content or the new."""
    draft = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Fault("file", f"write `{path}`", str(error.strerror)) from error


def read_small(path: Path, most: int) -> tuple[bytes, int]:
    """Return what an ordinary file begins with, so many bytes at most, and its permissions. Raises `OSError`.

    What is no ordinary file is empty: a named pipe must not hold us up.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        return file.read(most) if stat.S_ISREG(mode) else b"", stat.S_IMODE(mode)


@contextmanager
def alone(lock: Path, role: str) -> Iterator[None]:
    """Hold this lock while the block runs; raise `Fault` where another process does."""
    # private: whoever can open the file can hold the lock, and keep us from starting
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        os.fchmod(descriptor, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(f"{role}-runs", f"start the {role}", f"another one runs here and holds `{lock}`") from None
        yield
