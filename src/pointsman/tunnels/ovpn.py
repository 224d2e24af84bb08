"""Reads the .ovpn file that a user already has, by an allow-list of directives (openvpn(8), 2.6).

What is followed is checked and kept as a value; the daemon's configuration is made from that value alone.
What would change routes, names or addresses of the host is left out with a note. What would run a program,
open a port, read a file at run time or weaken the tunnel is refused.
"""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.tunnel import Endpoint
from pointsman.tunnels.ovpn_rules import BLOCKS, IGNORED, KNOWN, REFUSED, Setting, clean_block, endpoint, suggestion
from pointsman.tunnels.ovpn_words import Directive, read_directives
from pointsman.tunnels.port import OpenvpnSpec

Read = Callable[[str], str]

DEFAULT_MTU = 1400
_LONGEST_BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Ovpn:
    """A file as read: what we follow, and notes on what we leave out."""

    spec: OpenvpnSpec
    notes: tuple[Problem, ...]


def parse_ovpn(text: str, file: str, read: Read) -> Ovpn:
    """Return what an .ovpn file says; raise `Invalid` with everything that is wrong with it.

    `read` returns the text of a file that a directive names (a key, a certificate), or raises `Fault`.
    """
    problems: list[Problem] = []
    notes: list[Problem] = []
    settings: dict[str, tuple[str, ...]] = {}
    blocks: dict[str, str] = {}
    remotes: list[Directive] = []
    for directive in read_directives(text, file, problems):
        name = directive.name
        if name == "remote":
            remotes.append(directive)
        elif name in BLOCKS:
            _take_block(directive, file, read, settings, blocks, problems)
        elif name in KNOWN:
            _take_setting(directive, KNOWN[name], settings, problems)
        elif name in IGNORED:
            notes.append(Problem(directive.place, "ovpn-ignored", f"`{name}` has no effect here", IGNORED[name]))
        else:
            hint = REFUSED.get(name) or suggestion(name)
            problems.append(Problem(directive.place, "ovpn-unsupported", f"`{name}` is not supported", hint))
    whole = Place(file)
    endpoints = _remotes(remotes, settings, whole, problems)
    _complete(settings, blocks, whole, problems)
    if problems:
        raise Invalid(problems)
    mtu = int(settings["tun-mtu"][0]) if "tun-mtu" in settings else DEFAULT_MTU
    kept = tuple((name, *words) for name, words in sorted(settings.items()) if name not in ("proto", "port"))
    return Ovpn(OpenvpnSpec(endpoints, kept, tuple(sorted(blocks.items())), mtu), tuple(notes))


def _take_setting(
    directive: Directive, rule: Setting, settings: dict[str, tuple[str, ...]], problems: list[Problem]
) -> None:
    place, name = directive.place, rule.name or directive.name
    if directive.block is not None:
        problems.append(Problem(place, "ovpn-syntax", f"`{directive.name}` cannot be an inline block"))
        return
    if name in settings:
        problems.append(Problem(place, "ovpn-duplicate", f"`{directive.name}` stands twice", "keep one of them"))
        return
    what = rule.objection(directive.words)
    if what:
        problems.append(Problem(place, "ovpn-value", f"`{directive.name}`: {what}", rule.hint))
        return
    settings[name] = rule.kept(directive.words)


def _take_block(
    directive: Directive,
    file: str,
    read: Read,
    settings: dict[str, tuple[str, ...]],
    blocks: dict[str, str],
    problems: list[Problem],
) -> None:
    place, name, words = directive.place, directive.name, directive.words
    if name in blocks:
        problems.append(Problem(place, "ovpn-duplicate", f"`{name}` stands twice", "keep one of them"))
        return
    body = directive.block
    if body is None and not words:
        hint = "name a file with two lines, user and password" if name == "auth-user-pass" else "name a file"
        problems.append(Problem(place, "ovpn-value", f"`{name}` without a file would ask at a terminal", hint))
        return
    if body is None and name == "peer-fingerprint":
        body = words[0] + "\n"
    elif body is None:
        try:
            body = read(posixpath.join(posixpath.dirname(file), words[0]))
        except Fault as fault:
            problems.append(Problem(place, "ovpn-file", f"`{name}`: {fault}"))
            return
    if len(words) > 1 and (name != "tls-auth" or words[1] not in ("0", "1")):
        problems.append(Problem(place, "ovpn-value", f"`{name}` takes one file"))
        return
    if len(words) > 1:
        settings.setdefault("key-direction", (words[1],))
    cleaned = clean_block(name, body) if len(body) <= _LONGEST_BLOCK else ("is too long", "")
    if isinstance(cleaned, tuple):
        problems.append(Problem(place, "ovpn-block", f"`{name}` {cleaned[0]}", cleaned[1]))
        return
    blocks[name] = cleaned


def _remotes(
    directives: list[Directive], settings: dict[str, tuple[str, ...]], whole: Place, problems: list[Problem]
) -> tuple[Endpoint, ...]:
    if not directives:
        problems.append(
            Problem(whole, "ovpn-missing", "`remote` is missing", "for example `remote 203.0.113.5 1194 udp`")
        )
    port = settings.get("port", ("1194",))[0]
    protocol = settings.get("proto", ("udp",))[0]
    found: list[Endpoint] = []
    for directive in directives:
        where = endpoint(directive.words, port, protocol)
        if isinstance(where, Endpoint):
            found.append(where)
        else:
            problems.append(Problem(directive.place, "ovpn-remote", *where))
    return tuple(found)


def _complete(
    settings: dict[str, tuple[str, ...]], blocks: dict[str, str], whole: Place, problems: list[Problem]
) -> None:
    if "client" not in settings:
        hint = "only clients that are told their address by the gateway are supported"
        problems.append(Problem(whole, "ovpn-missing", "`client` is missing", hint))
    if "ca" not in blocks and "peer-fingerprint" not in blocks:
        hint = "without `ca` or `peer-fingerprint` nobody knows who the gateway is"
        problems.append(Problem(whole, "ovpn-missing", "`ca` and `peer-fingerprint` are missing", hint))
    if ("cert" in blocks) != ("key" in blocks):
        problems.append(Problem(whole, "ovpn-missing", "`cert` and `key` go together, one is missing"))
    if "cert" not in blocks and "auth-user-pass" not in blocks:
        hint = "the gateway must know who this host is"
        problems.append(Problem(whole, "ovpn-missing", "neither `cert` and `key` nor `auth-user-pass`", hint))
