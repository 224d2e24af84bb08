"""What the attempts on each tunnel came to, as the proxy recorded it: answered, failed, or nothing that tells."""

from pointsman.node.records import Record
from pointsman.tunnels import attempts
from pointsman.tunnels.attempts import Attempts

# How Envoy begins what an attempt met on its way; what failed on this host, such as to bind, begins otherwise
_MET = "delayed_connect_error:"
# Said by an origin that is there: the tunnel carries
_REFUSED = ("Connection_refused", "Connection_reset_by_peer")
# Said by this host, when it ends what is on its way through a tunnel
_OURS = ("Software_caused_connection_abort",)


class Outcomes:
    """What is known of each tunnel's attempts, by its name. Times are in seconds of a steady clock."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempts] = {}

    def end(self, record: Record, now: float) -> None:
        """Note a request or flow that has ended. One that was reset, or left by its client, tells nothing."""
        if record.get("kind") == "http" and record.get("details") == "via_upstream":
            self.answer(_tunnel(record), now)
        elif record.get("kind") == "tcp" and record.get("source"):
            # that it connected is all that is known of it, and it did so when it began
            self.answer(_tunnel(record), now - _milliseconds(record) / 1000)

    def fail(self, record: Record, now: float) -> None:
        """Note an attempt that could not connect. An origin that refuses has answered."""
        tunnel, failure = _tunnel(record), str(record.get("failure") or "")
        if failure.startswith(_MET) and failure.endswith(_REFUSED):
            self.answer(tunnel, now)
        elif tunnel and (not failure or failure.startswith(_MET)) and not failure.endswith(_OURS):
            self.attempts[tunnel] = attempts.failed(self.attempts.get(tunnel, Attempts()), now)

    def answer(self, tunnel: str, when: float) -> None:
        """Note that something came back through a tunnel at this time."""
        if tunnel:
            self.attempts[tunnel] = attempts.answered(self.attempts.get(tunnel, Attempts()), when)

    def forget(self, now: float) -> None:
        """Leave out what is too old to mean anything."""
        self.attempts = {name: one for name, one in self.attempts.items() if not attempts.over(one, now)}


def _tunnel(record: Record) -> str:
    return str(record.get("lane") or "").partition("@")[2]


def _milliseconds(record: Record) -> float:
    told = record.get("milliseconds")
    return float(told) if isinstance(told, int | float) else 0.0
