"""Facts that follow from other facts: the operation, and the data catalogue. As formulas over base attributes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from pointsman.model.attribute import AbsentDeny, AbsentValue, Attribute, Builtin, Catalogue, Type, Value
from pointsman.model.formula import FALSE, TRUE, And, AtLeast, Atom, Const, Equals, Formula, Matches, Not, Or, Prefix
from pointsman.model.policy import Destination, Ports
from pointsman.policy.join import conj, disj, negate
from pointsman.policy.schema import CatalogueEntry, CatalogueSpec, Override

READ_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
WRITE_METHODS = ("POST", "PUT", "PATCH")
DELETE_METHODS = ("DELETE",)
# The word must end there: `GetUser` and `Get` read, `Getaway` and `Listen` do not.
GRPC_READ = r"^/[^/]+/(?:Get|List|Watch|Read|Search|Query)(?:[^a-z/][^/]*)?$"
GRPC_DELETE = r"^/[^/]+/(?:Delete|Remove)(?:[^a-z/][^/]*)?$"
GRPC_TESTS = (Matches(GRPC_READ), Matches(GRPC_DELETE))
OPERATIONS = ("read", "write", "delete", "admin", "connect", "other")

Derived = tuple[tuple[str, tuple[tuple[Value, Formula], ...]], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A derived attribute: the formula of each value. `open` is where it is absent and stays a fact of its own."""

    attribute: Attribute
    values: Mapping[Value, Formula]
    open: Formula = FALSE

    def formula(self, value: Value) -> Formula:
        """Return where the attribute has this value."""
        found = self.values.get(value, FALSE)
        return (
            found if self.open == FALSE else disj([found, conj([self.open, Atom(self.attribute.name, Equals(value))])])
        )


def operation_attribute(overrides: Iterable[Override]) -> Attribute:
    """Return the attribute `operation` with all values that it can have."""
    values = dict.fromkeys((*OPERATIONS, *(override.operation for override in overrides)))
    return Attribute("operation", Type.STRING, Builtin(), AbsentDeny(), tuple(values))


def operation(overrides: Iterable[Override], destinations: Iterable[Destination] = ()) -> Table:
    """Return the operation: the first override that fits, else by HTTP method or gRPC name, `connect` for plain TCP.

    A request that looks like gRPC is a call only where gRPC is spoken: elsewhere a server would take it for plain HTTP,
    and the look must not earn another operation.
    """
    overrides = tuple(overrides)
    attribute = operation_attribute(overrides)
    there = disj([conj([_is("destination.name", one.name), _at(one.grpc_ports)]) for one in destinations])
    grpc = conj([_is("request.protocol", "grpc"), there])
    http = conj([negate(_is("request.protocol", "tcp")), negate(grpc)])
    reads = Atom("request.path", Matches(GRPC_READ))
    deletes = Atom("request.path", Matches(GRPC_DELETE))
    values: dict[Value, Formula] = dict.fromkeys(attribute.values or (), FALSE)
    values["read"] = disj([conj([http, _any("request.method", READ_METHODS)]), conj([grpc, reads])])
    values["write"] = disj(
        [conj([http, _any("request.method", WRITE_METHODS)]), conj([grpc, negate(reads), negate(deletes)])]
    )
    values["delete"] = disj([conj([http, _any("request.method", DELETE_METHODS)]), conj([grpc, deletes])])
    values["other"] = conj([http, negate(_any("request.method", (*READ_METHODS, *WRITE_METHODS, *DELETE_METHODS)))])
    values["connect"] = _is("request.protocol", "tcp")
    for override in reversed(overrides):
        fits = _fits(override, http, grpc)
        for value, before in values.items():
            if value == override.operation:
                values[value] = disj([fits, before])
            else:
                values[value] = conj([negate(fits), before])
    return Table(attribute, values)


def catalogue_attribute(name: str, spec: CatalogueSpec) -> Attribute:
    """Return the attribute that a catalogue gives."""
    absent = AbsentDeny() if spec.absent == "deny" else AbsentValue(spec.absent)
    return Attribute(name, Type.STRING, Catalogue(), absent, tuple(spec.values))


