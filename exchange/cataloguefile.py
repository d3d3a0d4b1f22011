"""``schemas/`` read into message types, or every mistake in it listed at once.

Three layers: the form of each YAML, what it says, and how types refer to each other; a type is only looked at in one
when the one before found nothing wrong with it. What the files may say is told in ``exchange.catalogue``,
``exchange.editions`` and ``exchange.formats``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import evolve, field, frozen
from pydantic import ValidationError

from exchange.codesfile import ANY, Code, CodesFile, answer
from exchange.editions import SUFFIX, Added, AddedFile, edition_mistakes, left_out, same_day, timeline
from exchange.errors import ConfigurationError
from exchange.formats import Answers, Edition, Format, Reader, Title, TypeFile
from exchange.model import MessageType
from exchange.options import Strict
from exchange.yamlfile import Document, read, suggest

NOT_TYPES: Final = ("family.yaml", "codes.yaml")
Model = TypeVar("Model", bound=Strict)


class FamilyFile(Strict):
    """What the types of one family share."""

    title: Title
    personal: frozenset[str] = frozenset()
    caseless: frozenset[str] = frozenset()
    receipt_shape: str = "json"


@frozen
class Spec:
    """The instructions behind a MessageType."""

    file: TypeFile
    folder: Path
    format: Format
    reader: Reader
    codes: Mapping[str, Code] = field(repr=False)
    personal: frozenset[str] = frozenset()
    any_version: bool = False
    editions: Sequence[Edition] = ()  # the published schemas as a timeline, oldest first


@frozen
class _Entry:
    """A type's YAML, and where its parts stand in the text."""

    document: Document
    file: TypeFile
    folder: Path
    family: FamilyFile
    codes: CodesFile


def read_types(directories: Sequence[Path], formats: Mapping[str, Format]) -> list[MessageType]:
    """Read every type under *directories*, where the later one wins. Raises ConfigurationError with all mistakes."""
    types, problems = survey(directories, formats)
    if problems:
        raise ConfigurationError(problems)
    return types


def survey(directories: Sequence[Path], formats: Mapping[str, Format]) -> tuple[list[MessageType], list[str]]:
    """Read every type under *directories* that has no mistakes of its own, and list all mistakes."""
    problems: list[str] = []
    broken: set[str] = set()  # types that can't be read: what refers to them is no mistake
    known: dict[str, _Entry] = {}
    for directory in directories:
        found: dict[str, _Entry] = {}
        for entry in (entry for folder in _families(directory) for entry in _entries(folder, problems, broken)):
            first = found.setdefault(entry.file.name, entry)
            if first is not entry:
                problems.append(entry.document.problem(("name",), f"{first.document.name} is called the same"))
        known |= found
    for entry in known.values():
        if mistakes := list(_own_mistakes(entry, formats)):
            problems += mistakes
            broken.add(entry.file.name)
    for added in (added for directory in directories for added in _additions(directory, problems)):
        problems += _add(added, known, broken)
    problems += _common_mistakes(known, list(known.values()), broken)
    good = [entry for name, entry in known.items() if name not in broken]
    types = [_compiled(entry, formats[entry.file.format], problems) for entry in good]
    return _linked([type for type in types if type]), problems


def _linked(types: Sequence[MessageType]) -> list[MessageType]:
    """Let receipts answer every type that says so, too: a new type needs no change of what answers it."""
    asking: dict[str, list[str]] = defaultdict(list)
    for type in types:
        for receipt in type.answered_by:
            asking[receipt].append(type.name)
    return [
        evolve(type, answers=tuple(dict.fromkeys((*type.answers, *asking[type.name])))) if type.answers else type
        for type in types
    ]


def _additions(directory: Path, problems: list[str]) -> Iterator[Added]:
    for path in sorted(directory.glob(f"*/*/*{SUFFIX}")):
        if found := _model(path, AddedFile, problems):
            yield Added(*found, path.parent)


def _add(added: Added, known: dict[str, _Entry], broken: set[str]) -> Iterator[str]:
    """Add a site's editions to the type that they are of."""
    name, at = added.file.type, added.document.problem
    entry = known.get(name)
    if Path(added.document.name).name != f"{name}{SUFFIX}":
        yield at(("type",), f"the file of {name} must be called {name}{SUFFIX}")
    elif entry is None and name not in broken:
        yield at(("type",), f"unknown type {name!r}{suggest(name, known)}")
    elif entry is not None:
        mistakes = list(added.mistakes(entry.file))
        yield from mistakes
        if mistakes:
            broken.add(name)
        else:
            known[name] = evolve(entry, file=added.to(entry.file))


def _families(directory: Path) -> list[Path]:
    return sorted({file.parent for file in directory.glob("*/*/*.yaml")})


