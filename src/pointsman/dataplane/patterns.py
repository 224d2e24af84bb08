"""Tests that the proxy can ask only as regular expressions (RE2) over a whole header value."""

import re2

from pointsman.model.formula import Equals, Matches, Prefix, Substring, Suffix, Test

_STRING = r'"(?:[^"\\]|\\.)*"'
JSON_LIST = rf"(?s:\[(?:{_STRING}(?:,{_STRING})*)?\])"
COMMA_LIST = r".*[^, \t].*"


def group(pattern: str) -> str:
    """Return a pattern so that nothing in it reaches beyond it: an open `\\Q` is closed."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(f"(?:{pattern})", options=options)
    except re2.error:
        return f"(?:{pattern}\\E)"
    return f"(?:{pattern})"


def host(test: Test) -> str | None:
    """Return the pattern of authorities whose host passes the test; hosts are in lower case."""
    part, last, tail = r"[a-z0-9_.:\-]*", r"[a-z0-9_\-\]]", r"\.?(?::[0-9]+)?"
    inside = r"(?:[a-z0-9_.\-]*|\[[a-f0-9:.]*\]?)"
    match test:
        case Equals(str(text)) if text == text.lower():
            return f"(?i:{re2.escape(text)}){tail}"
        case Prefix(text) if text == text.lower():
            rest = rf"(?:{part}{last})" + ("" if text.endswith((".", ":", "[")) else "?")
            end = "" if text.startswith("[") else r"(?:[a-z0-9_.\-]*" + last + ")" + ("" if text.endswith(".") else "?")
            return f"(?i:{re2.escape(text)}{end or rest}){tail}"
        case Suffix(text) if text == text.lower() and not text.endswith("."):
            return f"(?i:{inside}{re2.escape(text)}){tail}"
        case Substring(text) if text == text.lower():
            after = r"[a-z0-9_.:\]\-]*" + last if text.endswith((".", ":")) else rf"(?:[a-z0-9_.:\]\-]*{last})?"
            return rf"(?i:{inside}{re2.escape(text)}{after}){tail}"
        case Matches(pattern):
            return f"(?is:.*{group(pattern)}.*)"
    return None


def json_member(member: str) -> str:
    """Return the pattern of JSON arrays of strings that have this member, however its characters are escaped.

    The proxy writes arrays without spaces.
    """
    text = "".join(_json_character(character) for character in member)
    return rf'(?s:\[(?:{_STRING},)*"{text}"(?:,{_STRING})*\])'


def _json_character(character: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    units = character.encode("utf-16-be")
    escaped = "".join(rf"\\u(?i:{units[n : n + 2].hex()})" for n in range(0, len(units), 2))
    ways = [escaped]
    if character in short:
        ways.append(re2.escape(short[character]))
    if character not in '"\\' and character >= " ":
        ways.append(re2.escape(character))
    return "(?:" + "|".join(ways) + ")"


def comma_member(member: str) -> str | None:
    """Return the pattern of lists between commas that have this member; None where no list can."""
    if not member or "," in member or member != member.strip(" \t"):
        return None
    return rf"(?:.*,)?[ \t]*{re2.escape(member)}[ \t]*(?:,.*)?"
