"""The plain reading of a policy: rules in order, conditions as written, run by the CEL runtime.

This is the reference that the compiled readers are held against. It shares nothing with them but the CEL
environment: derived facts are looked up here, not substituted. It reads contexts in which every attribute has a
value; `decide` fills in what is absent, and for `absent: deny` tries all values that it is given to try.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import re2
from cel_expr_python import cel

from pointsman.model.attribute import AbsentValue, Value
from pointsman.model.policy import Destination, Policy
from pointsman.policy import derive
from pointsman.policy.condition import environment
from pointsman.policy.schema import CatalogueSpec, Override, PolicyDocument


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of the plain reading: a profile, or a refusal. `rule` is empty where absence alone refused."""

    profile: str | None
    rule: str


class Reader:
    """Reads one policy. The document is the one that the policy was loaded from."""

    def __init__(self, policy: Policy, document: PolicyDocument) -> None:
        self._policy = policy
        self._document = document
        self._operation = derive.operation_attribute(document.operations)
        self._env = environment((*policy.attributes, self._operation))
        self._expressions = [self._env.compile(rule.source) for rule in policy.rules]

    def first_match(self, facts: Mapping[str, Value]) -> int:
        """Return the index of the rule that decides, given a value of every attribute that is not derived."""
        return self._first(facts, {})

    def decide(self, facts: Mapping[str, Value], candidates: Mapping[str, Iterable[Value]]) -> Verdict:
        """Decide on facts of which some are missing. `candidates` are the values that a missing one might have."""
        filled = dict(facts)
        open_: dict[str, tuple[Value, ...]] = {}
        for attribute in self._policy.attributes:
            if attribute.name in self._document.catalogue:
                continue
            value = filled.pop(attribute.name, None)
            if value is not None and (attribute.values is None or value in attribute.values):
                filled[attribute.name] = value
            elif isinstance(attribute.absent, AbsentValue):
                filled[attribute.name] = attribute.absent.value
            else:
                open_[attribute.name] = tuple(attribute.values or candidates[attribute.name])
        found = {
            self._first(filled | dict(zip(open_, chosen, strict=True)), candidates)
            for chosen in product(*open_.values())
        }
        return self._meet(found)

    def _first(self, facts: Mapping[str, Value], candidates: Mapping[str, Iterable[Value]]) -> int:
        known: dict[str, Any] = dict(facts)
        known["operation"] = operation(facts, self._document.operations, self._policy.destinations)
        for name, spec in self._document.catalogue.items():
            known[name] = look_up(facts, spec)
        missing = [name for name in self._document.catalogue if known[name] is None]
        choices = [self._document.catalogue[name].values for name in missing]
        found = {self._run(known | dict(zip(missing, chosen, strict=True))) for chosen in product(*choices)}
        outcomes = {self._policy.rules[index].profile for index in found}
        return min(found) if len(outcomes) == 1 else REFUSED

    def _run(self, facts: Mapping[str, Any]) -> int:
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
        activation = self._env.Activation(values)
        for index, expression in enumerate(self._expressions):
            answer = expression.eval(activation)
            if answer.type() != cel.Type.BOOL:
                raise ValueError(f"rule `{self._policy.rules[index].name}` gave no truth value: {answer.value()}")
            if answer.value() is True:
                return index
        raise ValueError("the last rule of a policy always holds")

    def _meet(self, found: set[int]) -> Verdict:
        outcomes = {None if index == REFUSED else self._policy.rules[index].profile for index in found}
        if len(outcomes) > 1 or REFUSED in found:
            return Verdict(None, "")
        rule = self._policy.rules[min(found)]
        return Verdict(rule.profile, rule.name)


REFUSED = -1


def operation(
    facts: Mapping[str, Value], overrides: Iterable[Override], destinations: Iterable[Destination] = ()
) -> str:
    """Return the operation of a request, by plain reading of docs/policy.md."""
    protocol, method, path = str(facts["request.protocol"]), str(facts["request.method"]), str(facts["request.path"])
    place, port = facts["destination.name"], int(str(facts["destination.port"]))
    spoken = [ports for one in destinations if one.name == place for ports in one.grpc_ports]
    if protocol == "grpc" and not any(low <= port <= high for low, high in spoken):
        protocol = "http"
    for override in overrides:
        if override.destination is not None and override.destination != facts["destination.name"]:
            continue
        if override.method is not None and (protocol != "http" or override.method != method):
            continue
        if override.path is not None and (protocol == "tcp" or not derive.is_below(path, override.path)):
            continue
        if override.grpc is not None and (protocol != "grpc" or not _names(override.grpc, path)):
            continue
        return override.operation
    if protocol == "tcp":
        return "connect"
    if protocol == "grpc":
        if re2.search(derive.GRPC_READ, path):
            return "read"
        return "delete" if re2.search(derive.GRPC_DELETE, path) else "write"
    for name, methods in (
        ("read", derive.READ_METHODS),
        ("write", derive.WRITE_METHODS),
        ("delete", derive.DELETE_METHODS),
    ):
        if method in methods:
            return name
    return "other"


def look_up(facts: Mapping[str, Value], spec: CatalogueSpec) -> str | None:
    """Return the value that a catalogue gives a request; None where it gives none and `absent` is `deny`."""
    path = str(facts["request.path"])
    fitting = [
        entry
        for entry in spec.entries
        if entry.destination == facts["destination.name"] and (entry.path is None or derive.is_below(path, entry.path))
    ]
    if not fitting:
        return None if spec.absent == "deny" else spec.absent
    return max(fitting, key=lambda entry: -1 if entry.path is None else len(entry.path)).value


def _names(pattern: str, path: str) -> bool:
    return path.startswith(f"/{pattern[:-1]}") if pattern.endswith("/*") else path == f"/{pattern}"
