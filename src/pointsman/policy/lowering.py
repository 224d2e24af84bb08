"""One checked expression to its boolean form, collecting everything in it that has none."""

from collections.abc import Callable, Mapping, Sequence

from pointsman.model.attribute import LARGEST, Attribute, Catalogue, Type, Value
from pointsman.model.formula import (
    FALSE,
    TRUE,
    AtLeast,
    Atom,
    Contains,
    Equals,
    Formula,
    Matches,
    Prefix,
    Substring,
    Suffix,
    Test,
    Within,
)
from pointsman.policy.expression import Call, Expression, Items, Literal, Loop, Name, Presence
from pointsman.policy.join import conj, disj, negate
from pointsman.policy.literal import doubt
from pointsman.policy.refusal import SIGNS, Trouble, start

_FLIPPED = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_"}
_PARTS: Mapping[str, Callable[[str], Test]] = {
    "startsWith": Prefix,
    "endsWith": Suffix,
    "contains": Substring,
    "matches": Matches,
    "within": Within,
}
_SUBSET = "a condition joins tests on single attributes by `&&`, `||`, `!` and `?:`; docs/policy.md lists the tests"
_MEMBER = 'for membership write `"value" in list`'
_WORDS = {
    Type.STRING: "a text",
    Type.INT: "a number",
    Type.BOOL: "a boolean",
    Type.IP: "an address",
    Type.STRINGS: "a list",
}


class Tests:
    """The tests of a policy: each was found to make sense, and is one object however often it is written."""

    def __init__(self, attributes: Mapping[str, Attribute], destinations: Mapping[str, object]) -> None:
        self.attributes = attributes
        self.destinations = destinations
        self.known: dict[tuple[str, type, object], Formula] = {}