def catalogue(name: str, spec: CatalogueSpec) -> Table:
    """Return a catalogue: at each destination, the entry with the longest path below which the request's path lies."""
    attribute = catalogue_attribute(name, spec)
    values: dict[Value, list[Formula]] = {value: [] for value in spec.values}
    covered: list[Formula] = []
    for destination, entries in _by_destination(spec.entries).items():
        here = _is("destination.name", destination)
        for index, entry in enumerate(entries):
            inner = [below(other.path or "/") for other in _children(entry, islice(entries, index + 1, None))]
            values.setdefault(entry.value, []).append(conj([here, _area(entry), negate(disj(inner))]))
        covered.append(conj([here, disj([_area(entry) for entry in entries])]))
    formulas: dict[Value, Formula] = {value: disj(parts) for value, parts in values.items()}
    uncovered = negate(disj(covered))
    if isinstance(attribute.absent, AbsentDeny):
        return Table(attribute, formulas, uncovered)
    fallback = attribute.absent.value
    return Table(attribute, formulas | {fallback: disj([formulas.get(fallback, FALSE), uncovered])})


def below(path: str) -> Formula:
    """Return where `request.path` is this path or lies below it: `/v1/x` is below `/v1` and `/v1/`, `/v1x` is not."""
    if path.endswith("/"):
        return Atom("request.path", Prefix(path))
    return disj([Atom("request.path", Equals(path)), Atom("request.path", Prefix(path + "/"))])


def is_below(path: str, top: str) -> bool:
    """Return whether a path is `top` or lies below it: what `below` says, for a path at hand."""
    return path.startswith(top) if top.endswith("/") else path == top or path.startswith(top + "/")


class Substitution:
    """Replaces derived attributes by what they follow from. Equal tests become one shared object."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = {table.attribute.name: table for table in tables}
        self._known: dict[Atom, Formula] = {}

    def apply(self, formula: Formula) -> Formula:
        """Return the formula without derived attributes."""
        match formula:
            case Atom(attribute, Equals(value)) if attribute in self._tables:
                if formula not in self._known:
                    self._known[formula] = self._tables[attribute].formula(value)
                return self._known[formula]
            case Atom() | Const():
                return formula
            case Not(part):
                return negate(self.apply(part))
            case And(parts):
                return conj([self.apply(part) for part in parts])
            case Or(parts):
                return disj([self.apply(part) for part in parts])


def derived(tables: Iterable[Table]) -> Derived:
    """Return the tables in the form in which a policy carries them."""
    return tuple(
        (table.attribute.name, tuple((value, table.formula(value)) for value in table.values)) for table in tables
    )


def _at(ports: Ports) -> Formula:
    port = "destination.port"
    return disj(
        [
            _is(port, low) if low == high else conj([Atom(port, AtLeast(low)), negate(Atom(port, AtLeast(high + 1)))])
            for low, high in ports
        ]
    )


def _fits(override: Override, http: Formula, grpc: Formula) -> Formula:
    parts: list[Formula] = []
    if override.destination is not None:
        parts.append(_is("destination.name", override.destination))
    if override.method is not None:
        parts += [http, _is("request.method", override.method)]
    if override.path is not None:
        parts += [] if override.method else [negate(_is("request.protocol", "tcp"))]
        parts.append(below(override.path))
    if override.grpc is not None:
        service, _, method = override.grpc.partition("/")
        named = Prefix(f"/{service}/") if method == "*" else Equals(f"/{override.grpc}")
        parts += [grpc, Atom("request.path", named)]
    return conj(parts)


def _by_destination(entries: Iterable[CatalogueEntry]) -> dict[str, list[CatalogueEntry]]:
    found: dict[str, list[CatalogueEntry]] = {}
    for entry in entries:
        found.setdefault(entry.destination, []).append(entry)
    return {name: sorted(here, key=lambda entry: _segments(entry.path)) for name, here in found.items()}


def _children(entry: CatalogueEntry, following: Iterable[CatalogueEntry]) -> list[CatalogueEntry]:
    """Return the entries right inside this one. Entries are sorted, so those inside follow, outer ones first."""
    inside: list[CatalogueEntry] = []
    for other in following:
        if not _inside(other.path, entry.path):
            break
        if not inside or not _inside(other.path, inside[-1].path):
            inside.append(other)
    return inside


def _inside(path: str | None, top: str | None) -> bool:
    return top is None or (path is not None and path != top and is_below(path, top))


def _segments(path: str | None) -> tuple[str, ...]:
    """Return a key that sorts every path right before those below it: `/v1`, `/v1/`, `/v1/a`, `/v1-x`."""
    return () if path is None else tuple(path.split("/"))


def _area(entry: CatalogueEntry) -> Formula:
    return TRUE if entry.path is None else below(entry.path)


def _is(attribute: str, value: Value) -> Formula:
    return Atom(attribute, Equals(value))


def _any(attribute: str, values: Iterable[Value]) -> Formula:
    return disj([_is(attribute, value) for value in values])
