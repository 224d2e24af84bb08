"""The files by which this node proves itself to gateways: what is wrong with them, for `doctor` and before a start."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pointsman.model.fault import Fault
from pointsman.model.gateway import Gateway
from pointsman.model.problem import Place, Problem
from pointsman.node.config import Node
from pointsman.node.findings import Finding
from pointsman.system.credentials import Flaw, Found, Grade, Part, look, nodes_of
from pointsman.system.gateways import context_of, files_of

_WHAT = "gateway files"


@dataclass(frozen=True, slots=True)
class Told:
    """A flaw, the gateways that cannot be asked for it, and where the node file first names the file that has it."""

    flaw: Flaw
    gateways: tuple[str, ...]
    place: Place

    @property
    def problem(self) -> Problem:
        """Return it as a problem of the node file."""
        return Problem(self.place, self.flaw.label, f"{self.flaw.what} ({self._who})", self.flaw.hint)

    @property
    def finding(self) -> Finding:
        """Return it as a finding of `doctor`."""
        level = "warning" if self.flaw.grade is Grade.WARNING else "problem"
        return Finding(_WHAT, level, f"{self.flaw} ({self._who})")

    @property
    def _who(self) -> str:
        return "for gateway " + ", ".join(f"`{name}`" for name in self.gateways)


def judge(node: Node, now: datetime) -> tuple[Told, ...]:
    """Return what is wrong with the files of all gateways. Gateways that share files share their flaws."""
    told: dict[Flaw, Told] = {}
    for gateway, places in zip(node.gateways, node.gateway_places, strict=True):
        for flaw in _flaws(gateway, node.name, now):
            place = dict(zip(Part, places, strict=True))[flaw.part]
            before = told.get(flaw, Told(flaw, (), place))
            told[flaw] = Told(flaw, (*before.gateways, gateway.name), before.place)
    return tuple(told.values())


def unusable(told: Iterable[Told]) -> list[Problem]:
    """Return what keeps an agent from starting."""
    return [one.problem for one in told if one.flaw.grade is Grade.UNUSABLE]


def gateway_findings(node: Node, now: datetime) -> list[Finding]:
    """Judge the files for `doctor`."""
    if not node.gateways:
        return []
    ends = [look(files_of(gateway), server=False, now=now).until for gateway in node.gateways]
    until = min((end for end in ends if end), default=None)
    good = Finding(_WHAT, "ok", f"this node's certificate is good until {until:%Y-%m-%d}" if until else "")
    return [one.finding for one in judge(node, now)] or [good]


def _flaws(gateway: Gateway, node: str, now: datetime) -> Iterator[Flaw]:
    found = look(files_of(gateway), server=False, now=now)
    yield from found.flaws
    if found.chain:
        yield from _name_flaws(found, node)
    if not any(flaw.grade is Grade.UNUSABLE or flaw.label == "not-judged" for flaw in found.flaws):
        try:
            context_of(gateway)
        except Fault as fault:  # what TLS itself will not have, like a key that is too short
            yield Flaw(Part.CERTIFICATE, Grade.UNUSABLE, "unusable", str(fault))


def _name_flaws(found: Found, node: str) -> Iterator[Flaw]:
    names, path = nodes_of(found.chain[0]), found.files.certificate
    if len(names) != 1:
        what = f"`{path}` names {'more than one node' if names else 'no node'}: gateways answer 403"
        hint = f"have it signed with `subjectAltName=URI:urn:pointsman:node:{node}` alone"
        yield Flaw(Part.CERTIFICATE, Grade.UNFIT, "not-a-node", what, hint)
