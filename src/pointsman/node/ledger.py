"""What has left and what was refused, as the proxy recorded it: read on, counted, and held against what was decided."""

from collections.abc import Iterable
from pathlib import Path

from pointsman.model.tunnel import Lane
from pointsman.node.records import Follower, Tally, parse, rotate
from pointsman.system.log import Log


class Ledger:
    """The decision records since this agent started."""

    def __init__(self, records: Path, log: Log) -> None:
        self.tally = Tally()
        self._records = records
        self._log = log
        self._follower = Follower(records)

    def skip(self) -> None:
        """Leave out what an earlier agent has counted."""
        self._follower.skip()

    def read(self, lanes: Iterable[Lane]) -> bool:
        """Count what is new; return whether the file was moved aside and has to be opened anew by its writer."""
        sources = {lane.cluster: frozenset(lane.sources) for lane in lanes}
        for line in self._follower.lines():
            record = parse(line)
            if record is None:
                self.tally.unreadable += 1
            elif not self.tally.add(record, sources):
                self._log.event("a request left another way than decided", record=dict(record))
        return rotate(self._records)
