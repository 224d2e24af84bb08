"""WireGuard by wireguard-go, as a user of its own.

The daemon gets its tun device and its control socket as open files, so that it needs no capability but
CAP_NET_ADMIN (for the device's MTU) and shares no folder with others. It dies with its device.
"""

import os
import socket
from pathlib import Path

from pointsman.tunnels.drivers import child, link
from pointsman.tunnels.port import Berth


def launch(berth: Berth, digest: str) -> None:
    """Start the daemon for a new device of this berth."""
    child.prepare(berth)
    path = socket_path(berth)
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o755, exist_ok=True)
    device = link.open_tun(berth, header=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        _listen(listener, path)
        # it watches this file, for which it must be able to read it
        os.chown(path, berth.uid, berth.gid)
        child.launch(
            berth,
            digest,
            child.Command(
                ("wireguard-go", "-f", berth.link),
                environment=(
                    ("WG_TUN_FD", str(device)),
                    ("WG_UAPI_FD", str(listener.fileno())),
                    ("WG_PROCESS_FOREGROUND", "1"),
                    ("LOG_LEVEL", "error"),
                ),
                capabilities=("net_admin",),
                pass_fds=(device, listener.fileno()),
                run_folder=path.parent.parent,
            ),
        )
    finally:
        listener.close()
        os.close(device)


def _listen(listener: socket.socket, path: Path) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{handle}/{path.name}")
    finally:
        os.close(handle)
    path.chmod(0o600)
    listener.listen(8)


def socket_path(berth: Berth) -> Path:
    """Return where the daemon is told what to do."""
    return berth.folder / "run" / "wireguard" / f"{berth.link}.sock"
