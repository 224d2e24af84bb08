"""Random policies and requests, and the plain reading of both: rules in order, absent facts tried with all values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations, product
from random import Random

from pointsman.model.attribute import BUILTINS, AbsentDeny, AbsentValue, Attribute, Claim, Header, Type, Value
from pointsman.model.context import Absent
from pointsman.model.formula import (
    TRUE,
    And,
    AtLeast,
    Atom,
    Contains,
    Equals,
    Formula,
    Matches,
    Not,
    Or,
    Prefix,
    Substring,
    Suffix,
    Test,
    Within,
)
from pointsman.model.policy import Policy, Rule
from pointsman.model.problem import Place
from pointsman.policy.context import attributes_of, usable
from pointsman.policy.evaluate import satisfied

Facts = Mapping[str, Value | Absent]

DECLARED = (
    Attribute("user.name", Type.STRING, Claim("sub"), AbsentValue("anonymous")),
    Attribute("user.role", Type.STRING, Claim("role"), AbsentDeny(), ("admin", "dev", "ops")),
    Attribute("user.level", Type.INT, Claim("level"), AbsentDeny()),
    Attribute("user.rank", Type.INT, Claim("rank"), AbsentValue(3), (1, 2, 3)),
    Attribute("user.human", Type.BOOL, Claim("human"), AbsentDeny()),
    Attribute("user.groups", Type.STRINGS, Claim("groups"), AbsentDeny()),
    Attribute("user.teams", Type.STRINGS, Claim("teams"), AbsentValue(("all",))),
    Attribute("data.label", Type.STRING, Header("x-label"), AbsentValue("secret"), ("open", "inner")),
    Attribute("app.zones", Type.STRINGS, Header("x-zones"), AbsentDeny()),
    Attribute("app.tag", Type.STRING, Header("x-tag"), AbsentDeny()),
    Attribute("app.peer", Type.IP, Header("x-peer"), AbsentDeny()),
)
EVERY = (*DECLARED, *BUILTINS)
BUILT_IN = tuple(a for a in BUILTINS if a.name not in ("destination.name", "process.uid"))
LISTLIKE = ('["x"]', "WyJ4Il0=", "{}", "e30=", "5")
WORDS = ("a", "ab", "abc", "b", "ba", "anonymous", "a.c", 'q"\\ü/', "\\Qx", "a b", *LISTLIKE)
PATHS = ("/", "/a", "/a/b", "/ab", "/a/b/c.txt", "/b")
HOSTS = ("a.example", "b.a.example", "example", "[2001:db8::1]", "198.51.100.1", "a-b.example")
MEMBERS = ("all", "x", 'y"z', "ü\\", "x,y")
NETWORKS = ("198.51.100.0/24", "198.51.100.0/25", "198.51.100.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1/128")
ADDRESSES = ("198.51.100.7", "198.51.100.200", "203.0.113.1", "2001:db8::1", "2001:db9::1")
PATTERNS = (
    "^a",
    "b$",
    "[bc]+",
    "a.c",
    "\\Qa.c",
    "(?i)AB",
    "^$",
    "/a|/b",
    "\\.txt$",
    "ü",
    "ü.$",
    "^q.{3}/$",
    "^q.{4}/$",
    "[^a]$",
)
NUMBERS = (-7, 0, 1, 2, 3, 10, 443, 2**53 - 1)
METHODS = ("GET", "POST", "DELETE", "PUT")
PROFILES = ("green", "blue", "red")


@dataclass(frozen=True, slots=True)
class Case:
    """A policy, the budget that its diagram gets, and requests."""

    policy: Policy
    budget: int | None
    requests: tuple[Facts, ...]


def case(random: Random, requests: int = 12, also: tuple[Attribute, ...] = ()) -> Case:
    """Make a policy, in which some rules ask about the attributes in `also`, and requests close to its conditions."""
    if random.random() < 0.1:
        return _long(random, requests)
    names = random.sample([a.name for a in (*DECLARED, *BUILT_IN)], random.randint(1, 5))
    attributes = {a.name: a for a in (*DECLARED, *BUILT_IN)}
    policy = Policy("p", "v", DECLARED, (), (), rules(random, [*also, *(attributes[name] for name in names)]), None)
    budget = random.choice((None, None, 1, 12, 40))
    return Case(policy, budget, tuple(_facts(random, policy, names) for _ in range(requests)))


def rules(random: Random, attributes: list[Attribute]) -> tuple[Rule, ...]:
    """Make rules about these attributes."""
    made = [
        Rule(f"r{n}", _formula(random, attributes, 2), _outcome(random), "", Place())
        for n in range(random.randint(1, 14))
    ]
    return (*made, Rule("default", TRUE, _outcome(random), "", Place()))


def _long(random: Random, requests: int) -> Case:
    """Make a policy with so many rules, on attributes by turns, that its diagram is cut into blocks."""
    starts = [f"/s{n}/" for n in range(40)] + [f"/s{n}/deep/" for n in range(10)]
    pools: dict[str, list[Test]] = {
        "user.name": [Equals(f"u{n}") for n in range(40)],
        "user.level": [*(Equals(n) for n in range(20)), *(AtLeast(n) for n in range(5, 15))],
        "app.tag": [*(Equals(f"t{n}") for n in range(30)), Prefix("t1"), Suffix("7"), Matches("t[45]$")],
        "request.path": [Prefix(text) for text in starts],
        "user.groups": [Contains(member) for member in MEMBERS],
    }
    names = random.sample(list(pools), random.randint(2, 4))
    rules = []
    for n in range(random.randint(40, 120)):
        atoms = [Atom(name, random.choice(pools[name])) for name in random.sample(names, random.choice((1, 1, 2)))]
        parts = tuple(atom if random.random() < 0.9 else Not(atom) for atom in atoms)
        narrow: tuple[Formula, ...] = (
            (Atom("user.human", Equals(True)),) if any(isinstance(part, Not) for part in parts) else ()
        )
        rules.append(Rule(f"r{n}", And((*parts, *narrow)), _outcome(random), "", Place()))
    rules.append(Rule("default", TRUE, _outcome(random), "", Place()))
    found: list[Facts] = []
    for _ in range(requests):
        facts: dict[str, Value | Absent] = {
            "request.protocol": "http",
            "request.method": "GET",
            "request.host": "example",
            "request.path": random.choice(starts) + random.choice(("", "x", "deep/y")),
            "destination.address": "198.51.100.7",
            "destination.port": 80,
        }
        if random.random() < 0.8:
            facts["user.name"] = f"u{random.randint(0, 45)}"
        if random.random() < 0.8:
            facts["user.level"] = random.randint(-1, 22)
        if random.random() < 0.8:
            facts["app.tag"] = f"t{random.randint(0, 60)}"
        if random.random() < 0.8:
            facts["user.groups"] = tuple(random.sample(MEMBERS, 2))
        if random.random() < 0.8:
            facts["user.human"] = random.random() < 0.7
        found.append(facts)
    policy = Policy("p", "v", DECLARED, (), (), tuple(rules), None)
    return Case(policy, random.choice((None, 1, 100, 400)), tuple(found))


def plain_reading(policy: Policy, facts: Facts) -> tuple[set[int], bool]:
    """Return the rules that could decide, and whether nothing that they ask about was missing without a stand-in."""
    known: dict[str, Value | Absent] = {}
    tried: dict[str, list[Value]] = {}
    asked = _tests(policy)
    for attribute in attributes_of(policy):
        value = usable(attribute, facts.get(attribute.name, Absent("")))
        if not isinstance(value, Absent):
            known[attribute.name] = value
        elif isinstance(attribute.absent, AbsentValue):
            known[attribute.name] = attribute.absent.value
        elif attribute.name in asked:
            tried[attribute.name] = list(_possible(attribute, asked[attribute.name]))
    found: set[int] = set()
    for chosen in product(*tried.values()):
        filled = {**known, **dict(zip(tried, chosen, strict=True))}
        found.add(next(index for index, rule in enumerate(policy.rules) if satisfied(rule.when, filled)))
    return found, not tried


def certain(policy: Policy) -> bool:
    """Say whether the values that are tried for absent facts show every way that its conditions can come out."""
    return not any(
        isinstance(test, (Matches, Substring, Within)) or (isinstance(test, Equals) and type(test.value) is int)
        for tests in _tests(policy).values()
        for test in tests
    )


def _outcome(random: Random) -> str | None:
    return random.choice((*PROFILES, None))


def _formula(random: Random, attributes: list[Attribute], depth: int) -> Formula:
    kind = random.randint(0, 9) if depth else 0
    if kind < 4:
        attribute = random.choice(attributes)
        return Atom(attribute.name, _test(random, attribute))
    if kind == 4:
        return Not(_formula(random, attributes, depth - 1))
    parts = tuple(_formula(random, attributes, depth - 1) for _ in range(random.randint(2, 3)))
    return And(parts) if kind < 8 else Or(parts)


def _test(random: Random, attribute: Attribute) -> Test:
    match attribute.type:
        case Type.INT:
            value = random.choice(NUMBERS)
            return random.choice((Equals(value), AtLeast(value)))
        case Type.BOOL:
            return Equals(random.random() < 0.5)
        case Type.STRINGS:
            return Contains(random.choice(MEMBERS))
        case Type.IP:
            return random.choice((Equals(random.choice(ADDRESSES)), Within(random.choice(NETWORKS))))
    text = random.choice(_pool(attribute))
    part = text[: random.randint(1, len(text))]
    exact = Equals(text)
    if attribute.name == "request.host":
        return random.choice(
            (exact, exact, Prefix(part), Suffix(text[-random.randint(1, len(text)) :]), Substring(part))
        )
    tests = (
        exact,
        exact,
        exact,
        Prefix(part),
        Prefix(text),
        Suffix(text[-1:]),
        Substring(part),
        Matches(random.choice(PATTERNS)),
    )
    return random.choice(tests)


def _pool(attribute: Attribute) -> tuple[str, ...]:
    if attribute.values is not None:
        return tuple(str(value) for value in attribute.values)
    pools = {"request.path": PATHS, "request.host": HOSTS, "request.method": METHODS}
    return pools.get(attribute.name, WORDS)


def _facts(random: Random, policy: Policy, names: list[str]) -> Facts:
    facts: dict[str, Value | Absent] = {
        "request.protocol": random.choice(("http", "grpc")),
        "request.method": random.choice((*METHODS, "PATCH")),
        "request.path": random.choice((*PATHS, "/zz", "/a/b/d")),
        "request.host": random.choice((*HOSTS, "c.example")),
        "destination.address": random.choice((*ADDRESSES, "198.51.100.8")),
        "destination.port": random.choice((1, 2, 80, 443, 444)),
    }
    for attribute in policy.attributes:
        if attribute.name not in names or random.random() < 0.2:
            facts[attribute.name] = Absent("left out")
        elif attribute.type is Type.INT:
            facts[attribute.name] = random.choice(NUMBERS) + random.choice((0, 0, -1))
        elif attribute.type is Type.BOOL:
            facts[attribute.name] = random.random() < 0.5
        elif attribute.type is Type.STRINGS:
            comma = isinstance(attribute.source, Header)
            members = [member for member in MEMBERS if not comma or "," not in member]
            facts[attribute.name] = tuple(random.sample(members, random.randint(int(comma), 3)))
        elif attribute.type is Type.IP:
            facts[attribute.name] = random.choice(ADDRESSES)
        else:
            extra = () if isinstance(attribute.source, Header) else ("x,y",)
            facts[attribute.name] = random.choice((*_pool(attribute), "zz", "abcabc", "ABC", *extra))
    return facts


def _tests(policy: Policy) -> dict[str, list[Test]]:
    found: dict[str, dict[Test, None]] = {}

    def visit(formula: Formula) -> None:
        match formula:
            case Atom(name, test):
                found.setdefault(name, {})[test] = None
            case Not(part):
                visit(part)
            case And(parts) | Or(parts):
                for part in parts:
                    visit(part)

    for rule in policy.rules:
        visit(rule.when)
    return {name: list(tests) for name, tests in found.items()}


def _possible(attribute: Attribute, tests: list[Test]) -> Iterator[Value]:
    """Yield values that together show the ways in which the tests can come out."""
    if attribute.values is not None:
        yield from attribute.values
        return
    match attribute.type:
        case Type.BOOL:
            yield from (True, False)
        case Type.INT:
            marks = [
                test.value if isinstance(test, Equals) else test.bound
                for test in tests
                if isinstance(test, (Equals, AtLeast))
            ]
            yield from {number + step for number in map(int, marks) for step in (-1, 0, 1)}
        case Type.STRINGS:
            members = [test.member for test in tests if isinstance(test, Contains)]
            yield from chain.from_iterable(combinations(members, n) for n in range(len(members) + 1))
        case Type.IP:
            yield from (*ADDRESSES, "198.51.100.8", "192.0.2.1")
        case _:
            texts = [test.value for test in tests if isinstance(test, Equals)]
            yield from {str(text) for text in texts if text != ""}
            starts = ["", *(test.text for test in tests if isinstance(test, Prefix))]
            ends = ["", *(test.text for test in tests if isinstance(test, Suffix))]
            middles = ["~", *(f"~{test.text}~" for test in tests if isinstance(test, Substring)), "~a.c~", "~abc~"]
            yield from (start + middle + end for start in starts for middle in middles for end in ends)
