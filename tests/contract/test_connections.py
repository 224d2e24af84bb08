"""What is found and ended of the kernel's TCP connections, in a namespace of its own."""

import json
import subprocess
import sys

from pointsman.lab import spaces

# Three connections, two of them marked; the second mark's are ended. Says which still stand, and what was found before.
_MARKED = """
import json, socket
from pointsman.system import connections
door = socket.create_server(("127.0.0.1", 0))
def line(mark):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, 36, mark)
    made.connect(door.getsockname())
    made.settimeout(2)
    kept.append(door.accept()[0])
    return made
kept, mask = [], 0x3FF00000
lines = {"none": line(0), "first": line(0x00200007), "second": line(0x00300000)}
found = {mark: connections.any_marked(mark, mask) for mark in (0x00200000, 0x00300000, 0x00400000)}
connections.reset_marked(0x00300000, mask)
connections.reset_marked(0x00400000, mask)
def stands(one):
    try:
        one.sendall(b"x")
        return True
    except OSError:
        return False
print(json.dumps([found, {name: stands(one) for name, one in lines.items()}, connections.any_marked(0x00300000, mask)]))
"""


def test_connections_are_found_and_ended_by_their_mark_alone() -> None:
    with spaces.space("marks") as name:
        enter = ["nsenter", f"--net=/run/netns/{name}"]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        done = subprocess.run(
            [*enter, sys.executable, "-c", _MARKED], capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 0, done.stderr
    found, stands, left = json.loads(done.stdout)

    assert found == {str(0x00200000): True, str(0x00300000): True, str(0x00400000): False}
    assert stands == {"none": True, "first": True, "second": False}
    assert not left
