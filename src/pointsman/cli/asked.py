"""A request to be explained: from flags, a curl line or a HAR file, to what the interception would see of it."""

import json
import shlex
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from pointsman.model.context import Request
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid, Place, Problem

# Of the discard-only prefix (RFC 6666): nothing has these addresses.
_STAND_IN = "100::"
_WITH_VALUE = {
    "-o",
    "--output",
    "-u",
    "--user",
    "-A",
    "--user-agent",
    "-m",
    "--max-time",
    "--connect-timeout",
    "-b",
    "--cookie",
    "-x",
    "--proxy",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person said of a request. `address` and `port` are empty where the URL has to tell."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    address: str = ""
    uid: int | None = None
    grpc: bool = False


def from_curl(line: str, uid: int | None) -> Asked:
    """Return the request that a curl line would send."""
    method, url, headers, resolve = "", "", [], ""
    data = False
    words = iter(shlex.split(line.replace("\\\n", " ")))
    for word in words:
        if word in ("-X", "--request"):
            method = next(words, "")
        elif word in ("-H", "--header"):
            headers.append(_header(next(words, "")))
        elif word.startswith(("-d", "--data", "-F", "--form", "-T", "--upload-file")):
            data = True
            if "=" not in word or not word.startswith("--"):
                next(words, "")
        elif word in ("-I", "--head"):
            method = "HEAD"
        elif word == "--resolve":
            resolve = next(words, "").rpartition(":")[2]
        elif word in _WITH_VALUE:
            next(words, "")
        elif not word.startswith("-") and word != "curl":
            url = word
    if not url:
        raise Invalid([Problem(Place("--curl"), "no-url", "the curl line has no URL")])
    return Asked(method or ("POST" if data else "GET"), url, tuple(headers), resolve, uid)


def from_har(file: Path, number: int, uid: int | None) -> Asked:
    """Return one request of a HAR file, counted from 1."""
    try:
        entries = json.loads(file.read_bytes())["log"]["entries"]
        entry = entries[number - 1]
        headers = tuple(
            (h["name"].lower(), h["value"]) for h in entry["request"]["headers"] if not h["name"].startswith(":")
        )
        return Asked(
            entry["request"]["method"], entry["request"]["url"], headers, entry.get("serverIPAddress", ""), uid
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Invalid([Problem(Place(str(file)), "no-har", f"is no HAR file with an entry {number}")]) from error


def as_request(asked: Asked, policy: Policy) -> tuple[Request, tuple[str, ...]]:
    """Return what the interception would see, and what had to be assumed for that."""
    parts = urlsplit(asked.url if "//" in asked.url else f"http://{asked.url}")
    if not parts.hostname:
        raise Invalid([Problem(Place("URL"), "no-host", f"`{asked.url}` names no host")])
    port = parts.port or {"https": 443, "tcp": 0}.get(parts.scheme, 80)
    plain = parts.scheme == "tcp"
    address, assumed = asked.address, []
    if not address:
        address, why = _address(parts.hostname, policy)
        assumed.append(why)
    host = next((value for name, value in asked.headers if name == "host"), parts.netloc.rpartition("@")[2])
    request = Request(
        protocol="tcp" if plain else "grpc" if asked.grpc else "http",
        method="" if plain else asked.method,
        host="" if plain else host,
        path="" if plain else (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=() if plain else tuple(h for h in asked.headers if h[0] != "host"),
        address=address,
        port=port,
        uid=asked.uid,
    )
    if parts.scheme == "https":
        assumed.append("the content of HTTPS cannot be seen: decided as plain TCP")
        request = replace(request, protocol="tcp", method="", host="", path="", headers=())
    return request, tuple(text for text in assumed if text)


def with_stand_ins(policy: Policy, known: Container[str] = ()) -> Policy:
    """Return the policy with an address of its own for each destination that only DNS can tell and nobody asked about.

    A request that names no address is then taken to go there, and one that names an address gets 421. `known` are the
    hosts that somebody did ask about.
    """
    return replace(
        policy,
        destinations=tuple(
            replace(one, addresses=(*one.addresses, f"{_STAND_IN}{number:x}/128"))
            if one.resolved and not any(host in known for host in one.hosts)
            else one
            for number, one in enumerate(policy.destinations, 1)
        ),
    )


def headers_of(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return headers given as `name: value`."""
    return tuple(_header(line) for line in lines)


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _address(host: str, policy: Policy) -> tuple[str, str]:
    """Return the address that a name is taken to have; the policy's own is the best guess."""
    if host.replace(".", "").isdigit() or ":" in host:
        return host, ""
    for destination in policy.destinations:
        fits = host in destination.hosts or any(h.startswith("*.") and host.endswith(h[1:]) for h in destination.hosts)
        if fits and destination.addresses:
            address = destination.addresses[-1 if destination.resolved else 0].partition("/")[0]
            if address.startswith(_STAND_IN):
                return address, f"`{host}` is taken to be where DNS says; {address} stands for that"
            return address, f"`{host}` is taken to be {address}, as the policy says; give another with --address"
    return "192.0.2.1", f"`{host}` is taken to be somewhere that the policy does not name; give it with --address"
