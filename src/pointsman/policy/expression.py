"""A checked CEL expression as plain values, each with the character at which it stands.

CEL parses and type-checks. Conditions that differ only in their text literals share one compilation: neither
parsing nor typing depends on what is between the quotes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cel.expr import checked_pb2, syntax_pb2  # type: ignore[import-untyped]
from cel_expr_python import cel
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError

_LITERAL = re.compile(r'"([^"\n]*)"')


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute, or whatever else has a name."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is written out. In a shared compilation, a text is the number of the literal."""

    value: object
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or function. The object of a method is its first argument."""

    function: str
    args: tuple["Expression", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Items:
    """A list that is written out."""

    items: tuple["Expression", ...]
    at: int


@dataclass(frozen=True, slots=True)
class Presence:
    """`has(…)` around an attribute."""

    at: int


@dataclass(frozen=True, slots=True)
class Loop:
    """A macro over a list."""

    at: int


@dataclass(frozen=True, slots=True)
class Strange:
    """Anything else that CEL knows: messages, maps, field selections."""

    at: int


Expression = Name | Literal | Call | Items | Presence | Loop | Strange


@dataclass(frozen=True, slots=True)
class Failed:
    """CEL refused the condition, with this message."""

    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """An expression, and the text literals that its literals number, if it is a shared one."""

    root: Expression
    literals: Sequence[str] | None = None


class Compiler:
    """Compiles conditions in one environment."""

    def __init__(self, env: cel.Env) -> None:
        self._env = env
        self._shared: dict[tuple[str, ...], Expression | Failed] = {}

    def shared(self, text: str) -> Checked | Failed:
        """Compile a condition, reusing what is known of its like. Positions may be those of another condition."""
        parts = _LITERAL.split(text)
        code = tuple(parts[0::2])
        if "\\" in text or not _splits_cleanly(code):
            return self.exact(text)
        if code not in self._shared:
            numbered = "".join(f'{piece}"{number}"' for number, piece in enumerate(code[:-1])) + code[-1]
            found = self.exact(numbered)
            self._shared[code] = found.root if isinstance(found, Checked) else found
        root = self._shared[code]
        return root if isinstance(root, Failed) else Checked(root, parts[1::2])

    def exact(self, text: str) -> Checked | Failed:
        """Compile a condition by itself, with the positions that are its own."""
        try:
            compiled = self._env.compile(text)
            tree = checked_pb2.CheckedExpr.FromString(any_pb2.Any.FromString(compiled.serialize()).value)
        except RuntimeError as error:
            return Failed(str(error))
        except DecodeError:
            return Failed("recursion limit exceeded")
        return Checked(_expression(tree.expr, tree.source_info.positions, text))


def _splits_cleanly(code: Sequence[str]) -> bool:
    """Return whether the pieces between double quotes hold no other quoting or prefixes of literals."""
    return not any("'" in piece or '"' in piece for piece in code) and not any(
        piece[-1:] in ("r", "R", "b", "B") or (not piece and index) for index, piece in enumerate(code[:-1])
    )


def _expression(expr: syntax_pb2.Expr, positions: Mapping[int, int], text: str) -> Expression:
    at = positions.get(expr.id, 0)
    match expr.WhichOneof("expr_kind"):
        case "ident_expr":
            name = expr.ident_expr.name.removeprefix(".")
            # CEL turns `has(user.name)` into the bare attribute, and only the place gives it away
            return Presence(at) if "." in name and text[at : at + 1] != "." else Name(name, at)
        case "const_expr":
            constant = expr.const_expr
            return Literal(getattr(constant, constant.WhichOneof("constant_kind")), at)
        case "call_expr":
            call = expr.call_expr
            target = [call.target] if call.HasField("target") else []
            return Call(call.function, tuple(_expression(arg, positions, text) for arg in (*target, *call.args)), at)
        case "list_expr":
            return Items(tuple(_expression(item, positions, text) for item in expr.list_expr.elements), at)
        case "comprehension_expr":
            return Loop(at)
    return Strange(at)
