"""How does the proxy see an attribute? In which header it is, how values are written there, how tests are asked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import assert_never

import re2

from pointsman.dataplane import headers, patterns
from pointsman.dataplane.envoy import Json, Object, extension, typed
from pointsman.dataplane.ranges import at_least
from pointsman.model.attribute import LARGEST, Attribute, Builtin, Claim, Type, Value
from pointsman.model.formula import (
    AtLeast,
    Contains,
    Equals,
    Matches,
    Prefix,
    Present,
    Substring,
    Suffix,
    Test,
    Within,
)


@dataclass(frozen=True, slots=True)
class Plain:
    """The header's value is the attribute's value as text; numbers are decimal. `values` are the declared ones.

    `always` says that every request has this header with a usable value. `json` is where a claim has lists and
    objects as JSON; in `header` they are Base64, and negative numbers may end in `.000000`.
    """

    header: str
    type: Type = Type.STRING
    values: tuple[Value, ...] | None = None
    always: bool = False
    json: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """The header is an authority: any case, perhaps with a final dot and a port."""

    header: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The header is a list: members between commas, or a JSON array of strings.

    With `text` it is JSON. That header then has the same claim as text, and begins with `[` only if it was no list.
    """

    header: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Coded:
    """The header tells values by patterns; what fits none is `otherwise`. Such an attribute is never absent."""

    header: str
    patterns: tuple[tuple[Value, str], ...]
    otherwise: Value


_FRACTION = r"(?:\.000000)?"

Input = Plain | Host | Listed | Coded
Inputs = Mapping[str, Input]


def inputs_of(attributes: Iterable[Attribute]) -> dict[str, Input]:
    """Return how each attribute is found in a request, by its name."""
    found: dict[str, Input] = {}
    for attribute in attributes:
        header = headers.header_of(attribute)
        if header is None:
            continue
        json = headers.json_header(attribute.source.name) if isinstance(attribute.source, Claim) else ""
        if attribute.name == "request.protocol":
            found[attribute.name] = Coded(header, (("grpc", headers.GRPC),), "http")
        elif attribute.name == "request.host":
            found[attribute.name] = Host(header)
        elif attribute.type is Type.STRINGS:
            found[attribute.name] = Listed(json, header) if json else Listed(header)
        else:
            always = isinstance(attribute.source, Builtin)
            found[attribute.name] = Plain(header, attribute.type, attribute.values, always, json)
    return found


def ask(entry: Input, test: Test) -> Object | bool:
    """Return the predicate for a test, or its outcome where that is known."""
    match entry:
        case Plain():
            found = _ask_plain(entry, test)
            return both([found, _is_text(entry)]) if _doubtful(entry, test) else found
        case Host(header):
            if isinstance(test, Present):
                return True
            pattern = patterns.host(test)
            return pattern is not None and matches(header, pattern)
        case Listed(header, text):
            pattern = _list_pattern(test, json=bool(text))
            listed = pattern is not None and matches(header, pattern)
            return both([listed, negation(value_match(text, prefix="["))]) if text else listed
        case Coded(header, codes, otherwise):
            if isinstance(test, Equals):
                known = dict(codes)
                if test.value in known:
                    return matches(header, known[test.value])
                return test.value == otherwise and negation(either([matches(header, one) for one in known.values()]))
            return isinstance(test, Present)
        case _:
            assert_never(entry)


