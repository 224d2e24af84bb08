"""How a command reaches the running agent: HTTP over its control socket."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

from pointsman.model.problem import Problem


class NoAgent(Exception):
    """No agent, or no gateway, answers at this runtime folder."""


class Refused(Exception):
    """Agent or gateway says no; `problems` lists why. `label` is stable and meant for programs."""

    def __init__(self, title: str, label: str, problems: Iterable[Problem]) -> None:
        self.label = label
        self.problems = tuple(problems)
        super().__init__(title)


class Client:
    """One connection to one agent or gateway, as `role` says. Times are in seconds."""

    def __init__(self, runtime: Path, timeout: float = 60.0, role: str = "agent") -> None:
        self._runtime = runtime
        self._role = role
        transport = httpx.HTTPTransport(uds=str(runtime / "control.sock"))
        self._http = httpx.Client(transport=transport, base_url="http://pointsman", timeout=timeout)

    def get(self, path: str) -> Any:
        """Return the answer to a question that changes nothing."""
        return self._answer("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """Ask for a change and return the answer."""
        return self._answer("POST", path, body if body is not None else {})

    def text(self, path: str) -> str:
        """Return an answer that is plain text."""
        try:
            return self._http.get(path).text
        except httpx.TransportError as error:
            raise self._nobody() from error

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines of an answer as they come, without end where the agent follows something."""
        try:
            with self._http.stream("GET", path, timeout=None) as answer:
                yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise self._nobody() from error

    def _answer(self, method: str, path: str, body: Any) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise self._nobody() from error
        content = answer.json()
        if answer.is_error:
            raise Refused(content["title"], content["label"], map(Problem.of, content["problems"]))
        return content

    def _nobody(self) -> NoAgent:
        start = {"agent": "pointsman up -c FILE", "gateway": "pointsman gateway -c FILE"}[self._role]
        return NoAgent(
            f"no {self._role} answers at `{self._runtime}`; "
            f"start one with `{start}`, or name its folder with `--runtime`"
        )
