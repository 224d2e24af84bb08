"""Reads a tunnel file and what it names, and holds text that daemons read."""

import os
import stat

from pointsman.model.fault import Fault

_LONGEST = 1_000_000


def read_text(path: str) -> str:
    """Return the text of a file; raise `Fault` where it is not a readable, short, plain UTF-8 file."""
    tried = f"read `{path}`"
    try:
        # a named pipe must not hold us up
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Fault("file", tried, "it is not a file")
            raw = file.read(_LONGEST + 1)
    except OSError as error:
        raise Fault("file", tried, error.strerror or str(error)) from error
    if len(raw) > _LONGEST:
        raise Fault("file", tried, f"it is longer than {_LONGEST} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault("file", tried, f"byte {error.start} is not UTF-8") from error
    if "\0" in text:
        raise Fault("file", tried, "it holds a NUL byte")
    return text


def held_text(text: str) -> int:
    """Return an open file that holds the text and has no name anywhere."""
    handle = os.memfd_create("configuration", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(handle), "w", encoding="utf-8") as file:
        file.write(text)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle
