"""What is wrong with a policy, all of it at once: names, references, and profiles that nothing can satisfy."""

from collections.abc import Iterable, Mapping

from pointsman.model.problem import Place, Problem, did_you_mean
from pointsman.model.profile import Profile
from pointsman.model.tunnel import Entry

_SUGGESTIONS = 200


class Findings:
    """The problems found so far. Looking for the word that was meant is bounded: it costs, and nobody reads 20,000."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._suggested = 0

    def add(self, place: Place, label: str, what: str, hint: str = "") -> None:
        """Note one problem."""
        self.problems.append(Problem(place, label, what, hint))

    def unknown(self, place: Place, noun: str, word: str, known: Iterable[str]) -> None:
        """Note a name that is not declared, with the one that may have been meant."""
        self._suggested += 1
        hint = did_you_mean(word, known) if self._suggested <= _SUGGESTIONS else ""
        self.add(place, f"unknown-{noun}", f"there is no {noun} `{word}`", hint)

    def duplicates(self, noun: str, named: Iterable[tuple[str, Place]]) -> None:
        """Note every name that is given twice."""
        first: dict[str, Place] = {}
        for name, place in named:
            if name in first:
                self.add(place, "duplicate-name", f"{noun} `{name}` is declared twice", f"first at {first[name]}")
            first.setdefault(name, place)


def unsatisfiable(
    profiles: Iterable[Profile], entries: Iterable[Entry], places: Mapping[str, Place], offers: Iterable[Entry] = ()
) -> tuple[Problem, ...]:
    """Return a problem for every profile that no entry of the pool can satisfy, with what each entry lacks.

    Tunnels of single holders are made by gateways: `offers` are what each of those makes.
    """
    entries, offers, profiles = tuple(entries), tuple(offers), tuple(profiles)
    found = []
    for profile in profiles:
        among = entries if profile.holding is None else offers
        if not fitting(profile, among):
            found.append(_without_tunnel(profile, among, places))
    return (*found, *_contended([profile for profile in profiles if profile.dedicated], entries, places))


def fitting(profile: Profile, entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that can satisfy a profile."""
    return [entry for entry in entries if not _lacks(profile, entry)]


def _lacks(profile: Profile, entry: Entry) -> list[str]:
    lacks = []
    if entry.level < profile.encryption:
        lacks.append(f"gives `{entry.level.name.lower()}`, not `{profile.encryption.name.lower()}`")
    if profile.selector.names and entry.name not in profile.selector.names:
        lacks.append("is not among its names")
    labels = dict(entry.labels)
    for key, value in profile.selector.labels:
        if labels.get(key) != value:
            lacks.append(f"has {f'{key}={labels[key]}' if key in labels else f'no label `{key}`'}, not {key}={value}")
    return lacks


def _without_tunnel(profile: Profile, entries: Iterable[Entry], places: Mapping[str, Place]) -> Problem:
    reasons = "; ".join(f"`{entry.name}` {' and '.join(_lacks(profile, entry))}" for entry in entries)
    pooled = profile.holding is None
    source, nothing = ("tunnel of the pool", "the pool is empty") if pooled else ("gateway", "there are no gateways")
    what = f"no {source} can satisfy profile `{profile.name}`"
    return Problem(places.get(profile.name, Place()), "unsatisfiable-profile", what, reasons or nothing)


def _contended(profiles: list[Profile], entries: tuple[Entry, ...], places: Mapping[str, Place]) -> list[Problem]:
    """Return a problem for every dedicated profile that finds all its tunnels taken by others, whoever gives way."""
    holder: dict[str, Profile] = {}

    def seat(profile: Profile, asked: set[str]) -> bool:
        for entry in fitting(profile, entries):
            if entry.name in asked:
                continue
            asked.add(entry.name)
            if entry.name not in holder or seat(holder[entry.name], asked):
                holder[entry.name] = profile
                return True
        return False

    found = []
    for profile in profiles:
        if fitting(profile, entries) and not seat(profile, set()):
            others = ", ".join(
                f"`{other.name}`" for other in holder.values() if fitting(other, fitting(profile, entries))
            )
            what = f"dedicated profile `{profile.name}` finds each of its tunnels held by another dedicated profile"
            found.append(
                Problem(
                    places.get(profile.name, Place()),
                    "unsatisfiable-profile",
                    what,
                    f"the pool has too few for it and {others}",
                )
            )
    return found
