"""Becomes the daemon of a tunnel: run as a script by `child`, with nothing but the standard library.

It writes its own pid file before it turns into the daemon, so that an agent that dies at any moment leaves
either no daemon or one that the next agent finds. Arguments: pid file, working folder, folder to show as
`/run` (or `-`), user that may open `/dev/net/tun` (or `-`), then the command.
"""

import ctypes
import os
import stat
import sys

_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_NOSUID_NOEXEC = 0x2 | 0x8
_MS_PRIVATE_RECURSIVE = 0x4000 | 0x40000
_TUN = "/dev/net/tun"
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(pid_file: str, work: str, run: str, tun_user: str, command: list[str]) -> None:
    """Write the pid file, enter the folder, and become the command."""
    with open(pid_file + ".new", "w", encoding="ascii", opener=_private) as file:
        file.write(f"{os.getpid()} {_started()}\n")
    os.rename(pid_file + ".new", pid_file)
    os.chdir(work)
    if run != "-" or tun_user != "-":
        _apart()
    if tun_user != "-":
        _give_tun(int(tun_user))
    if run != "-":
        # last: pid file and folders may lie below /run themselves.
        # wireguard-go insists on a file below /var/run; this way it sees its tunnel's own, and nobody else's
        _mount(run, "/run", None, _MS_BIND)
    os.umask(0o077)
    os.execvp(command[0], command)  # noqa: S606


def _apart() -> None:
    """Give this process mounts of its own, which no other sees."""
    _demand(_LIBC.unshare(_CLONE_NEWNS), "/")
    _mount("none", "/", None, _MS_PRIVATE_RECURSIVE)


def _give_tun(uid: int) -> None:
    # not every host lets all users open the device; this node is for one user, and this daemon alone sees it
    device = os.stat(_TUN).st_rdev
    _mount("tmpfs", os.path.dirname(_TUN), "tmpfs", _MS_NOSUID_NOEXEC)
    os.mknod(_TUN, 0o600 | stat.S_IFCHR, device)
    os.chown(_TUN, uid, uid)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    filesystem = kind.encode() if kind else None
    _demand(_LIBC.mount(os.fsencode(source), os.fsencode(target), filesystem, flags, None), target)


def _demand(failed: int, what: str) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _started() -> str:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