def _entries(folder: Path, problems: list[str], broken: set[str]) -> Iterator[_Entry]:
    paths = [path for path in sorted(folder.glob("*.yaml")) if path.name not in NOT_TYPES]
    paths = [path for path in paths if not path.name.endswith(SUFFIX)]
    if not paths:
        return  # nothing but editions of types that are described elsewhere
    family = _model(folder / "family.yaml", FamilyFile, problems)
    coded = (folder / "codes.yaml").exists()
    codes = _model(folder / "codes.yaml", CodesFile, problems) if coded else None
    models: dict[Path, Document] = {}
    for path in paths:
        found = _model(path, TypeFile, problems, models)
        if found and family and (codes or not (coded and found[1].answers)):
            yield _Entry(*found, folder, family[1], codes[1] if codes else CodesFile())
        else:
            broken.add(found[1].name if found else path.stem)


def _model(
    path: Path, model: type[Model], problems: list[str], models: dict[Path, Document] | None = None
) -> tuple[Document, Model] | None:
    """Read a file; *models* keeps those that others are ``like``, where a file may be."""
    try:
        document = read(path.read_text("utf-8"), str(path))
        if models is not None:
            document = _inherited(document, path, models)
        return document, model.model_validate(document.data)
    except ConfigurationError as why:
        problems += why.problems
    except ValidationError as why:
        problems += document.problems(why, model)
    except (OSError, UnicodeDecodeError) as why:
        problems.append(f"{path}:1:1: {why}")
    return None


