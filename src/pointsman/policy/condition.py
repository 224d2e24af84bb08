"""CEL conditions to the boolean form. What has no boolean form is refused, by name and place."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cel_expr_python import cel

from pointsman.model.attribute import Attribute, Type
from pointsman.model.formula import FALSE, Formula
from pointsman.policy.expression import Compiler, Failed
from pointsman.policy.lowering import Lowering, Tests
from pointsman.policy.refusal import Trouble, refusals


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in boolean form, which still speaks of derived attributes, or what is wrong with it."""

    formula: Formula
    troubles: tuple[Trouble, ...] = ()
    usable: bool = True


def environment(attributes: Iterable[Attribute]) -> cel.Env:
    """Return the CEL environment in which conditions over these attributes are typed and run."""
    text = cel.Type.STRING
    kinds = {
        Type.STRING: text,
        Type.INT: cel.Type.INT,
        Type.BOOL: cel.Type.BOOL,
        Type.IP: text,
        Type.STRINGS: cel.Type.List(text),
    }
    inside = cel.Overload(
        "string_within_string", return_type=cel.Type.BOOL, parameters=[text, text], is_member=True, impl=_within
    )
    return cel.NewEnv(
        variables={attribute.name: kinds[attribute.type] for attribute in attributes},
        functions=[cel.FunctionDecl("within", [inside])],
    )


class Conditions:
    """Compiles the conditions of one policy. Equal texts are compiled once; equal tests are one object.

    `ignore` names attributes that are declared, but wrongly: conditions about them are not held against them.
    """

    def __init__(
        self,
        attributes: Iterable[Attribute],
        destinations: Mapping[str, object],
        ignore: frozenset[str] = frozenset(),
    ) -> None:
        self._attributes = {attribute.name: attribute for attribute in attributes}
        self._ignore = ignore
        self._compiler = Compiler(environment(self._attributes.values()))
        self._tests = Tests(self._attributes, destinations)
        self._known: dict[str, Condition] = {}

    def compile(self, text: str) -> Condition:
        """Return the boolean form of a condition, or all that is wrong with it."""
        if text not in self._known:
            self._known[text] = self._shared(text)
        return self._known[text]

    def _shared(self, text: str) -> Condition:
        checked = self._compiler.shared(text)
        if isinstance(checked, Failed):
            return self._exact(text)
        lowering = Lowering(text, self._tests, checked.literals)
        formula = lowering.formula(checked.root)
        return self._exact(text) if lowering.troubles else Condition(formula)

    def _exact(self, text: str) -> Condition:
        """Compile a condition that something is wrong with: by itself, so that the positions are its own."""
        checked = self._compiler.exact(text)
        if isinstance(checked, Failed):
            return Condition(FALSE, refusals(text, checked.message, self._attributes, self._ignore), usable=False)
        lowering = Lowering(text, self._tests, None)
        formula = lowering.formula(checked.root)
        return Condition(formula, tuple(lowering.troubles), usable=not lowering.troubles)


def _within(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)
