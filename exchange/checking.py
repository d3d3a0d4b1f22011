"""A site's folder of types, looked at as a whole: every mistake in it at once, each with its place and what to do.

More than a start of the switch asks: schemas are compiled, paths are looked for in them, and samples are judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from attrs import field, frozen

from exchange import yamlfile
from exchange.catalogue import SCHEMAS, Catalogue, known_formats
from exchange.cataloguefile import Spec, find, survey
from exchange.errors import ConfigurationError, Rejected
from exchange.formats import Edition, SchemaRemarks, SchemaSets
from exchange.model import Finding, MessageType

_PLACED: Final = re.compile(r"\S[^:]*:\d+:\d+: ")
_SAMPLE: Final = re.compile(r"(?P<type>.+?)(?:--(?P<code>SWX-\d{4}))?(?:--.*|\.[^.]*)?")


@frozen
class Report:
    """What was found; *remarks* are no mistakes, but may not be what was meant."""

    problems: list[str] = field(factory=list)
    remarks: list[str] = field(factory=list)
    types: int = 0
    editions: int = 0
    samples: int = 0


def check(folder: Path, beside: Sequence[Path], on: date) -> Report:
    """Check the types under a folder, with those of other folders *beside* it; a sample must behave *on* a day.

    Raises ConfigurationError where there is nothing to check.
    """
    folder = folder.resolve()
    if not any(folder.glob("*/*/*.yaml")):
        text = "holds no AUTHORITY/FAMILY/TYPE.yaml: name the folder above the authorities"
        raise ConfigurationError([f"{folder}:1:1: {text}"])
    others = [other for other in (SCHEMAS, *beside) if other.resolve() != folder]
    formats = known_formats()
    types, problems = survey([*others, folder], formats)
    catalogue = Catalogue({type.name: type for type in types}, formats, folder)
    own = [(type, edition) for type in types for edition in type.spec.file.editions if _lies(type, edition, folder)]
    broken = {file: found for file, type in _files(own).items() if (found := schema_mistakes(file, type, folder))}
    unsure = {type.name for type, edition in own if type.spec.folder / edition.file in broken}
    problems += [problem for found in broken.values() for problem in found]
    problems += [text for type, edition in own if type.name not in unsure for text in _path_mistakes(type, edition)]
    samples = sorted(folder.glob("*/*/samples/*/*"))
    problems += [text for sample in samples for text in _sample_mistakes(sample, catalogue, on, unsure)]
    remarks = [*_remarks(folder, own, samples), *_schema_remarks(own, unsure)]
    if others:
        known, _ = survey(others, formats)
        taken = _taken(folder, types, known)
        problems += [text for wrong, text in taken if wrong]
        remarks += [text for wrong, text in taken if not wrong]
    return Report(list(dict.fromkeys(problems)), remarks, len({type.name for type, _ in own}), len(own), len(samples))


def _lies(type: MessageType, edition: Edition, folder: Path) -> bool:
    path: Path = type.spec.folder / edition.file
    return path.resolve().is_relative_to(folder)


def _files(own: Sequence[tuple[MessageType, Edition]]) -> dict[Path, MessageType]:
    return {type.spec.folder / edition.file: type for type, edition in own}


# -- schemas and paths -------------------------------------------------------------------------------------------


def schema_mistakes(file: Path, type: MessageType, within: Path) -> list[str]:
    """List what is wrong with a schema of a type, whose files must all lie within a folder."""
    format = type.spec.format
    if isinstance(format, SchemaSets):
        return format.schema_files(file, within)[1] or format.schema_mistakes(file)
    try:
        format.schema(file, unsigned=False)
    except ValueError as why:
        return [str(why) if _PLACED.match(str(why)) else f"{file}:1:1: {why}"]
    return []


def _path_mistakes(type: MessageType, edition: Edition) -> Iterator[str]:
    spec: Spec = type.spec
    if not isinstance(spec.format, SchemaSets):
        return
    for path in spec.format.unknown_paths(spec.folder / edition.file, spec.file):
        place = _place_of(spec.folder / f"{type.name}.yaml", path)
        yield place(f"edition {edition.name!r} has no place for {path!r}: correct the path, or take another schema")


def _place_of(file: Path, value: str) -> Callable[[str], str]:
    """Return what writes a problem about a value in a type's YAML, or in the one that it is like."""
    document = yamlfile.read(file.read_text("utf-8"), str(file))
    if not (path := find(document.data, value)) and (like := document.data.get("like")):
        other = file.with_name(f"{like}.yaml")
        document = yamlfile.read(other.read_text("utf-8"), str(other))
        path = find(document.data, value)
    return lambda text: document.problem(path, text)


