"""Can a gateway be run by its file and those that it names? Judged is alike by `gateway check` and before a start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import geteuid
from pathlib import Path

from pointsman.gateway.config import GatewayFile, read_gateway
from pointsman.gateway.credentials import Credentials, files_of
from pointsman.gateway.site import Api, Gateway
from pointsman.model import gateway as node_side
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.system import gateways as edge
from pointsman.system.credentials import Found, Grade, Part, leads_to, look, names_address
from pointsman.system.secrets import read_secret

_FIELDS = {Part.CERTIFICATE: "certificate", Part.KEY: "key", Part.AUTHORITY: "nodes"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What keeps a gateway from starting, what from serving nodes as it should, and what is to be watched.

    `until` is when its certificate ends, None where there is none or it was not looked at.
    """

    stops: tuple[Problem, ...]
    unfit: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    until: datetime | None = None


def start(path: Path, now: datetime) -> tuple[Gateway, tuple[Problem, ...]]:
    """Return the gateway to run on this host, and what to tell in its log; raise `Invalid` where it cannot start."""
    file = read_gateway(path)
    verdict = judge(file, now)
    if verdict.stops or file.here:
        raise Invalid([*verdict.stops, *file.here])
    return file.gateway(), (*verdict.unfit, *verdict.warnings)


def judge(file: GatewayFile, now: datetime, askers: Sequence[node_side.Gateway] = ()) -> Verdict:
    """Judge a gateway file with all files that it names. `askers` are the entries by which nodes will ask it."""
    if file.api is None:
        return Verdict(file.problems, _strangers(file, askers))
    found = look(files_of(file.api), server=True, now=now)
    told = [
        *((flaw.grade, Problem(_place(file, flaw.part), flaw.label, flaw.what, flaw.hint)) for flaw in found.flaws),
        *_rehearsed(file, file.api, found),
        *_name_flaws(file, found),
        *_secret_flaws(file, file.api),
        *(flaw for asker in askers for flaw in _asker_flaws(file, found, asker, now)),
    ]
    by_grade = {grade: tuple(problem for one, problem in told if one is grade) for grade in Grade}
    stops = (*file.problems, *by_grade[Grade.UNUSABLE])
    return Verdict(stops, (*by_grade[Grade.UNFIT], *_strangers(file, askers)), by_grade[Grade.WARNING], found.until)


def _strangers(file: GatewayFile, askers: Sequence[node_side.Gateway]) -> tuple[Problem, ...]:
    """Return what is wrong where none of these entries asks this gateway."""
    if not askers or (file.api and any(asker.address in file.dialled for asker in askers)):
        return ()
    if file.api is None:
        return (Problem(file.document.find(), "missing-field", "nodes cannot ask: there is no `api`"),)
    what = f"no gateway of the node file is at {' or '.join(file.dialled)}, where tunnels end"
    return (Problem(file.document.find(), "not-asked", what, "give `address` the same value in both files"),)


def _rehearsed(file: GatewayFile, api: Api, found: Found) -> Iterator[tuple[Grade, Problem]]:
    """Load the files as the API will: what TLS itself will not have, like a key that is too short, is told now."""
    if any(flaw.grade is Grade.UNUSABLE or flaw.label == "not-judged" for flaw in found.flaws):
        return
    try:
        Credentials(api).refresh()
    except Fault as fault:
        yield Grade.UNUSABLE, Problem(file.document.find("api"), fault.label, str(fault))


def _name_flaws(file: GatewayFile, found: Found) -> Iterator[tuple[Grade, Problem]]:
    """Nodes ask at the address at which tunnels end, and believe no certificate that does not name it."""
    for address in file.dialled if found.chain else ():
        if not names_address(found.chain[0], address):
            what = f"`{found.files.certificate}` does not name {address}, where nodes ask"
            hint = f"have it signed with `subjectAltName=IP:{address}`; a common name does not count"
            yield Grade.UNFIT, Problem(_place(file, Part.CERTIFICATE), "wrong-name", what, hint)


def _secret_flaws(file: GatewayFile, api: Api) -> Iterator[tuple[Grade, Problem]]:
    """Secrets are read when a tunnel needs one, so none keeps the gateway from starting."""
    named = [(("secrets", node), path) for node, path in api.secrets]
    for steps, path in [*named, *([(("secret",), api.secret)] if api.secret else [])]:
        place = file.document.find("api", *steps)
        try:
            read_secret(path)
        except Fault as fault:
            if isinstance(fault.__cause__, PermissionError) and geteuid() != 0:
                what = f"`{path}` is not judged: only its owner and root may read it"
                yield Grade.WARNING, Problem(place, "not-judged", what)
            else:
                yield Grade.UNFIT, Problem(place, fault.label, f"`{path}` will not do: {fault.why}")


def _asker_flaws(
    file: GatewayFile, found: Found, asker: node_side.Gateway, now: datetime
) -> Iterator[tuple[Grade, Problem]]:
    """Hold the files of both ends against each other; what else is wrong with the node's own, its `doctor` says."""
    if asker.address not in file.dialled:
        return
    other = look(edge.files_of(asker), server=False, now=now)
    pairs = (
        (Part.CERTIFICATE, found.files.certificate, found.chain, other.files.authority, other.authorities),
        (Part.AUTHORITY, other.files.certificate, other.chain, found.files.authority, found.authorities),
    )
    for part, signed, chain, by, authorities in pairs:
        place = _place(file, part)
        if not chain or not authorities:
            what = f"whether `{signed}` is signed by `{by}` is not known: one of them cannot be used"
            yield Grade.WARNING, Problem(place, "not-judged", what)
        elif not leads_to(chain, authorities):
            what = (
                f"`{signed}` is not signed by `{by}`, by which it is judged for gateway `{asker.name}` of the node file"
            )
            yield Grade.UNFIT, Problem(place, "other-authority", what, "have it signed anew, or name its authority")


def _place(file: GatewayFile, part: Part) -> Place:
    return file.document.find("api", _FIELDS[part])
