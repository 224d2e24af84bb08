"""The rules that a policy declares, in boolean form, and what is wrong with them."""

from collections.abc import Iterable

from pointsman.model.attribute import Attribute
from pointsman.model.formula import TRUE, And, Atom, Const, Equals, Formula, Not, Or
from pointsman.model.policy import Destination, Rule
from pointsman.model.problem import Place
from pointsman.model.profile import Profile
from pointsman.policy import derive
from pointsman.policy.check import Findings
from pointsman.policy.condition import Condition, Conditions
from pointsman.policy.document import Document, keys_in, names_in
from pointsman.policy.join import conj, disj, negate
from pointsman.policy.locate import locate
from pointsman.policy.node import Fields, Scalar, Sequence
from pointsman.policy.reach import unreachable
from pointsman.policy.schema import Default, RuleSpec
from pointsman.policy.shape import Shape

DEFAULT = "default"


def rules(
    formed: Shape,
    document: Document,
    attributes: tuple[Attribute, ...],
    tables: tuple[derive.Table, ...],
    known: tuple[Destination, ...],
    profiles_: tuple[Profile, ...],
    found: Findings,
) -> tuple[Rule, ...]:
    """Return the rules in order, the default last, and note what is wrong with them."""
    broken = frozenset({*keys_in(document, "attributes"), *keys_in(document, "catalogue")})
    destinations_ = dict.fromkeys([*(one.name for one in known), *names_in(document, "destinations")])
    conditions = Conditions((*attributes, tables[0].attribute), destinations_, broken)
    names = frozenset([*(profile.name for profile in profiles_), *names_in(document, "profiles")])
    substitution = derive.Substitution(tables)
    raw = [destination.name for destination in known if destination.raw_path]
    checked: list[Rule] = []
    written: list[Formula] = []
    placed: list[tuple[str, Place]] = []
    for position, spec in enumerate(formed.policy.rules):
        at = formed.index("rules", position)
        name_place, place = _rule_places(document, at)
        placed.append((spec.name, name_place))
        if spec.name == DEFAULT:
            found.add(name_place, "reserved-name", "`default` is the name of the last rule", "choose another name")
        _check_outcome(spec, place, ("rules", at, "profile"), names, document, found)
        condition = _condition(spec, at, conditions, document, found)
        when = substitution.apply(condition.formula)
        if raw:
            _check_raw_path(spec, when, raw, document.find("rules", at, "when"), found)
        written.append(condition.formula if condition.usable else Atom(spec.name, Equals(at)))
        checked.append(Rule(spec.name, when, spec.profile, _source(spec), place))
    found.duplicates("rule", placed)
    _check_reach(written, checked, formed, document, found)
    last: Default = formed.policy.default
    place = document.find("default")
    if "default" in document.root.entries:
        _check_outcome(last, place, ("default", "profile"), names, document, found)
    elif last.profile is None:
        place = document.place(document.root.mark)
    return *checked, Rule(DEFAULT, TRUE, last.profile, "true", place)


def _condition(spec: RuleSpec, at: int, conditions: Conditions, document: Document, found: Findings) -> Condition:
    condition = conditions.compile(_source(spec))
    if condition.troubles:
        scalar = document.node("rules", at, "when")
        for trouble in condition.troubles:
            place = (
                locate(document, scalar, trouble.offset)
                if isinstance(scalar, Scalar)
                else document.find("rules", at, "when")
            )
            found.add(place, trouble.label, trouble.what, trouble.hint)
    return condition


def _source(spec: RuleSpec) -> str:
    return spec.when if isinstance(spec.when, str) else str(spec.when).lower()


def _check_outcome(
    spec: RuleSpec | Default,
    place: Place,
    path: tuple[str | int, ...],
    names: frozenset[str],
    document: Document,
    found: Findings,
) -> None:
    if (spec.profile is None) == (spec.deny is None):
        what = (
            "says neither what is allowed nor what is denied"
            if spec.profile is None
            else "both names a profile and denies"
        )
        found.add(place, "outcome", f"the rule {what}", "give it either `profile:` or `deny: true`")
    elif spec.profile is not None and spec.profile not in names:
        found.unknown(document.find(*path), "profile", spec.profile, names)


def _check_reach(written: list[Formula], rules: list[Rule], formed: Shape, document: Document, found: Findings) -> None:
    for one in unreachable(written):
        rule = rules[one.rule]
        place = document.find("rules", formed.index("rules", one.rule), "when")
        if one.by is None:
            found.add(place, "unreachable-rule", f"rule `{rule.name}` never decides: its condition never holds")
            continue
        by = rules[one.by]
        why = "which always holds" if by.when == TRUE else "which holds wherever this one does"
        found.add(
            place,
            "unreachable-rule",
            f"rule `{rule.name}` never decides: `{by.name}` comes first, {why}",
            f"see {by.place}, and move or remove one",
        )


def _check_raw_path(spec: RuleSpec, when: Formula, raw: Iterable[str], place: Place, found: Findings) -> None:
    """A path that is left as the client wrote it has many spellings: no rule may depend on one of them."""
    if not _asks(spec, when):
        return
    for name in raw:
        if _mentions_path(_at(when, name)):
            what = f"rule `{spec.name}` asks for the path, and paths of destination `{name}` are raw"
            found.add(place, "raw-path", what, f'add `destination.name != "{name}"`')
            return


def _asks(spec: RuleSpec, when: Formula) -> bool:
    return isinstance(spec.when, str) and _mentions_path(when)


def _mentions_path(formula: Formula) -> bool:
    match formula:
        case Atom(name, test):
            # the name of a gRPC method is compared byte by byte, whatever way the path is written
            return name == "request.path" and test not in derive.GRPC_TESTS
        case Not(part):
            return _mentions_path(part)
        case And(parts) | Or(parts):
            return any(_mentions_path(part) for part in parts)
    return False


def _at(formula: Formula, destination: str) -> Formula:
    """Return what is left of a formula for requests to one destination."""
    match formula:
        case Atom("destination.name", Equals(value)):
            return Const(value == destination)
        case Not(part):
            return negate(_at(part, destination))
        case And(parts):
            return conj([_at(part, destination) for part in parts])
        case Or(parts):
            return disj([_at(part, destination) for part in parts])
    return formula


def _rule_places(document: Document, at: int) -> tuple[Place, Place]:
    """Return where a rule's name stands, and where the rule begins."""
    rules = document.root.entries["rules"]
    rule = rules.items[at] if isinstance(rules, Sequence) else rules
    name = rule.entries["name"] if isinstance(rule, Fields) else rule
    return document.place(name.mark), document.place(rule.mark)
