"""Does a pattern mean the same to a reader of bytes, as Envoy is, and to one of characters, as CEL is?

They differ for text outside ASCII only, where a character is several bytes: where a pattern counts or cuts characters.
"""

import re

_TOKEN = re.compile(
    r"""(?P<text>\\Q.*?(?:\\E|\Z))
      | (?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\\[DSWdsw]|\.)
      | (?P<code>\\(?:[pP](?:\{\^?\w*\}|.)|x(?:\{[0-9A-Fa-f]*\}|..)|[0-7]+|[BC]))
      | (?P<flags>\(\?[A-Za-z-]+[:)])
      | (?P<times>[*+?]\??|\{[0-9]+(?:,[0-9]*)?\}\??)
      | (?P<place>\\[AbzE])
      | (?P<letter>\\.|[^\\()|^$])
      | .""",
    re.VERBOSE | re.DOTALL,
)


def counts_bytes(pattern: str) -> str:
    """Return the first part of an RE2 pattern that may see bytes where CEL sees characters; nothing if none does.

    Characters that are taken in any number are sound, `.*` and `[^/]*`; so is `.+` before a letter, where it ends.
    """
    found = [(match.lastgroup or "", match.group()) for match in _TOKEN.finditer(pattern)]
    folds = any(kind == "flags" and "i" in text.split("-")[0] for kind, text in found)
    # what repeats may stand behind what is nothing by itself
    found = [(kind, text) for kind, text in found if text != r"\E" and not (kind == "flags" and text.endswith(")"))]
    ahead = [*found[1:], *[("", "")] * 3]
    for (kind, text), (second, times), (third, _), (fourth, _) in zip(found, ahead, ahead[1:], ahead[2:], strict=False):
        times = times if second == "times" else ""
        if kind == "code" or (folds and _folds_beyond_ascii(kind, text)):
            return text
        if not text.isascii() and (folds or kind == "class" or times):
            return text + times
        ends = times in ("+", "+?") and third == "letter" and fourth != "times"
        if kind == "class" and _beyond_ascii(text) and times not in ("*", "*?") and not ends:
            return text + times
    return ""


def _beyond_ascii(text: str) -> bool:
    """Say whether a class takes characters outside ASCII."""
    return text == "." or text.startswith("[^") or bool(re.search(r"\\[DSW]|\[:\^", text))


def _folds_beyond_ascii(kind: str, text: str) -> bool:
    """Say whether upper and lower case are one outside ASCII too: U+212A is a `k`, U+017F an `s`."""
    if kind == "class":
        return text not in (".", r"\d", r"\D", r"\s", r"\S")
    return kind in ("letter", "text") and bool(re.search("[ks]", text, re.IGNORECASE))