def _inherited(document: Document, path: Path, models: dict[Path, Document]) -> Document:
    """Fill in what a file that is ``like`` another leaves out. Raises ConfigurationError or OSError."""
    data = document.data
    if not isinstance(data, dict) or "like" not in data:
        return document
    other = path.with_name(f"{data['like']}.yaml")
    if not other.is_file():
        known = (file.stem for file in path.parent.glob("*.yaml") if file.name not in NOT_TYPES)
        text = f"there is no {data['like']!r} here{suggest(str(data['like']), known)}"
        raise ConfigurationError([document.problem(("like",), text)])
    if other not in models:
        models[other] = read(other.read_text("utf-8"), str(other))
    base = models[other].data
    if not isinstance(base, dict) or "like" in base:
        raise ConfigurationError([document.problem(("like",), f"{data['like']} can't be a model for others")])
    return evolve(document, data=_merged(base, {name: value for name, value in data.items() if name != "like"}))


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return *base* with what *own* says otherwise, at every depth; an empty value takes something away.

    >>> _merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}, "a": None})
    {'b': {'c': 4, 'd': 3}}
    """
    merged = dict(base)
    for name, value in own.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return {name: value for name, value in merged.items() if value is not None}


def _own_mistakes(entry: _Entry, formats: Mapping[str, Format]) -> Iterator[str]:
    file, at = entry.file, entry.document.problem
    stem = Path(entry.document.name).stem
    if file.name != stem:
        yield at(("name",), f"must be the name of the file, {stem!r}")
    if file.format not in formats:
        yield at(("format",), f"unknown format {file.format!r}{suggest(file.format, formats)}")
    if (file.kind == "receipt") != (file.answers is not None):
        yield at(("kind",), "a receipt needs 'answers', and only a receipt may have them")
    if file.answers and file.answers.original and file.answers.split != "original":
        yield at(("answers", "split"), "a receipt that encloses one original goes to one sender: write 'original'")
    yield from edition_mistakes(entry.document, entry.folder, file.editions)
    yield from _version_mistakes(entry)
    yield from _code_mistakes(entry)


def _version_mistakes(entry: _Entry) -> Iterator[str]:
    """Check that for each version there is an edition, and the other way round."""
    file, at = entry.file, entry.document.problem
    for number, edition in enumerate(file.editions):
        for version in set(edition.versions) - set(file.version.accepted):
            yield at(("editions", number, "versions"), f"version {version!r} is not accepted")
        yield from (at(("editions", number, "valid_from"), text) for text in same_day(file.editions, number))
    for name, end, version in left_out(file.version.accepted, file.editions):
        of = f" for version {version!r}" if version else ""
        number = [edition.name for edition in file.editions].index(name)
        yield at(("editions", number, "valid_until"), f"nothing decides{of} from {end} on")
    if all(edition.versions for edition in file.editions):
        for version in set(file.version.accepted).difference(*(edition.versions for edition in file.editions)):
            yield at(("editions",), f"no edition is for version {version!r}")


def _code_mistakes(entry: _Entry) -> Iterator[str]:
    answers, at = entry.file.answers, entry.document.problem
    if answers is None:
        return
    unknown = [name for name in answers.table if entry.codes.table(name) is None]
    for name in unknown:
        yield at(("answers", "table"), f"codes.yaml has no table {name!r}{suggest(name, entry.codes.tables)}")
    listed = {code for name in answers.table for code in entry.codes.table(name) or ()}
    for number, code in enumerate(answers.terminal):
        if not unknown and code not in listed:
            yield at(("answers", "terminal", number), f"codes.yaml has no {' or '.join(answers.table)} {code!r}")


def _common_mistakes(
    by_name: Mapping[str, _Entry], entries: Sequence[_Entry], broken: Collection[str]
) -> Iterator[str]:
    claims: defaultdict[tuple[str, str, str, str, str], list[str]] = defaultdict(list)
    for entry in entries:
        file, at = entry.file, entry.document.problem
        for claim in _claims(file):
            if claims[claim]:
                yield at(("root",), f"{claims[claim][0]} claims the same root and version {claim[3]!r}")
            claims[claim].append(file.name)
        for number, name in enumerate(file.answered_by):
            if name in by_name or name not in broken:
                yield from _link_mistake(entry, ("answered_by", number), name, by_name, receipt=True)
        for number, name in enumerate(file.answers.to if file.answers else ()):
            if name in by_name or name not in broken:
                yield from _link_mistake(entry, ("answers", "to", number), name, by_name, receipt=False)
        yield from _stage_mistakes(entry, by_name)


def _stage_mistakes(entry: _Entry, by_name: Mapping[str, _Entry]) -> Iterator[str]:
    """Check that some receipt speaks of each stage, and that it must come before the last word."""
    file, at = entry.file, entry.document.problem
    if not file.deadlines:
        return
    answering = [by_name[name] for name in file.answered_by if name in by_name]
    known = {stage for receipt in answering for stage in _stages(receipt)}
    for stage, seconds in file.deadlines.items():
        if stage not in known:
            yield at(("deadlines", stage), f"no receipt speaks of a stage {stage!r}{suggest(stage, known)}")
        if file.deadline_seconds is not None and seconds >= file.deadline_seconds:
            yield at(("deadlines", stage), f"must be less than deadline_seconds, {file.deadline_seconds:g}")


def _stages(receipt: _Entry) -> Iterator[str]:
    for name in receipt.file.answers.table if receipt.file.answers else ():
        yield from (row.stage for row in (receipt.codes.table(name) or {}).values())


def _claims(file: TypeFile) -> Iterator[tuple[str, str, str, str, str]]:
    """Iterate over what only one type may have: a beginning, a version, and what tells it apart."""
    for root in file.root.ways():
        for version in file.version.accepted:
            yield file.format, root.namespace, root.name, version, str(file.root.marks)


def _link_mistake(
    entry: _Entry, place: tuple[str | int, ...], name: str, by_name: Mapping[str, _Entry], *, receipt: bool
) -> Iterator[str]:
    """Check that the other type exists, is of the right kind, and can be found by a key that both have."""
    other = by_name.get(name)
    if other is None:
        yield entry.document.problem(place, f"unknown type {name!r}{suggest(name, by_name)}")
    elif (other.file.kind == "receipt") != receipt:
        yield entry.document.problem(place, f"{name} is {'no' if receipt else 'a'} receipt")
    elif not set(entry.file.documents.keys) & set(other.file.documents.keys):
        yield entry.document.problem(place, f"{name} has no key in common with {entry.file.name}")


def _compiled(entry: _Entry, format: Format, problems: list[str]) -> MessageType | None:
    file = entry.file
    codes = _codes(entry.codes, file.answers) if file.answers else {}
    exact = file.answers.text_code if file.answers else 0
    try:
        reader = format.reader(file, entry.family.caseless, partial(answer, codes, exact))
    except ValueError as why:
        problems += [
            entry.document.problem(find(entry.document.data, path), f"{path!r} is no path") for path in why.args
        ]
        return None
    return MessageType(
        name=file.name,
        format=file.format,
        kind=file.kind,
        title_zh=file.title.zh,
        title_en=file.title.en,
        certainty=file.certainty,
        signature=file.signature,
        answered_by=file.answered_by,
        answers=file.answers.to if file.answers else (),
        deadline_seconds=file.deadline_seconds,
        deadlines=tuple(sorted(file.deadlines.items(), key=lambda item: item[1])),
        receipt_shape=entry.family.receipt_shape,
        spec=Spec(
            file,
            entry.folder,
            format,
            reader,
            codes,
            entry.family.personal,
            file.version.accepts(ANY),
            timeline(file.editions),
        ),
    )


def _codes(file: CodesFile, answers: Answers) -> dict[str, Code]:
    codes: dict[str, Code] = {}
    if "status" in answers.table:
        codes |= {code: Code(code, "port", "error", True, row.zh, row.en) for code, row in file.errors.items()}
    for name in reversed(answers.table):  # the first that lists a code counts
        for code, row in (file.table(name) or {}).items():
            codes[code] = Code(code, row.stage, row.outcome, code in answers.terminal, row.zh, row.en)
    return codes


def find(data: object, value: str, path: tuple[str | int, ...] = ()) -> tuple[str | int, ...]:
    """Return where *value* stands in *data*, or an empty path."""
    if data == value:
        return path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return next((found for key, item in items if (found := find(item, value, (*path, key)))), ())
