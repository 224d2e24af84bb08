"""Which path is decided on: the one that the origin gets, in the normal form that the proxy gives it.

This is Envoy's own way (`normalize_path`, `merge_slashes`, escaped slashes refused), seen byte by byte in a real one.
"""

import re2

# Empty and dot segments, backslashes, and escapes of what need not or must not be escaped (RFC 3986, 6.2.2).
NOT_NORMAL = (
    r"[^?]*(?://|/\.{1,2}(?:/|$|\?)|\\|%2[dDeEfF]|%3[0-9]|%4[1-9a-fA-F]|%5[0-9aAcCfF]|%6[1-9a-fA-F]|%7[0-9aAeE]).*"
)

_RAW = re2.compile(NOT_NORMAL)
_REFUSED = re2.compile(r"%2[fF]|%5[cC]|%00|#|[^!-~]")
_ESCAPE = re2.compile(r"%(?:2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
_UNSAFE = re2.compile(r'["<>^`{|}]')
_SLASHES = re2.compile(r"//+")


def normal(path: str) -> str:
    """Return a path in its normal form, or nothing where it has none. The query is not part of it."""
    if not path.startswith("/") or _REFUSED.search(path):
        return ""
    plain = _ESCAPE.sub(lambda found: chr(int(found[0][1:], 16)), path.replace("\\", "/"))
    safe = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", plain)
    return str(_SLASHES.sub("/", _without_dots(safe)))


def is_normal(path: str) -> bool:
    """Return whether a path is left as it is where paths are not made normal."""
    return _RAW.fullmatch(path) is None


def _without_dots(path: str) -> str:
    """Remove dot segments (RFC 3986, 5.2.4)."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "..":
            kept = kept[:-1]
        if segment not in (".", ".."):
            kept.append(segment)
        elif last:
            kept.append("")
    return "/" + "/".join(kept)
