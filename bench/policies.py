"""Policies of a named shape and size, as text, and requests that meet their rules.

The shapes differ in what a compiler can make of them:

exact        every rule asks for a team and a path by equality; twenty rules for each team
interleaved  rules ask for a team or for a path, in turn: a tree without lists would multiply them
regex-heavy  every rule asks for a team by equality and for the path by a regular expression of its own
regex-only   every rule asks by a regular expression and nothing else: no table can hold that
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pointsman.model.context import Request
from pointsman.model.fault import Fault

SHAPES = ("exact", "interleaved", "regex-heavy", "regex-only")
PER_TEAM = 20
_STRIDE = 7919  # a prime: no size is a multiple of it
ADDRESS = "192.0.2.1"
HOST = "origin.example"
TEAM = "x-team"
PROFILE = "plain"


@dataclass(frozen=True, slots=True)
class Key:
    """The team and the path of a request."""

    team: str
    path: str


def policy_text(
    shape: str, rules: int, denied: Sequence[str] = (), destination: str = HOST, address: str = ADDRESS
) -> bytes:
    """Return a policy with this many rules. `denied` are paths that rules before all others deny."""
    lines = [
        "apiVersion: pointsman/v1",
        "kind: Policy",
        f"metadata: {{name: {shape}-{rules}}}",
        "attributes:",
        f"  client.team: {{type: string, header: {TEAM}, trust: declared, absent: none}}",
        f"destinations: [{{name: origin, hosts: [{destination}], addresses: [{address}]}}]",
        f"profiles: [{{name: {PROFILE}, encryption: none, select: {{labels: {{purpose: {PROFILE}}}}}}}]",
        "rules:",
    ]
    for place, path in enumerate(denied):
        lines += [f"  - name: denied-{place}", f'    when: request.path == "{path}"', "    deny: true"]
    for number in range(rules):
        lines += [f"  - name: rule-{number}", f"    when: {condition(shape, number)}", f"    profile: {PROFILE}"]
    lines += [f"default: {{profile: {PROFILE}}}"]
    return "\n".join(lines).encode()


def condition(shape: str, number: int) -> str:
    """Return the condition of a rule."""
    team, place = divmod(number, PER_TEAM)
    match shape:
        case "exact":
            return f'client.team == "team-{team}" && request.path == "/items/{place}"'
        case "interleaved":
            return f'request.path == "/items/{number}"' if number % 2 else f'client.team == "team-{number}"'
        case "regex-heavy":
            return f'client.team == "team-{team}" && request.path.matches("^/items/[0-9]+/{number}(/|$)")'
        case "regex-only":
            return f'request.path.matches("^/items/[0-9]+/{number}(/|$)")'
    raise ValueError(f"`{shape}` is no shape; known are {', '.join(SHAPES)}")


def keys(shape: str, rules: int, most: int = 1000) -> tuple[Key, ...]:
    """Return requests that meet rules spread over the whole policy, each another one."""
    return tuple(_key(shape, place * _STRIDE % rules) for place in range(min(rules, most)))


def _key(shape: str, number: int) -> Key:
    team, place = divmod(number, PER_TEAM)
    match shape:
        case "exact":
            return Key(f"team-{team}", f"/items/{place}")
        case "interleaved":
            return Key("nobody", f"/items/{number}") if number % 2 else Key(f"team-{number}", "/elsewhere")
        case "regex-heavy":
            return Key(f"team-{team}", f"/items/7/{number}")
    return Key("nobody", f"/items/7/{number}")


def request(key: Key) -> Request:
    """Return the request as the interception sees it."""
    return Request("http", "GET", HOST, key.path, ((TEAM, key.team),), ADDRESS, 80, 1000)


def no_files(path: str) -> bytes:
    """Read no file: these policies name none."""
    raise Fault("unreadable", f"read `{path}`", "these policies name no files")
