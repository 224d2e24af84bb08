"""Can this value ever be the attribute's? A comparison that never holds is a mistake, and is reported as one."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

import re2

from pointsman.model.attribute import LARGEST, AbsentValue, Attribute, Claim, Header, Type
from pointsman.model.formula import AtLeast, Equals, Matches, Prefix, Substring, Suffix, Test, Within
from pointsman.model.problem import did_you_mean
from pointsman.policy.pattern import counts_bytes

MAX_PATTERN = 1000
_HOST_TEXT = re.compile(r"[a-z0-9._\-\[\]:]*")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a test makes no sense for its attribute, and what to write."""

    label: str
    what: str
    hint: str = ""


def doubt(attribute: Attribute, test: Test, destinations: Mapping[str, object]) -> Doubt | None:
    """Return what is wrong with this test on this attribute, if something is."""
    match test:
        case Matches(pattern):
            return _pattern(pattern) or _counted(attribute, pattern)
        case Within(network):
            return network_doubt(network)
        case AtLeast(number) | Equals(int(number)) if abs(number) > LARGEST:
            return Doubt("never-holds", f"`{attribute.name}` is never {number}", f"numbers go to {LARGEST}, either way")
        case AtLeast():
            return None
        case Equals(str(value)):
            return _value(attribute, value, destinations)
        case Equals(value):
            return _member(attribute, value)
        case Prefix(text) | Suffix(text) | Substring(text):
            return _part(attribute, text, isinstance(test, Prefix))
    return None


def _value(attribute: Attribute, value: str, destinations: Mapping[str, object]) -> Doubt | None:
    name = attribute.name
    if attribute.absent == AbsentValue(value) and name != "destination.name":
        return None
    if attribute.values is not None:
        return _member(attribute, value)
    if name == "destination.name":
        if value in destinations or not value:
            return None
        return Doubt("unknown-destination", f"there is no destination `{value}`", did_you_mean(value, destinations))
    if attribute.type is Type.IP:
        return address_doubt(value)
    if not value:
        return Doubt(
            "never-holds",
            f"`{name}` is never the empty text: empty counts as absent",
            "compare with the value that `absent:` gives it",
        )
    if name == "request.path" and not value.startswith("/") and value != "*":
        return Doubt("never-holds", f"a path never equals `{value}`", "a path begins with `/`")
    return _edges(attribute, value) or _part(attribute, value, name == "request.path")


def _member(attribute: Attribute, value: object) -> Doubt | None:
    if attribute.values is None or value in attribute.values or attribute.absent == AbsentValue(value):  # type: ignore[arg-type]
        return None
    known = [str(one) for one in attribute.values]
    return Doubt("never-holds", f"`{attribute.name}` never has the value `{value}`", did_you_mean(str(value), known))


def _part(attribute: Attribute, text: str, at_start: bool) -> Doubt | None:
    name = attribute.name
    if _CONTROL.search(text):
        return Doubt("never-holds", f"`{name}` never holds a control character")
    if name == "request.host" and not _HOST_TEXT.fullmatch(text):
        return Doubt(
            "never-holds", f"`request.host` never holds `{text}`", "a host is in lower case, without port and final dot"
        )
    if name == "request.method" and text != text.upper():
        return Doubt(
            "never-holds", f"`request.method` never holds `{text}`", f"methods are in upper case: `{text.upper()}`"
        )
    if name == "request.path":
        return _path(text, at_start)
    if isinstance(attribute.source, (Claim, Header)) and "," in text:
        return Doubt(
            "never-holds", f"`{name}` never holds a comma", "a request with a comma in a context value is refused"
        )
    return None


def _path(text: str, at_start: bool) -> Doubt | None:
    if "?" in text or "#" in text:
        return Doubt("never-holds", f"`request.path` never holds `{text}`", "it is the path without the query")
    if "//" in text or "/./" in text or "/../" in text or "\\" in text or re.search(r"%(2[fFeE]|5[cC])", text):
        return Doubt("never-holds", f"`request.path` never holds `{text}`", "it is the normalised path")
    if at_start and text != "*" and not text.startswith("/"):
        return Doubt("never-holds", f"a path never begins with `{text}`", "a path begins with `/`")
    return None


def _edges(attribute: Attribute, value: str) -> Doubt | None:
    if isinstance(attribute.source, (Claim, Header)) and value != value.strip(" \t"):
        return Doubt("never-holds", f"`{attribute.name}` never begins or ends with a space", "its edges are trimmed")
    return None


def _pattern(pattern: str) -> Doubt | None:
    if len(pattern) > MAX_PATTERN:
        return Doubt("pattern", f"the pattern has {len(pattern):,} characters, more than {MAX_PATTERN:,}")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options=options)
    except re2.error as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        return Doubt(
            "pattern", f"`{pattern}` is not an RE2 pattern: {why}", "the syntax is at github.com/google/re2/wiki/Syntax"
        )
    return None


def _counted(attribute: Attribute, pattern: str) -> Doubt | None:
    if not isinstance(attribute.source, (Claim, Header)):
        return None
    part = counts_bytes(pattern)
    hint = "write `.*`, an end like the `@` in `.+@`, or a class of ASCII such as `[a-z0-9]`"
    what = f"`{part}` counts bytes: outside ASCII a letter of `{attribute.name}` is several"
    return Doubt("pattern", what, hint) if part else None


def network_doubt(text: str) -> Doubt | None:
    """Return what is wrong with a network as written, if something is."""
    try:
        canonical = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return Doubt("network", f"`{text}` is not a network", "write it like `198.51.100.0/24` or `2001:db8::/32`")
    return None if canonical == text else Doubt("network", f"`{text}` is not in canonical form", f"write `{canonical}`")


def address_doubt(text: str) -> Doubt | None:
    """Return what is wrong with an address as written, if something is."""
    try:
        canonical = str(ipaddress.ip_address(text))
    except ValueError:
        return Doubt(
            "address",
            f"`{text}` is not an address",
            'write it like `198.51.100.7`; for networks there is `.within("…")`',
        )
    return None if canonical == text else Doubt("address", f"`{text}` is not in canonical form", f"write `{canonical}`")
