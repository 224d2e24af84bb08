"""What has left and what was refused, as the proxy recorded it: read on, counted, and held against what was decided."""

from collections.abc import Callable

from pointsman.node.outcomes import Outcomes
from pointsman.node.paths import Paths
from pointsman.node.proof import Finding
from pointsman.node.records import Decided, Follower, Tally, parse, rotate
from pointsman.node.streams import Running, key_of, understand

FORGOTTEN = 8.0  # seconds after which what was told to run, and is told no more, counts as ended


class Ledger:
    """The decision records since this agent started, what still runs, and what attempts came to.

    Times are in seconds of a steady clock.
    """

    def __init__(self, paths: Paths) -> None:
        self.tally = Tally()
        self.outcomes = Outcomes()
        self._files = (paths.records, paths.running, paths.attempts)
        self._ended, self._going, self._failed = (Follower(path) for path in self._files)
        self._running: dict[str, tuple[float, Running]] = {}

    def skip(self) -> None:
        """Leave out what an earlier agent has counted."""
        self._ended.skip()
        self._going.skip()
        self._failed.skip()

    @property
    def running(self) -> list[Running]:
        """Return what ran when it was told last."""
        return [one for _, one in self._running.values()]

    def read(self, decided: Decided, now: float, reopen: Callable[[], None]) -> list[Finding]:
        """Count what is new, and return what was wrong with it; full files are moved aside and opened anew."""
        for line in self._going.lines():
            record = parse(line)
            running = understand(record) if record else None
            if running is None:
                self.tally.unreadable += 1
            else:
                self._go_on(running, now)
        for line in self._failed.lines():
            record = parse(line)
            if record is None:
                self.tally.unreadable += 1
            else:
                self.outcomes.fail(record, now)
        found = []
        for line in self._ended.lines():
            record = parse(line)
            if record is None:
                self.tally.unreadable += 1
                continue
            self._running.pop(key_of(record), None)
            self.outcomes.end(record, now)
            finding = self.tally.add(record, decided)
            if finding:
                found.append(finding)
        self._running = {key: one for key, one in self._running.items() if now - one[0] < FORGOTTEN}
        self.outcomes.forget(now)
        moved = [path for path in self._files if rotate(path)]
        if moved:
            reopen()
        return found

    def _go_on(self, running: Running, now: float) -> None:
        before = self._running.get(running.key)
        if before is not None and running.sent > before[1].sent:
            self.outcomes.answer(running.tunnel, now)
        self._running[running.key] = (now, running)
