"""Which edition of a type decides when: those that its YAML lists, and those that a site adds to it.

``<Type>.editions.yaml`` in a site's folder adds editions to a type that is described elsewhere, or ends some; it is
what ``switchctl schema add`` and ``retire`` write::

    type: CEB311Message
    editions: # files lie beside this one
      - {name: "2027", valid_from: 2027-01-01, file: CEB311Message-2027/order.xsd, certainty: official}
    retired: {"2027": 2027-06-01} # from when on they decide no more
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final

from attrs import frozen
from pydantic import Field

from exchange.formats import Edition, Text, TypeFile
from exchange.model import MessageType
from exchange.options import Strict
from exchange.yamlfile import Document, suggest
from exchange.yamlfile import Path as Place

SUFFIX: Final = ".editions.yaml"


class AddedFile(Strict):
    """What a site's file says about the editions of one type."""

    type: Text
    editions: tuple[Edition, ...] = ()
    retired: dict[Text, date] = Field(default_factory=dict)


@frozen
class Added:
    """The same, and where it stands."""

    document: Document
    file: AddedFile
    folder: Path

    def to(self, type: TypeFile) -> TypeFile:
        """Return a type with these editions, too; their files by absolute paths."""
        here = [one.model_copy(update={"file": str(self.folder / one.file)}) for one in self.file.editions]
        ends = self.file.retired
        editions = tuple(
            one.model_copy(update={"valid_until": ends[one.name]}) if one.name in ends else one
            for one in (*type.editions, *here)
        )
        return type.model_copy(update={"editions": editions})

    def mistakes(self, type: TypeFile) -> Iterator[str]:
        """Check against the *type* as it is without this file."""
        at, known = self.document.problem, [one.name for one in type.editions]
        yield from edition_mistakes(self.document, self.folder, self.file.editions, known)
        for name in self.file.retired:
            if name not in (names := [*known, *(one.name for one in self.file.editions)]):
                yield at(("retired", name), f"{type.name} has no edition {name!r}{suggest(name, names)}")
        whole = self.to(type).editions
        for number in range(len(type.editions), len(whole)):
            place = ("editions", number - len(type.editions))
            for version in set(whole[number].versions) - set(type.version.accepted):
                yield at((*place, "versions"), f"version {version!r} is not accepted")
            yield from (at((*place, "valid_from"), text) for text in same_day(whole, number))
        for name, end, version in left_out(type.version.accepted, whole):
            of = f" for version {version!r}" if version else ""
            yield at(("retired", name), f"nothing decides{of} from {end} on: add an edition first")


def edition_mistakes(
    document: Document, folder: Path, editions: Sequence[Edition], known: Sequence[str] = ()
) -> Iterator[str]:
    """Check files and names of editions as one YAML lists them; *known* are names that are taken."""
    for number, edition in enumerate(editions):
        place: Place = ("editions", number)
        if not (folder / edition.file).is_file():
            yield document.problem((*place, "file"), f"there is no file {edition.file!r} here")
        if edition.name in [*known, *(other.name for other in editions[:number])]:
            above = "above" if edition.name not in known else "already"
            yield document.problem((*place, "name"), f"{edition.name!r} is the name of an edition {above}")
        if edition.valid_until is not None and edition.valid_until <= edition.valid_from:
            yield document.problem((*place, "valid_until"), "ends before it begins")


def same_day(editions: Sequence[Edition], number: int) -> Iterator[str]:
    """Tell which earlier ones begin on the same day as one of several: nobody could say which decides."""
    one = editions[number]
    for other in editions[:number]:
        shared = not one.versions or not other.versions or set(one.versions) & set(other.versions)
        if other.valid_from == one.valid_from and shared:
            yield f"edition {other.name!r} is valid from the same day: which one decides? Give one of them another day"


def left_out(accepted: Sequence[str], editions: Sequence[Edition]) -> Iterator[tuple[str, date, str]]:
    """Yield the end of an edition after which nothing is left for a version: (edition, day, version)."""
    for version in accepted:
        fitting = [one for one in editions if not one.versions or version in one.versions]
        for one in fitting:
            end = one.valid_until
            if end is not None and not any(_lasts(other, end) for other in fitting):
                yield one.name, end, version


def _lasts(edition: Edition, day: date) -> bool:
    return edition.valid_from <= day and (edition.valid_until is None or edition.valid_until > day)


def timeline(editions: Sequence[Edition]) -> list[Edition]:
    """Order editions so that the last which is valid on a day decides; where one ends, those before it begin again.

    Done when types are read, so that nobody asks for an end while a message waits.
    """
    listed = sorted(editions, key=lambda one: one.valid_from)
    ends = sorted({one.valid_until for one in listed if one.valid_until is not None})
    rows = [one for one in listed if one.valid_until is None or one.valid_until > one.valid_from]
    for end in ends:
        again = [
            one.model_copy(update={"valid_from": end}) for one in listed if one.valid_from < end if _lasts(one, end)
        ]
        place = next((number for number, one in enumerate(rows) if one.valid_from >= end), len(rows))
        rows[place:place] = again
    return rows


def spans(editions: Sequence[Edition]) -> dict[str, list[tuple[date, date | None]]]:
    """Return when each edition decides, about messages that name no version: from (included), until (not)."""
    rows = timeline(editions)
    told: dict[str, list[tuple[date, date | None]]] = {one.name: [] for one in editions}
    days = sorted({one.valid_from for one in rows})
    deciding = [next(one.name for one in reversed(rows) if one.valid_from <= day) for day in days]
    starts = [(day, name) for number, (day, name) in enumerate(zip(days, deciding, strict=True))
              if not number or deciding[number - 1] != name]  # fmt: skip
    for (day, name), (until, _) in pairwise([*starts, (None, "")]):
        told[name].append((day, until))  # type: ignore[arg-type]
    return told


def changed(before: Mapping[str, MessageType], after: Mapping[str, MessageType]) -> dict[str, list[str]]:
    """Return the editions, by name, of the types that aren't what they were; none of one that is gone."""
    told = {}
    for name in {**before, **after}:
        old, new = (
            (types[name].spec.file, types[name].spec.folder) if name in types else () for types in (before, after)
        )
        if old != new:
            told[name] = [edition.name for edition in new[0].editions] if new else []
    return told