class Lowering:
    """The lowering of one expression. `literals` holds the text literals where the expression numbers them."""

    def __init__(self, text: str, tests: Tests, literals: Sequence[str] | None) -> None:
        self.troubles: list[Trouble] = []
        self._text = text
        self._tests = tests
        self._literals = literals

    def formula(self, expr: Expression) -> Formula:
        """Return the boolean form of an expression of type bool."""
        if isinstance(expr, Call):
            return self._call(expr)
        if isinstance(expr, Name):
            attribute = self._attribute(expr)
            if attribute is None:
                return FALSE
            if attribute.type is not Type.BOOL:
                what = f"`{attribute.name}` is {_WORDS[attribute.type]}, not a condition"
                return self._refuse(expr, "wrong-type", what, "compare it with a value")
            return self._test(expr, attribute, Equals, True)
        if isinstance(expr, Literal) and isinstance(expr.value, bool):
            return TRUE if expr.value else FALSE
        if isinstance(expr, Presence):
            return self._has(expr)
        if isinstance(expr, Loop):
            return self._refuse(expr, "not-boolean-form", "a loop over a list cannot be compiled", _MEMBER)
        return self._refuse(expr, "wrong-type", "this is not a condition", _SUBSET)

    def _call(self, expr: Call) -> Formula:
        name, args = expr.function, expr.args
        if name == "_&&_":
            return conj([self.formula(arg) for arg in args])
        if name == "_||_":
            return disj([self.formula(arg) for arg in args])
        if name == "!_":
            return negate(self.formula(args[0]))
        if name == "_?_:_":
            asked, yes, no = (self.formula(arg) for arg in args)
            return disj([conj([asked, yes]), conj([negate(asked), no])])
        if name == "@in":
            return self._in(expr, args[0], args[1])
        if name in SIGNS:
            return self._compare(expr, args[0], args[1])
        if name in _PARTS:
            return self._part(expr, args[0], args[1])
        return self._refuse(expr, "not-boolean-form", f"`{name.strip('_')}` cannot be compiled", _SUBSET)

    def _compare(self, expr: Call, left: Expression, right: Expression) -> Formula:
        name = expr.function
        if isinstance(left, Literal) and not isinstance(right, Literal):
            name, left, right = _FLIPPED.get(name, name), right, left
        if isinstance(left, Presence) or isinstance(right, Presence):
            return self._has(expr)
        if isinstance(left, Name) and isinstance(right, Name):
            what = f"two attributes, `{left.name}` and `{right.name}`, cannot be compared"
            return self._refuse(expr, "not-boolean-form", what, "compare an attribute with a value that is written out")
        if isinstance(left, Literal):
            return self._refuse(expr, "not-boolean-form", "two values are compared, and no attribute", _SUBSET)
        if not isinstance(right, Literal):
            return self._refuse(right, "not-boolean-form", "one side must be a value that is written out", _SUBSET)
        if not isinstance(left, Name):
            return self._refuse(left, "not-boolean-form", "only an attribute can be compared", _SUBSET)
        attribute = self._attribute(left)
        if attribute is None:
            return FALSE
        value = self._value(right)
        if name in _FLIPPED:
            return self._order(expr, name, attribute, value)
        if value is None or attribute.type is Type.STRINGS:
            return self._refuse(expr, "not-boolean-form", f"`{attribute.name}` cannot be compared with this", _MEMBER)
        same = self._test(right, attribute, Equals, value)
        return negate(same) if name == "_!=_" else same

    def _order(self, expr: Call, name: str, attribute: Attribute, bound: Value | None) -> Formula:
        if attribute.type is not Type.INT or not isinstance(bound, int):
            what = f"`{SIGNS[name]}` is for whole numbers; `{attribute.name}` is {_WORDS[attribute.type]}"
            return self._refuse(expr, "not-boolean-form", what)
        least = bound + 1 if name in ("_>_", "_<=_") else bound
        if least > LARGEST:
            return FALSE if name == "_>_" else TRUE
        at_least = self._test(expr, attribute, AtLeast, least)
        return at_least if name in ("_>_", "_>=_") else negate(at_least)

    def _in(self, expr: Call, item: Expression, container: Expression) -> Formula:
        if isinstance(container, Items) and isinstance(item, Name):
            attribute = self._attribute(item)
            if attribute is None:
                return FALSE
            values = [(one, self._value(one) if isinstance(one, Literal) else None) for one in container.items]
            for one, value in values:
                if value is None:
                    what = "the list must hold values that are written out"
                    return self._refuse(one, "not-boolean-form", what, _SUBSET)
            return disj([self._test(one, attribute, Equals, value) for one, value in values if value is not None])
        if isinstance(container, Name) and isinstance(item, Literal) and isinstance(self._value(item), str):
            attribute = self._attribute(container)
            return FALSE if attribute is None else self._test(item, attribute, Contains, self._value(item))
        what = "`in` is for an attribute in a list of values, or a text in a list attribute"
        return self._refuse(expr, "not-boolean-form", what, _SUBSET)

    def _part(self, expr: Call, target: Expression, argument: Expression) -> Formula:
        name = expr.function
        if not isinstance(target, Name):
            return self._refuse(target, "not-boolean-form", f"`{name}` is for attributes", _SUBSET)
        attribute = self._attribute(target)
        if attribute is None:
            return FALSE
        text = self._value(argument) if isinstance(argument, Literal) else None
        if not isinstance(text, str):
            return self._refuse(argument, "not-boolean-form", f"`{name}` needs a text that is written out", _SUBSET)
        if (attribute.type is Type.IP) != (name == "within"):
            hint = 'for networks write `.within("198.51.100.0/24")`' if attribute.type is Type.IP else ""
            what = f"`{name}` is not for {_WORDS[attribute.type]}; `{attribute.name}` is one"
            return self._refuse(target, "wrong-type", what, hint)
        return self._test(argument, attribute, _PARTS[name], text)

    def _test(self, expr: Expression, attribute: Attribute, kind: Callable[..., Test], value: object) -> Formula:
        key = (attribute.name, kind, value)
        known = self._tests.known.get(key)  # type: ignore[arg-type]
        if known is not None:
            return known
        test = kind(value)
        if not isinstance(test, Equals) and (attribute.name == "operation" or isinstance(attribute.source, Catalogue)):
            what = f"`{attribute.name}` is derived: it can be tested by `==`, `!=` and `in` only"
            return self._refuse(expr, "not-boolean-form", what)
        found = doubt(attribute, test, self._tests.destinations)
        if found:
            return self._refuse(expr, found.label, found.what, found.hint)
        formula = (
            TRUE if isinstance(test, (Prefix, Suffix, Substring)) and not test.text else Atom(attribute.name, test)
        )
        self._tests.known[key] = formula  # type: ignore[index]
        return formula

    def _attribute(self, expr: Name) -> Attribute | None:
        attribute = self._tests.attributes.get(expr.name)
        if attribute is None:
            self._refuse(expr, "unknown-attribute", f"`{expr.name}` is not an attribute")
        return attribute

    def _has(self, expr: Expression) -> Formula:
        return self._refuse(expr, "not-boolean-form", "`has` is not needed", "`absent:` says what an absence means")

    def _value(self, literal: Literal) -> Value | None:
        """Return what is written out, None if it is of a type that no attribute has."""
        value = literal.value
        if isinstance(value, str) and self._literals is not None:
            return self._literals[int(value)]
        return value if isinstance(value, (str, int, bool)) else None

    def _refuse(self, expr: Expression, label: str, what: str, hint: str = "") -> Formula:
        self.troubles.append(Trouble(start(self._text, expr.at), label, what, hint))
        return FALSE
