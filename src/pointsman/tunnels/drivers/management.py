"""Asks an openvpn daemon how it is, by its management socket (management-notes.txt of OpenVPN 2.6).

Each question is a connection of its own: whoever restarts has no session to lose.
"""

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from pointsman.model.fault import Fault

_PATIENCE = 2.0
_LONGEST_ANSWER = 64_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """What the daemon says: whether it is connected, its addresses in the tunnel, and bytes sent."""

    connected: bool
    addresses: tuple[str, ...]
    sent: int
    why: str


def ask(path: Path) -> Said:
    """Return what the daemon says; raise `Fault` where it does not answer."""
    return understand(converse(path, (b"state\n", b"\nEND\r\n"), (b"load-stats\n", b"SUCCESS: ")))


def converse(path: Path, *questions: tuple[bytes, bytes]) -> str:
    """Return the answers to these questions, each given with what its answer holds at the end.

    `ERROR:` always ends one. Raises `Fault` where the daemon does not answer.
    """
    tried = f"ask the daemon behind `{path}`"
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(_PATIENCE)
                channel.connect(f"/proc/self/fd/{folder}/{path.name}")
                answer = b"".join(_answer(channel, question, last) for question, last in questions)
        finally:
            os.close(folder)
    except OSError as error:
        raise Fault("tunnel-daemon", tried, str(error)) from error
    return answer.decode("utf-8", "replace")


def _answer(channel: socket.socket, question: bytes, last: bytes) -> bytes:
    """Return the lines that answer a question. It waits, since a daemon forgets questions that come with a farewell."""
    channel.sendall(question)
    answer = b""
    while not ((last in answer or b"ERROR: " in answer) and answer.endswith(b"\n")):
        part = channel.recv(65536)
        if not part or len(answer) > _LONGEST_ANSWER:
            raise ConnectionResetError("it hung up")
        answer += part
    return answer


def understand(answer: str) -> Said:
    """Return what the answers to `state` and `load-stats` say."""
    state: list[str] = []
    sent = 0
    for line in answer.splitlines():
        if line.startswith("SUCCESS: nclients="):
            for word in line.removeprefix("SUCCESS: ").split(","):
                key, _, value = word.partition("=")
                if key == "bytesout" and value.isdigit():
                    sent = int(value)
        elif line[:1].isdigit() and line.count(",") >= 3:
            state = line.split(",")
    name = state[1] if state else "unknown"
    told = [state[index] for index in (3, 8) if len(state) > index]
    connected = name == "CONNECTED" and state[2] == "SUCCESS"
    about = ", ".join(word for word in (name.lower(), *state[2:3]) if word)
    why = "" if connected else "".join(letter for letter in about if letter.isprintable())[:200]
    addresses = tuple(sorted(address for address in told if _is_host(address)))
    return Said(connected, addresses, sent, why)


def _is_host(text: str) -> bool:
    """Say whether this can be a link's address; what a gateway says is not believed blindly."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local)
