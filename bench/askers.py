"""Many callers at once on an instance: what each asked, what became of it, and what of that counts as lost."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.standing import ADDRESS, ALLOWED, HOST, PORT

# In place of a status: the connection failed, or ended within the answer
NOTHING, BROKEN_OFF = 0, -1
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Caller:
    """One connection that asks again and again, waiting `pause` seconds in between."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    pause: float = 0.005


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: `source` is the address that the origin saw. Times are of the monotonic clock, in seconds."""

    method: str
    path: str
    status: int
    source: str
    begun: float
    ended: float

    @property
    def answered(self) -> bool:
        """Return whether the origin's answer came, at least its beginning: what has begun nobody may repeat."""
        return self.status in (ALLOWED, BROKEN_OFF)


def lost(found: Iterable[Asked], method: str = "GET") -> int:
    """Return how many requests of this method had no answer from the origin."""
    return sum(one.method == method and not one.answered for one in found)


def first_through(found: Iterable[Asked], source: str, since: float) -> float | None:
    """Return the seconds from `since` to the first answer that came by this source; None where none did."""
    return min((one.ended - since for one in found if one.source == source and one.ended >= since), default=None)


def repeated(reached: Iterable[Mapping[str, object]]) -> int:
    """Return how many requests that may not be repeated reached the origin more than once."""
    times = Counter(one["path"] for one in reached if one.get("method") == "POST")
    return sum(count > 1 for count in times.values())


@contextmanager
def asking(callers: Sequence[Caller]) -> Iterator[list[Asked]]:
    """Have all callers ask while the block runs; the list grows, and is whole after the block."""
    found: list[Asked] = []
    ended = threading.Event()
    threads = [threading.Thread(target=_ask, args=(one, place, ended, found)) for place, one in enumerate(callers)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join(_PATIENCE + 5)


def _ask(caller: Caller, place: int, ended: threading.Event, found: list[Asked]) -> None:
    line = http.client.HTTPConnection(ADDRESS, PORT, timeout=_PATIENCE)
    number = 0
    while not ended.wait(caller.pause):
        number += 1
        path, begun = f"{caller.path}/{place}/{number}", time.monotonic()
        source = ""
        try:
            body = b"x" if caller.method == "POST" else None
            line.request(caller.method, path, body, {"Host": HOST, **dict(caller.headers)})
            answer = line.getresponse()
            text = answer.read()
            status = answer.status
            source = str(json.loads(text)["source"]) if status == ALLOWED else ""
        except http.client.IncompleteRead:
            status = BROKEN_OFF
            line.close()
        except (OSError, http.client.HTTPException):
            status = NOTHING
            line.close()
        found.append(Asked(caller.method, path, status, source, begun, time.monotonic()))
