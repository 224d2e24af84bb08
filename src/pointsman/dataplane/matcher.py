"""The decision diagram as a matcher tree of Envoy: look-ups in tables, else lists in order.

Where a nested matcher finds nothing, Envoy goes on with what follows it: with the next entry of a list, but also
with the shorter prefix of a map or with what is there for no match. So what follows a part that may end in `Next`
says itself that it is not for those values.
"""

from collections.abc import Callable, Iterable

from pointsman.dataplane.envoy import Json, Object
from pointsman.dataplane.inputs import (
    Inputs,
    any_of,
    ask,
    both,
    either,
    exact,
    header_input,
    negation,
    value_match,
)
from pointsman.model.attribute import Value
from pointsman.model.diagram import Branch, Leaf, Listing, Next, Node, Prefixes, Switch
from pointsman.model.formula import And, Atom, Const, Formula, Not, Or, Prefix, Present

Entry = tuple[Object | bool, Node, str]
ToAction = Callable[[Leaf], Object]


def compile_node(node: Node, inputs: Inputs, leaf: ToAction) -> Object:
    """Return the matcher (xds.type.matcher.v3.Matcher) of a diagram; `leaf` gives the on-match of each decision."""
    return _Tree(inputs, leaf).matcher(node, "")


class _Tree:
    """Remembers which nodes can end in `Next`."""

    def __init__(self, inputs: Inputs, leaf: ToAction) -> None:
        self._inputs = inputs
        self._leaf = leaf
        self._open: dict[int, bool] = {}

    def matcher(self, node: Node, settled: str) -> Object:
        """Return the matcher of a node; `settled` is the attribute of which it is known that it is present."""
        match node:
            case Leaf():
                return {"on_no_match": self._leaf(node)}
            case Next():
                return {}
            case Switch():
                return self._switch(node, settled)
            case Prefixes():
                return self._prefixes(node, settled)
            case Branch():
                return self._chain(node, settled)
            case Listing(entries):
                return self._list([(self._formula(formula), then, "") for formula, then in entries])

    def _switch(self, node: Switch, settled: str) -> Object:
        name = node.attribute
        entry = self._inputs[name]
        groups: dict[int, list[Value]] = {}
        for value, case in node.cases.items():
            groups.setdefault(id(case), []).append(value)
        table: dict[str, Json] = {}
        searched: dict[int, tuple[Node, list[Value]]] = {}
        opened: list[Value] = []
        for value, case in node.cases.items():
            text = exact(entry, value)
            if self._leaks(case):
                opened.append(value)
            if text is None or not (len(groups[id(case)]) == 1 or isinstance(case, Leaf)):
                searched.setdefault(id(case), (case, []))[1].append(value)
            elif text and not isinstance(case, Next):
                table[text] = self._on_match(case, name)
        rest: list[Entry] = [(any_of(entry, values), case, name) for case, values in searched.values()]
        rest += self._remainder(name, node.other, node.absent, settled, any_of(entry, opened) if opened else False)
        if not table:
            return self._list(rest)
        found: Object = {"matcher_tree": {"input": header_input(entry.header), "exact_match_map": {"map": table}}}
        return self._otherwise(found, rest)

    def _prefixes(self, node: Prefixes, settled: str) -> Object:
        name = node.attribute
        entry = self._inputs[name]
        leaking = [text for text, case in node.cases.items() if self._leaks(case)]
        rest = self._remainder(name, node.other, node.absent, settled, self._starts(name, leaking))
        if leaking or any(exact(entry, text) is None for text in node.cases):
            entries: list[Entry] = []
            for text in sorted(node.cases, key=len, reverse=True):
                longer = [other for other in leaking if other != text and other.startswith(text)]
                here = both([self._starts(name, [text]), negation(self._starts(name, longer))])
                entries.append((here, node.cases[text], name))
            return self._list([*entries, *rest])
        table: dict[str, Json] = {text: self._on_match(case, name) for text, case in node.cases.items()}
        return self._otherwise(
            {"matcher_tree": {"input": header_input(entry.header), "prefix_match_map": {"map": table}}}, rest
        )

    def _chain(self, node: Branch, settled: str) -> Object:
        """Write tests on one attribute, each asked where the one before failed, as one list."""
        name = node.atom.attribute
        entries: list[Entry] = []
        leaking: list[Object | bool] = []
        present = self._present(name, settled)
        if present is not True and node.absent is not _last(node):
            entries.append((negation(present), node.absent, name))
            leaking += [negation(present)] if self._leaks(node.absent) else []
        step: Node = node
        while isinstance(step, Branch) and step.atom.attribute == name:
            holds = ask(self._inputs[name], step.atom.test)
            entries.append((both([holds, *map(negation, leaking)]), step.yes, name))
            leaking += [holds] if self._leaks(step.yes) else []
            step = step.no
        return self._list([*entries, (both(map(negation, leaking)), step, name)])

    def _remainder(self, name: str, other: Node, absent: Node, settled: str, leaking: Object | bool) -> list[Entry]:
        """Return the entries for no case; they must not catch the values that end in `Next`."""
        free = negation(leaking)
        present = self._present(name, settled)
        if other is absent or present is True:
            return [(free, other, name if present is True else "")]
        if leaking is False and not self._leaks(other):
            return [(present, other, name), (True, absent, "")]
        return [(negation(present), absent, ""), (both([present, free]), other, name)]

    def _list(self, entries: Iterable[Entry]) -> Object:
        return self._otherwise({}, list(entries))

    def _otherwise(self, found: Object, entries: list[Entry]) -> Object:
        """Complete a matcher with what is asked in order where it finds nothing."""
        kept: list[Entry] = []
        for entry in entries:
            again = bool(kept) and kept[-1][0] == entry[0] and not self._leaks(kept[-1][1])
            if entry[0] is not False and not again and not isinstance(entry[1], Next):
                kept.append(entry)
            if entry[0] is True and not self._leaks(entry[1]):
                break
        last = kept.pop() if kept and kept[-1][0] is True else None
        if not kept:
            if last is None:
                return found
            if not found:
                return self.matcher(last[1], last[2])
            return {**found, "on_no_match": self._on_match(last[1], last[2])}
        matchers: list[Json] = [
            {"predicate": _ALWAYS if asked is True else asked, "on_match": self._on_match(then, settled)}
            for asked, then, settled in kept
        ]
        listed: Object = {"matcher_list": {"matchers": matchers}}
        if last is not None:
            listed["on_no_match"] = self._on_match(last[1], last[2])
        return {**found, "on_no_match": {"matcher": listed}} if found else listed

    def _on_match(self, node: Node, settled: str) -> Object:
        return self._leaf(node) if isinstance(node, Leaf) else {"matcher": self.matcher(node, settled)}

    def _present(self, name: str, settled: str) -> Object | bool:
        return True if name == settled else ask(self._inputs[name], Present())

    def _starts(self, name: str, texts: list[str]) -> Object | bool:
        return either([ask(self._inputs[name], Prefix(text)) for text in texts])

    def _formula(self, formula: Formula) -> Object | bool:
        match formula:
            case Const(value):
                return value
            case Atom(name, test):
                return ask(self._inputs[name], test)
            case Not(part):
                return negation(self._formula(part))
            case And(parts):
                return both([self._formula(part) for part in parts])
            case Or(parts):
                return either([self._formula(part) for part in parts])

    def _leaks(self, node: Node) -> bool:
        """Say whether a node can end in `Next`."""
        known = self._open.get(id(node))
        if known is None:
            match node:
                case Leaf():
                    known = False
                case Next():
                    known = True
                case Switch(_, cases, other, absent) | Prefixes(_, cases, _, other, absent):
                    known = any(self._leaks(child) for child in (*cases.values(), other, absent))
                case Branch(_, yes, no, absent):
                    known = self._leaks(yes) or self._leaks(no) or self._leaks(absent)
                case Listing(entries):
                    known = self._leaks(entries[-1][1])
            self._open[id(node)] = known
        return known


def _last(node: Node) -> Node:
    """Return where a chain of tests on one attribute ends if all of them fail."""
    name = node.atom.attribute if isinstance(node, Branch) else ""
    while isinstance(node, Branch) and node.atom.attribute == name:
        node = node.no
    return node


# no request has a method with a space
_ALWAYS: Object = {"not_matcher": value_match(":method", exact=" ")}