# -- samples -----------------------------------------------------------------------------------------------------


def _sample_mistakes(sample: Path, catalogue: Catalogue, on: date, unsure: set[str]) -> Iterator[str]:
    named = _SAMPLE.fullmatch(sample.name)
    name, code = (named["type"], named["code"] or "") if named else ("", "")
    kind = sample.parent.name
    if kind not in ("valid", "invalid"):
        yield f"{sample}:1:1: samples are in samples/valid or samples/invalid, not in samples/{kind}"
    elif (kind == "invalid") != bool(code):
        form = "TYPE--SWX-nnnn--what" if kind == "invalid" else "TYPE--what"
        yield f"{sample}:1:1: the name must be {form} and an ending"
    elif name not in catalogue.types and not (sample.parents[2] / f"{name}.yaml").exists():
        known = yamlfile.suggest(name, catalogue.types)
        yield f"{sample}:1:1: there is no type {name!r}{known}: the name of a sample begins with its type"
    elif name in catalogue.types and name not in unsure:
        yield from _judged(sample, catalogue, name, code, on)


def _judged(sample: Path, catalogue: Catalogue, name: str, code: str, on: date) -> Iterator[str]:
    payload = sample.read_bytes()
    try:
        opened = catalogue.open_as(payload, catalogue.types[name], sample.name)
        type = catalogue.identify(opened)
    except Rejected as why:
        if why.code != code:
            yield f"{sample}:1:1: {_should(code)}, but {why}"
        return
    if type.name != name:
        yield f"{sample}:1:1: is a {type.name}: name it so, or correct it"
        return
    envelope = catalogue.read(opened, type)
    said = []
    for edition in _deciding(catalogue, type, on, envelope.version):
        found: list[Finding] = []
        if not catalogue.schema(type, edition).valid(opened):
            found = catalogue.explain(payload, type.name, edition.name)
        if sorted({one.code for one in found}) == ([code] if code else []):
            return
        said.append((edition, found))
    edition, found = said[-1]
    line = found[0].line or 1 if found else 1
    told = "; ".join(f"{one.code} {one.pointer}: {one.en}" for one in found[:3]) or "it is valid"
    cure = "" if found and not code else ": break one rule, and name that"
    yield f"{sample}:{line}:1: {_should(code)}, but in edition {edition.name!r}: {told}{cure}"


def _should(code: str) -> str:
    return f"must bring {code} and nothing else" if code else "must be valid"


def _deciding(catalogue: Catalogue, type: MessageType, on: date, version: str) -> list[Edition]:
    """Return the edition that decides on a day, and those that will later."""
    days = [on, *(edition.valid_from for edition in type.spec.editions if edition.valid_from > on)]
    return list({edition.file: edition for day in days if (edition := catalogue.edition(type, day, version))}.values())


# -- what may not be meant ---------------------------------------------------------------------------------------


def _taken(folder: Path, types: Sequence[MessageType], known: Sequence[MessageType]) -> list[tuple[bool, str]]:
    """Tell which types take the place of others of that name, and whether that is a mistake."""
    before = {type.name: type.spec.folder for type in known}
    told = []
    for type in types:
        there = before.get(type.name)
        if there is None or not type.spec.folder.is_relative_to(folder):
            continue
        ours, theirs = ("/".join(one.parts[-2:]) for one in (type.spec.folder, there))
        place = f"{type.spec.folder / type.name}.yaml:1:1: "
        if ours == theirs:
            told.append((False, f"{place}takes the place of {there / type.name}.yaml"))
        else:
            text = f"{theirs} has a type of this name: give it another, or put it in {theirs} to take that one's place"
            told.append((True, place + text))
    return told


def _remarks(folder: Path, own: Sequence[tuple[MessageType, Edition]], samples: Sequence[Path]) -> Iterator[str]:
    shown = {named["type"] for sample in samples if (named := _SAMPLE.fullmatch(sample.name)) and not named["code"]}
    for type in {type.name: type for type, _ in own if type.spec.folder.is_relative_to(folder)}.values():
        if type.name not in shown:
            yield f"{type.spec.folder / type.name}.yaml:1:1: has no valid sample that would show that it works"


def _schema_remarks(own: Sequence[tuple[MessageType, Edition]], unsure: set[str]) -> Iterator[str]:
    for file, type in _files([one for one in own if one[0].name not in unsure]).items():
        if isinstance(type.spec.format, SchemaRemarks):
            yield from type.spec.format.schema_remarks(file, type.spec.file)
