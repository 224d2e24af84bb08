"""From the bytes of a policy file to a checked policy, or to everything that is wrong with them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pointsman.model.attribute import BUILTINS
from pointsman.model.policy import Destination, Policy
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.profile import Profile
from pointsman.policy import derive, facts, holding
from pointsman.policy.check import Findings
from pointsman.policy.destinations import destinations
from pointsman.policy.document import Document, names_in, read
from pointsman.policy.keys import ReadFile
from pointsman.policy.node import escaped
from pointsman.policy.profiles import profiles
from pointsman.policy.rules import rules
from pointsman.policy.schema import PolicyDocument
from pointsman.policy.shape import Shape, shape


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked policy, the document that it was made from, and where its profiles are declared."""

    policy: Policy
    document: PolicyDocument
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy file as far as it could be read: it, None where anything is wrong, its profiles, and all that is wrong.

    `places` are where the profiles are declared.
    """

    loaded: Loaded | None
    profiles: tuple[Profile, ...]
    places: Mapping[str, Place]
    problems: tuple[Problem, ...]


def load_policy(text: bytes, name: str, read_file: ReadFile) -> Policy:
    """Return the policy in this file, or raise `Invalid` with all that is wrong with it."""
    return load(text, name, read_file).policy


def load(text: bytes, name: str, read_file: ReadFile) -> Loaded:
    """Return the policy with its document, or raise `Invalid` with all that is wrong with it."""
    judged = judge(text, name, read_file)
    if judged.loaded is None:
        raise Invalid(judged.problems)
    return judged.loaded


def judge(text: bytes, name: str, read_file: ReadFile) -> Judged:
    """Return what a policy file says and what is wrong with it. Never raises `Invalid`.

    `read_file` reads a file next to it, and raises `Fault` where it cannot.
    """
    try:
        document = read(text, name)
        formed = shape(document)
    except Invalid as invalid:
        return Judged(None, (), {}, invalid.problems)
    found = Findings()
    found.problems += [*document.problems, *formed.problems]
    declared = facts.attributes(formed.policy, document, found)
    identity = facts.identity(formed.policy, document, read_file, found)
    places_to_go = destinations(formed, document, found)
    profiles_, profile_places = profiles(formed, document, found)
    by_name = {attribute.name: attribute for attribute in declared}
    holding.check(profiles_, profile_places, by_name, identity is not None, found)
    tables = _tables(formed, document, places_to_go, found)
    attributes = (*BUILTINS, *declared, *(table.attribute for table in tables[1:]))
    checked = rules(formed, document, attributes, tables, places_to_go, profiles_, found)
    if found.problems:
        problems = dict.fromkeys(_readable(problem) for problem in found.problems)
        return Judged(None, profiles_, profile_places, tuple(problems))
    content = json.dumps([formed.policy.model_dump(mode="json"), identity.keys if identity else ""], sort_keys=True)
    policy = Policy(
        formed.policy.metadata.name,
        hashlib.sha256(content.encode()).hexdigest(),
        attributes,
        places_to_go,
        profiles_,
        checked,
        identity,
        derive.derived(tables),
    )
    return Judged(Loaded(policy, formed.policy, profile_places), profiles_, profile_places, ())


def _readable(problem: Problem) -> Problem:
    """Return the problem with the author's words fit for a line of text."""
    return replace(problem, what=escaped(problem.what), hint=escaped(problem.hint))


def _tables(
    formed: Shape, document: Document, known: Iterable[Destination], found: Findings
) -> tuple[derive.Table, ...]:
    """Return the derived attributes, the operation first."""
    by_name = {destination.name: destination for destination in known}
    names = [*by_name, *names_in(document, "destinations")]
    for position, override in enumerate(formed.policy.operations):
        at = formed.index("operations", position)
        place = document.find("operations", at)
        if override.destination is not None and override.destination not in names:
            found.unknown(document.find("operations", at, "destination"), "destination", override.destination, names)
        if not (override.destination or override.method or override.path or override.grpc):
            found.add(
                place, "operation", "this entry fits every request", "give it `destination`, `method`, `path` or `grpc`"
            )
        if override.grpc and (override.method or override.path):
            found.add(place, "operation", "`grpc` does not go together with `method` and `path`")
        meant = [one for one in by_name.values() if override.destination in (None, one.name)]
        if override.grpc and not any(one.grpc_ports for one in meant):
            hint = "say with `grpcPorts` where the destination speaks gRPC"
            found.add(
                place, "operation", f"`{override.grpc}` is never called: no destination meant here has gRPC", hint
            )
        if override.path and override.destination in by_name and by_name[override.destination].raw_path:
            found.add(place, "raw-path", f"paths of `{override.destination}` are raw and cannot be asked about")
    for attribute, spec in formed.policy.catalogue.items():
        seen: dict[tuple[str, str | None], int] = {}
        if spec.absent != "deny" and spec.absent not in spec.values:
            found.unknown(document.find("catalogue", attribute, "absent"), "value", spec.absent, [*spec.values, "deny"])
        for position, entry in enumerate(spec.entries):
            where = ("catalogue", attribute, "entries", position)
            if entry.destination not in names:
                found.unknown(document.find(*where, "destination"), "destination", entry.destination, names)
            if entry.value not in spec.values:
                found.unknown(document.find(*where, "value"), "value", entry.value, spec.values)
            if entry.path and entry.destination in by_name and by_name[entry.destination].raw_path:
                found.add(
                    document.find(*where, "path"),
                    "raw-path",
                    f"paths of `{entry.destination}` are raw and cannot be asked about",
                )
            first = seen.setdefault((entry.destination, entry.path), position)
            if first != position:
                found.add(
                    document.find(*where),
                    "duplicate-name",
                    "this place is in the catalogue twice",
                    f"first at {document.find(*where[:3], first)}",
                )
    return derive.operation(formed.policy.operations, by_name.values()), *(
        derive.catalogue(name, spec) for name, spec in formed.policy.catalogue.items()
    )
