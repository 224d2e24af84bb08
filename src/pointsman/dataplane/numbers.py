"""Ranges of whole numbers as regular expressions, for inputs that exist only as text."""


def between(first: int, last: int) -> str:
    """Return a pattern that exactly the decimal numbers from `first` to `last` match (neither negative)."""
    return "(?:" + "|".join(_spans(first, last)) + ")"


def _spans(first: int, last: int) -> list[str]:
    if first > last:
        return []
    if len(str(first)) < len(str(last)):
        edge = 10 ** len(str(first))
        return _spans(first, edge - 1) + _spans(edge, last)
    return _same_length(str(first), str(last))


def _same_length(first: str, last: str) -> list[str]:
    if len(first) == 1:
        return [first if first == last else f"[{first}-{last}]"]
    rest = len(first) - 1
    if first[0] == last[0]:
        return [first[0] + tail for tail in _same_length(first[1:], last[1:])]
    if first[1:] == "0" * rest and last[1:] == "9" * rest:
        return [f"[{first[0]}-{last[0]}]" + f"[0-9]{{{rest}}}"]
    if first[1:] != "0" * rest:
        low = [first[0] + tail for tail in _same_length(first[1:], "9" * rest)]
        return low + _same_length(str(int(first[0]) + 1) + "0" * rest, last)
    high = [last[0] + tail for tail in _same_length("0" * rest, last[1:])]
    return _same_length(first, str(int(last[0]) - 1) + "9" * rest) + high
