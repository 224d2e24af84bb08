"""Becomes the daemon of a tunnel: run as a script by `child`, with nothing but the standard library.

It writes its own pid file before it turns into the daemon, so that an agent that dies at any moment leaves
either no daemon or one that the next agent finds. Arguments: pid file, working folder, folder to show as
`/run` (or `-`), then the command.
"""

import ctypes
import os
import sys

_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_PRIVATE_RECURSIVE = 0x4000 | 0x40000


def main(pid_file: str, work: str, run: str, command: list[str]) -> None:
    """Write the pid file, enter the folder, and become the command."""
    with open(pid_file + ".new", "w", encoding="ascii", opener=_private) as file:
        file.write(f"{os.getpid()} {_started()}\n")
    os.rename(pid_file + ".new", pid_file)
    os.chdir(work)
    if run != "-":
        # last: pid file and folders may lie below /run themselves
        _show_as_run(run)
    os.umask(0o077)
    os.execvp(command[0], command)  # noqa: S606


def _show_as_run(folder: str) -> None:
    # wireguard-go insists on a file below /var/run; this way it sees its tunnel's own, and nobody else's
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(b"none", b"/", None, _MS_PRIVATE_RECURSIVE, None)
        or libc.mount(os.fsencode(folder), b"/run", None, _MS_BIND, None)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), folder)


def _started() -> str:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
