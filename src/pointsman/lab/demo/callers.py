"""The clients that make the calls, each on a connection of its kind, all as an ordinary user of the instance."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pointsman.lab import clients, instance, world
from pointsman.lab import exec as on
from pointsman.lab.demo.judge import OK, RESET, Observed
from pointsman.lab.demo.script import FRONT, UID, By, Call
from pointsman.lab.names import Lab
from pointsman.model.fault import Fault

MARK = "x-demo-call"
# curl waits longer than the proxy does for a tunnel that leads nowhere
PATIENCE = "15"
_SHOW_STATUS = "\n%{http_code}"


class Callers:
    """Open connections, and what the origin has on record of each call."""

    def __init__(self, lab: Lab, keep_alive: clients.Client, patient: clients.Client, rpc: clients.Client) -> None:
        self._lab = lab
        self._keep_alive = keep_alive
        self._patient = patient
        self._rpc = rpc

    def make(self, call: Call, mark: str, headers: tuple[tuple[str, str], ...]) -> Observed:
        """Make one call and return what came of it. `mark` finds it in the origin's record."""
        sent = (*headers, *call.headers, (MARK, mark))
        begun = time.monotonic()
        if call.by is By.CURL:
            status, error = self._curl(call, sent)
        elif call.by is By.TCP:
            status, error = self._bytes(call, mark)
        else:
            client = self._rpc if call.by is By.GRPC else self._keep_alive
            status, error = _ask(client, call, sent)
        return Observed(status, self.sources(mark), error, time.monotonic() - begun)

    def wait(self, call: Call, mark: str, headers: tuple[tuple[str, str], ...]) -> Observed:
        """Make a call on a connection of its own, so that others need not wait for its answer."""
        status, error = _ask(self._patient, call, (*headers, *call.headers, (MARK, mark)))
        return Observed(status, self.sources(mark), error)

    def many(
        self,
        call: Call,
        mark: str,
        headers: tuple[tuple[str, str], ...],
        enough: Callable[[list[int]], bool],
        pause: float,
    ) -> list[int]:
        """Make a call again and again, `pause` seconds apart, until `enough(answers)`; return the answers."""
        sent = (*headers, *call.headers, (MARK, mark))
        answers: list[int] = []
        while not enough(answers):
            time.sleep(pause if answers else 0.0)
            answers.append(_ask(self._keep_alive, call, sent)[0])
        return answers

    def sources(self, mark: str) -> tuple[str, ...]:
        """Return the source addresses of everything with this mark that reached the origin."""
        return tuple(str(seen["source"]) for seen in instance.reached(self._lab) if _has(seen, mark))

    def _curl(self, call: Call, headers: tuple[tuple[str, str], ...]) -> tuple[int, str]:
        where = f"[{call.address}]" if ":" in call.address else call.address
        argv = ["curl", "-sS", "--max-time", PATIENCE, "-o", "/dev/null", "-w", _SHOW_STATUS, "-X", call.method]
        argv += ["--connect-to", f"::{where}:{call.port}", f"http://{call.host}:{call.port}{call.path}", "-H", "@-"]
        lines = "".join(f"{name}: {value}\n" for name, value in headers)  # a token has no place among the arguments
        done = on.run(self._lab, world.INSTANCE, argv, uid=UID, given=lines)
        return int(done.stdout.rsplit("\n", 1)[-1] or 0), done.stderr.strip()

    def _bytes(self, call: Call, mark: str) -> tuple[int, str]:
        """Send a line that is no HTTP; whatever comes back but nothing means that the flow went through."""
        argv = ["curl", "-sS", "--max-time", "2", f"telnet://{call.address}:{call.port}"]
        done = on.run(self._lab, world.INSTANCE, argv, uid=UID, given=f"{mark}\n")
        return OK if done.stdout else RESET, done.stderr.strip()


@contextmanager
def callers(lab: Lab) -> Iterator[Callers]:
    """Have all clients while the block runs. They start at once and connect with their first call."""
    with ExitStack() as opened:
        keep_alive = opened.enter_context(clients.connected(lab, FRONT, 80, uid=UID))
        patient = opened.enter_context(clients.connected(lab, FRONT, 80, uid=UID))
        rpc = opened.enter_context(clients.connected(lab, FRONT, 50051, "grpc", uid=UID))
        yield Callers(lab, keep_alive, patient, rpc)


def _ask(client: clients.Client, call: Call, headers: tuple[tuple[str, str], ...]) -> tuple[int, str]:
    try:
        answer = client.ask(call.path, host=call.host, method=call.method, headers=headers)
    except (Fault, OSError) as ended:
        return -1, str(ended)
    return answer.status, re.sub(r"\s+", " ", answer.error)[:120]


def _has(seen: dict[str, object], mark: str) -> bool:
    headers = seen["headers"]
    body = str(seen["body"])
    return [MARK, mark] in (headers if isinstance(headers, list) else []) or mark in body.split()
