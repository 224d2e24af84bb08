"""What is wrong with an input, and what to do about it. All problems of one input are reported at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file: `line` and `column` count from 1; 0 means the file as a whole."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file or "input"
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: where, what and how to mend it. `label` is stable and meant for programs."""

    place: Place
    label: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f"; {self.hint}" if self.hint else "")

    @property
    def fields(self) -> dict[str, str | int]:
        """Return the problem as programs see it."""
        place = self.place
        said = {"label": self.label, "what": self.what, "hint": self.hint}
        return {"file": place.file, "line": place.line, "column": place.column, **said}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Problem":
        """Return the problem that has these fields."""
        place = Place(fields["file"], fields["line"], fields["column"])
        return cls(place, fields["label"], fields["what"], fields["hint"])


class Invalid(Exception):
    """Bad input, with everything that is wrong with it. Never half applied."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word nearest to this one, or lists them where none is near."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    if not names:
        return "none is declared"
    listed = ", ".join(f"`{name}`" for name in names[:8])
    return f"known are {listed}" + (", …" if len(names) > 8 else "")


def moved(problem: Problem, place: Place) -> Problem:
    """Return the same problem at another place."""
    return replace(problem, place=place)