def exact(entry: Input, value: Value) -> str | None:
    """Return the only text of a value, where a look-up in a table can find it; empty if no request has it."""
    if not isinstance(entry, Plain) or _doubtful(entry, Equals(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return "" if abs(value) > LARGEST else None if entry.json and value < 0 else str(value)
    return str(value)


def any_of(entry: Input, values: Iterable[Value]) -> Object | bool:
    """Return the predicate that the attribute is one of these values."""
    found = [(value, exact(entry, value)) for value in values]
    asked = [ask(entry, Equals(value)) for value, text in found if text is None]
    texts = sorted(text for _, text in found if text)
    if len(texts) == 1:
        asked.append(value_match(entry.header, exact=texts[0]))
    elif texts:
        asked.append(matches(entry.header, "|".join(re2.escape(text) for text in texts)))
    return either(asked)


def matches(header: str, pattern: str) -> Object:
    """Hold where the whole value fits a pattern."""
    return value_match(header, safe_regex={"google_re2": {}, "regex": pattern})


def value_match(header: str, **match: Json) -> Object:
    """Hold where a header's value matches."""
    return {"single_predicate": {"input": header_input(header), "value_match": match}}


def header_input(header: str) -> Object:
    """Return the input that reads a header."""
    return extension("header", typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header))


def negation(part: Object | bool) -> Object | bool:
    """Return where a predicate does not hold."""
    if isinstance(part, bool):
        return not part
    inner = part.get("not_matcher")
    return inner if isinstance(inner, dict) else {"not_matcher": part}


def both(parts: Iterable[Object | bool]) -> Object | bool:
    """Return where all predicates hold."""
    return _joined("and_matcher", list(parts), neutral=True)


def either(parts: Iterable[Object | bool]) -> Object | bool:
    """Return where one of the predicates holds."""
    return _joined("or_matcher", list(parts), neutral=False)


def _joined(kind: str, parts: list[Object | bool], neutral: bool) -> Object | bool:
    if any(isinstance(part, bool) and part is not neutral for part in parts):
        return not neutral
    kept: list[Json] = [part for part in parts if not isinstance(part, bool)]
    if not kept:
        return neutral
    only = kept[0]
    return only if len(kept) == 1 and isinstance(only, dict) else {kind: {"predicate": kept}}


def _ask_plain(entry: Plain, test: Test) -> Object | bool:
    header = entry.header
    match test:
        case Equals(int(value)) if value < 0 and exact(entry, value) is None:
            return matches(header, f"{value}{_FRACTION}")
        case Equals(value):
            text = str(value) if entry.type is Type.STRING else exact(entry, value)
            return bool(text) and value_match(header, exact=text)
        case Prefix(text):
            return value_match(header, prefix=text)
        case Suffix(text):
            return value_match(header, suffix=text)
        case Substring(text):
            return value_match(header, contains=text)
        case Matches(pattern):
            return matches(header, f"(?s:.*){patterns.group(pattern)}(?s:.*)")
        case AtLeast(bound):
            numbers = at_least(bound, _FRACTION if entry.json else "")
            return numbers is not None and matches(header, numbers)
        case Within(network):
            return _within(header, [network])
        case Present():
            return _present(entry)
    return False


def _present(entry: Plain) -> Object | bool:
    if entry.always:
        return True
    values = (True, False) if entry.type is Type.BOOL else entry.values
    if values is not None:
        return any_of(entry, values)
    if entry.type is Type.IP:
        return _within(entry.header, ["0.0.0.0/0", "::/0"])
    if entry.type is Type.INT:
        return _ask_plain(entry, AtLeast(-LARGEST))
    return matches(entry.header, "(?s:.+)")


def _doubtful(entry: Plain, test: Test) -> bool:
    """Say whether a list or object in Base64, whose first byte is `[` or `{`, could pass for the text asked for."""
    if not entry.json or entry.type is not Type.STRING:
        return False
    match test:
        case Equals(str(text)) | Prefix(text):
            return text[:1] in "We" and text[1:2] in "wxyz0123456789+/"
    return not (isinstance(test, Present) and entry.values is not None)


def _is_text(entry: Plain) -> Object | bool:
    opened = r"[\[{](?s:.*)"
    return either([negation(matches(entry.json, opened)), matches(entry.header, opened)])


def _list_pattern(test: Test, json: bool) -> str | None:
    match test:
        case Contains(member):
            return patterns.json_member(member) if json else patterns.comma_member(member)
        case Present():
            return patterns.JSON_LIST if json else patterns.COMMA_LIST
    return None


def _within(header: str, networks: Iterable[str]) -> Object:
    ranges: list[Json] = []
    for text in networks:
        network = ip_network(text)
        ranges.append({"address_prefix": str(network.network_address), "prefix_len": network.prefixlen})
    matcher = typed("envoy.extensions.matching.input_matchers.ip.v3.Ip", cidr_ranges=ranges, stat_prefix="address")
    custom = extension("envoy.matching.matchers.ip", matcher)
    return {"single_predicate": {"input": header_input(header), "custom_match": custom}}
