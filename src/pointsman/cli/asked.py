"""A request to be explained: from flags, a curl line or a HAR file, to what the interception would see of it."""

import ipaddress
import json
import re
import shlex
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pointsman.cli.files import read_bytes
from pointsman.model.context import Request
from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.node import shown

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Of the discard-only prefix (RFC 6666): nothing has these addresses.
_STAND_IN = "100::"
# Options of curl: what they say of the request, or nothing. Short ones may be joined, and have their value attached.
_SAYS = {
    **dict.fromkeys(("X", "request"), "method"),
    **dict.fromkeys(("H", "header"), "header"),
    **dict.fromkeys(("d", "data", "data-raw", "data-binary", "data-ascii", "data-urlencode", "F", "form"), "data"),
    **dict.fromkeys(("form-string", "json"), "data"),
    **dict.fromkeys(("T", "upload-file"), "upload"),
    "url": "url",
    "resolve": "resolve",
}
_FLAGS = {**dict.fromkeys(("I", "head"), "head"), **dict.fromkeys(("G", "get"), "get")}
_SWITCHES = {
    *"sSkLvfiNOJqgjan0123456#Z",
    *("silent", "show-error", "insecure", "location", "verbose", "fail", "include", "no-buffer", "remote-name"),
    *("remote-header-name", "disable", "globoff", "compressed", "http1.0", "http1.1", "http2", "http2-prior-knowledge"),
    *("http3", "http0.9", "ipv4", "ipv6", "tlsv1", "tlsv1.2", "tlsv1.3", "progress-bar", "no-progress-meter", "netrc"),
    *("basic", "digest", "ntlm", "anyauth", "fail-with-body", "path-as-is", "raw", "tcp-nodelay", "no-keepalive"),
    *(
        "create-dirs",
        "location-trusted",
        "parallel",
        "no-alpn",
        "junk-session-cookies",
        "ssl-no-revoke",
        "styled-output",
    ),
}
_SILENT = {
    *("o", "output", "u", "user", "A", "user-agent", "m", "max-time", "connect-timeout", "b", "cookie", "x", "proxy"),
    *("e", "referer", "w", "write-out", "c", "cookie-jar", "D", "dump-header", "E", "cert", "key", "cacert", "capath"),
    *("K", "config", "r", "range", "y", "Y", "z", "retry", "limit-rate", "max-redirs", "interface", "unix-socket"),
    *("connect-to", "oauth2-bearer", "dns-servers", "local-port", "ciphers", "stderr", "trace", "trace-ascii"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person said of a request. `address` is empty where the URL has to tell."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    address: str = ""
    uid: int | None = None
    grpc: bool = False


def from_curl(line: str, uid: int | None) -> Asked:
    """Return the request that a curl line would send."""
    said: dict[str, list[str]] = {}
    for what, value in _options(line):
        said.setdefault(what, []).append(value)
    urls = said.get("url", [])
    if len(urls) != 1:
        what = f"the curl line has {len(urls)} URLs" if urls else "the curl line has no URL"
        raise Invalid([Problem(Place("--curl"), "no-url", what, "give one; each is a request of its own")])
    usual = "PUT" if "upload" in said else "POST" if "data" in said and "get" not in said else "GET"
    method = said.get("method", ["HEAD" if "head" in said else usual])[-1]
    resolved = said.get("resolve", [""])[-1].split(":", 2)[-1].partition(",")[0].strip("[]")
    return Asked(method, said["url"][-1], headers_of(map(_empty, said.get("header", ()))), resolved, uid)


def _options(line: str) -> Iterator[tuple[str, str]]:
    """Yield what the words of a curl line say, with its value."""
    try:
        split = shlex.split(line.replace("\\\n", " "))
    except ValueError as error:
        raise Invalid([Problem(Place("--curl"), "no-curl", f"is no curl line: {str(error).lower()}")]) from error
    if split and not set(split[0]) & set("./:-") and split[0] != "curl":
        raise Invalid([Problem(Place("--curl"), "no-curl", f"`{split[0]}` is not curl", "write it as curl has it")])
    words = iter(split[1:] if split[:1] == ["curl"] else split)
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            if name in _SAYS:
                yield _SAYS[name], next(words, "")
            elif name in _FLAGS:
                yield _FLAGS[name], ""
            elif name in _SILENT:
                next(words, "")
            elif name not in _SWITCHES and name.removeprefix("no-") not in _SWITCHES:
                raise _unknown(word)
        elif word.startswith("-"):
            for place, letter in enumerate(word[1:], 2):
                if letter in _FLAGS:
                    yield _FLAGS[letter], ""
                elif letter in _SAYS or letter in _SILENT:
                    value = word[place:] or next(words, "")
                    if letter in _SAYS:
                        yield _SAYS[letter], value
                    break
                elif letter not in _SWITCHES:
                    raise _unknown(f"-{letter}")
        else:
            yield "url", word


def _unknown(option: str) -> Invalid:
    hint = "leave it out where it does not change the request"
    return Invalid([Problem(Place("--curl"), "unknown-option", f"curl's option `{option}` is not known here", hint)])


def _empty(header: str) -> str:
    """Return a header as it is sent: curl writes one without value as `name;`."""
    return f"{header[:-1]}:" if header.endswith(";") and ":" not in header else header


def from_har(file: Path, number: int, uid: int | None) -> Asked:
    """Return one request of a HAR file, counted from 1."""
    try:
        entries = json.loads(read_bytes(file))["log"]["entries"]
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
    parts, port = _parts(asked.url)
    plain = parts.scheme == "tcp"
    address, assumed = asked.address, []
    found = [*_misfit(asked), *_no_address(address)]
    if found:
        raise Invalid(found)
    if not address:
        address, why = _address(parts.hostname or "", policy)
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


def _parts(url: str) -> tuple[SplitResult, int]:
    """Return the parts of a URL, and the port that a connection for it goes to."""
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        port = parts.port or {"https": 443, "tcp": 0}.get(parts.scheme, 80)
        if parts.scheme not in ("http", "https", "tcp"):
            hint = "known are `http`, `https` and `tcp`"
            raise Invalid([Problem(Place("URL"), "no-url", f"`{parts.scheme}` is no scheme that travels", hint)])
        if not port or parts.port == 0:
            raise Invalid([Problem(Place("URL"), "no-port", f"`{url}` names no port", "write `tcp://HOST:PORT`")])
    except ValueError as error:
        raise Invalid([Problem(Place("URL"), "no-url", f"`{url}` is no URL: {str(error).lower()}")]) from error
    if not parts.hostname:
        raise Invalid([Problem(Place("URL"), "no-host", f"`{url}` names no host")])
    return parts, port


def _misfit(asked: Asked) -> Iterator[Problem]:
    if not _TOKEN.fullmatch(asked.method):
        yield Problem(Place("method"), "no-method", f"`{shown(asked.method)}` is no method", "write it like `GET`")


def _no_address(address: str) -> Iterator[Problem]:
    try:
        ipaddress.ip_address(address or "192.0.2.1")
    except ValueError:
        yield Problem(Place("address"), "no-address", f"`{shown(address)}` is no address", "write it like `192.0.2.1`")


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


def headers_of(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return headers given as `name: value`."""
    given = tuple(lines)
    wrong = [line for line in given if not _TOKEN.fullmatch(line.partition(":")[0].strip()) or ":" not in line]
    if wrong:
        raise Invalid(
            Problem(Place("header"), "no-header", f"`{shown(line)}` is no header", "write it like `x-name: value`")
            for line in wrong
        )
    return tuple(_header(line) for line in given)


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
