"""Official schemas put into a site's own folder: checked first, then there as a whole or not at all.

What is written lies beside its place until it is complete and on disk; one rename puts it there. The schemas that come
with the switch are never touched. A switch that runs goes on with what it has read until it is told to read anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from exchange import yamlfile
from exchange.catalogue import SCHEMAS, Catalogue, load
from exchange.checking import check, schema_mistakes
from exchange.editions import SUFFIX, AddedFile, left_out
from exchange.errors import ConfigurationError, NotFound, Refused
from exchange.formats import Edition, SchemaSets, TypeFile
from exchange.model import MessageType
from exchange.unpacking import unpacked
from exchange.yamlfile import suggest

WORKSHOP: Final = ".adding"  # in a site's folder: what isn't there yet; too deep for anybody to take it for a type
_NAME: Final = re.compile(r"\w[\w.-]{0,63}")
HEAD: Final = "# Editions of {} that this site added, or ended: written by switchctl schema add and retire.\n"


@frozen
class Site:
    """Where types come from: the folders of a site, of which one takes what is new."""

    folders: Sequence[Path]
    into: Path = field()

    @into.validator
    def _own(self, _: Any, value: Path) -> None:
        if value.resolve().is_relative_to(SCHEMAS.resolve()):
            raise Refused(
                f"{value} comes with the switch and is not changed: add to a folder of your own",
                f"{value} 随交换机发布，不得修改：请安装到本单位的目录",
            )

    def catalogue(self) -> Catalogue:
        """Return what is installed. Raises ConfigurationError."""
        return load(SCHEMAS, *self.folders)


# -- an edition --------------------------------------------------------------------------------------------------


def add_edition(site: Site, source: Path, main: str, type_name: str, edition: Mapping[str, Any]) -> MessageType:
    """Install a schema, with the files that it refers to, as an edition of a type; return the type with it.

    *main* names the schema in a folder or zip that holds several files; *edition* is its row in the YAML, but for the
    file. Raises ConfigurationError with every mistake; then nothing is changed.
    """
    type = _type(site.catalogue(), type_name)
    if not _NAME.fullmatch(edition["name"]):
        raise ConfigurationError([f"--edition: {edition['name']!r} must be letters, digits, '.', '-' and '_'"])
    set_name = f"{type.name}-{edition['name']}"
    with _workshop(site.into) as shop, unpacked(source, shop) as (root, shown):
        files, problems = _set_of(type, _main(root, main, shown), root)
        _stop(problems, shown)
        there = (root if root.is_dir() else root.parent).resolve()
        place = shop / "new" / Path(*_family(type))
        _keep((file, place / set_name / file.relative_to(there)) for file in files)
        row = {**edition, "file": f"{set_name}/{files[0].relative_to(there)}"}
        _stop(schema_mistakes(place / row["file"], type, place / set_name), shown)  # it may have needed more
        _check_row(site, type, row, place)
        folder = site.into / Path(*_family(type))
        _make(folder)
        _refuse_used(folder / set_name, type)
        os.rename(place / set_name, folder / set_name)
        _sync(folder)
        before = _added(folder, type)
        _replace(folder, _written(before, type.name, editions=(*_rows(before), row)), shop, type)
    return site.catalogue().types[type.name]


def _type(catalogue: Catalogue, name: str) -> MessageType:
    if name not in catalogue.types:
        raise NotFound(f"no message type {name!r}{suggest(name, catalogue.types)}", f"没有报文类型 {name!r}")
    return catalogue.types[name]


def _family(type: MessageType) -> tuple[str, str]:
    return type.spec.folder.parts[-2:]  # type: ignore[no-any-return]


def _main(root: Path, name: str, shown: Callable[[str], str]) -> Path:
    if root.is_file():
        return root
    known = [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]
    if name and name not in known:
        raise ConfigurationError([shown(f"{root}:1:1: has no {name!r}{suggest(name, known)}")])
    if not name and len(known) != 1:
        few = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        raise ConfigurationError([shown(f"{root}:1:1: holds {len(known)} files: say which with --file ({few})")])
    return root / (name or known[0])


def _set_of(type: MessageType, main: Path, root: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a set, its main one first, and everything that is wrong with it as a schema of a type."""
    format, file, within = type.spec.format, type.spec.file, root if root.is_dir() else root.parent
    problems = schema_mistakes(main, type, within)
    if not isinstance(format, SchemaSets):
        return [main], problems
    problems = problems or [_no_place(main, path, file) for path in format.unknown_paths(main, file)]
    return format.schema_files(main, within)[0], problems


def _no_place(main: Path, path: str, file: TypeFile) -> str:
    if path == file.root.name:
        wanted = f"{{{file.root.namespace}}}{path}" if file.root.namespace else path
        return f"{main}:1:1: declares no element {wanted}: is it the schema of another type, or version?"
    return f"{main}:1:1: has no place for {path!r}, where {file.name} is read: describe the type anew in your folder"


def _check_row(site: Site, type: MessageType, row: Mapping[str, Any], place: Path) -> None:
    """Read everything as it will be. Raises ConfigurationError, in words of who adds."""
    path = place / f"{type.name}{SUFFIX}"
    path.write_text(_written(None, type.name, editions=(row,)), "utf-8")
    try:
        load(SCHEMAS, *site.folders, place.parents[1])
    except ConfigurationError as why:
        own = re.compile(re.escape(str(path)) + r":\d+:\d+: editions\[0\]")
        raise ConfigurationError([own.sub(f"{type.name} {row['name']}", p) for p in why.problems]) from None
    path.unlink()


def _refuse_used(folder: Path, type: MessageType) -> None:
    """Make room for a set: what lies there was left by somebody who was interrupted, unless an edition uses it."""
    used = [one.name for one in type.spec.file.editions if (type.spec.folder / one.file).is_relative_to(folder)]
    if used:
        raise Refused(f"{folder} is that of edition {used[0]}", f"{folder} 已被版本 {used[0]} 使用")
    if folder.exists():
        shutil.rmtree(folder)


# -- the end of one ----------------------------------------------------------------------------------------------


def retire(folders: Sequence[Path], type_name: str, edition: str, day: date) -> MessageType:
    """Let an edition of the site decide no more from a day on. Raises NotFound; Refused where nothing is left."""
    type = _type(load(SCHEMAS, *folders), type_name)
    file: TypeFile = type.spec.file
    names = [one.name for one in file.editions]
    if edition not in names:
        raise NotFound(f"{type.name} has no edition {edition!r}{suggest(edition, names)}", f"没有版本 {edition!r}")
    path = type.spec.folder / file.editions[names.index(edition)].file
    into = next((folder for folder in folders if path.is_relative_to(folder)), None)
    if into is None:
        raise Refused(
            f"edition {edition} comes with the switch: add one that is valid from {day} on instead",
            f"版本 {edition} 随交换机发布：请改为安装自 {day} 起生效的版本",
        )
    ended = [one.model_copy(update={"valid_until": day}) if one.name == edition else one for one in file.editions]
    for _, end, version in left_out(file.version.accepted, ended):
        of = f" of version {version!r}" if version else ""
        raise Refused(
            f"nothing would decide about {type.name}{of} from {end} on: add an edition first",
            f"自 {end} 起 {type.name} 将没有可用的版本：请先安装新版本",
        )
    folder = into / Path(*_family(type))
    before = _added(folder, type)
    with _workshop(into) as shop:
        retired = {**(before.retired if before else {}), edition: day}
        _replace(folder, _written(before, type.name, editions=_rows(before), retired=retired), shop, type)
    return load(SCHEMAS, *folders).types[type.name]


# -- a family ----------------------------------------------------------------------------------------------------


def add_family(site: Site, source: Path, on: date) -> Path:
    """Install a whole family, AUTHORITY/FAMILY in a folder or zip; return where it lies now.

    Raises ConfigurationError with every mistake, Refused where there is a family of that name; nothing is changed then.
    """
    with _workshop(site.into) as shop, unpacked(source, shop) as (root, shown):
        families = sorted({path.parent for depth in ("*/*", "*/*/*") for path in root.glob(f"{depth}/family.yaml")})
        if len(families) != 1:
            found = ", ".join(one.name for one in families) or "none"
            text = f"must hold one family as AUTHORITY/FAMILY/family.yaml, but holds {found}"
            raise ConfigurationError([shown(f"{root}:1:1: {text}")])
        (family,) = families
        authority, name = family.parts[-2:]
        place = shop / "new" / authority / name
        _keep((path, place / path.relative_to(family)) for path in sorted(family.rglob("*")) if path.is_file())
        _stop(
            [problem.replace(f"{place}/", f"{family}/") for problem in check(shop / "new", site.folders, on).problems],
            shown,
        )
        folder = site.into / authority / name
        if folder.exists():
            raise Refused(
                f"{folder} is there already: move it away first, or add an edition to one of its types",
                f"{folder} 已存在：请先移走，或为其中的类型安装新版本",
            )
        _make(folder.parent)
        os.rename(place, folder)
        _sync(folder.parent)
    return folder


# -- files -------------------------------------------------------------------------------------------------------


def _stop(problems: Sequence[str], shown: Callable[[str], str]) -> None:
    if problems:
        raise ConfigurationError([shown(problem) for problem in problems])


@contextmanager
def _workshop(into: Path) -> Iterator[Path]:
    """Give a folder on the same disk, to one at a time; what others left in it when they were killed goes."""
    _make(into)
    home = into / WORKSHOP
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("somebody else is adding schemas just now", "他人正在安装报文规范，请稍后再试") from None
        for left in home.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
        shop = Path(tempfile.mkdtemp(dir=home))
        try:
            yield shop
        finally:
            shutil.rmtree(shop)


def _keep(files: Iterable[tuple[Path, Path]]) -> None:
    """Copy files and have all of them on disk, and their folders."""
    folders: set[Path] = set()
    for source, target in files:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        _sync(target)
        folders.add(target.parent)
    for folder in folders:
        _sync(folder)


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _added(folder: Path, type: MessageType) -> AddedFile | None:
    path = folder / f"{type.name}{SUFFIX}"
    if not path.exists():
        return None
    return AddedFile.model_validate(yamlfile.read(path.read_text("utf-8"), str(path)).data)


def _rows(file: AddedFile | None) -> tuple[Mapping[str, Any], ...]:
    return tuple(_row(one) for one in file.editions) if file else ()


def _row(edition: Edition) -> dict[str, Any]:
    return edition.model_dump(exclude_defaults=True)


def _written(
    before: AddedFile | None,
    type: str,
    *,
    editions: Sequence[Mapping[str, Any]],
    retired: Mapping[str, date] | None = None,
) -> str:
    """Write the YAML of what a site added: each row on a line, every text in quotes."""
    ends = retired if retired is not None else before.retired if before else {}
    lines = [HEAD.format(type), f"type: {_quoted(type)}\n"]
    lines += ["editions:\n", *(f"  - {_flow(row)}\n" for row in editions)] if editions else []
    lines += [f"retired: {_flow(ends)}\n"] if ends else []
    return "".join(lines)


def _flow(row: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{_quoted(name)}: {_quoted(value)}" for name, value in row.items()) + "}"


def _quoted(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def _replace(folder: Path, text: str, shop: Path, type: MessageType) -> None:
    """Put the YAML in place: from here on the change is made."""
    path = shop / "written"
    path.write_text(text, "utf-8")
    _sync(path)
    os.replace(path, folder / f"{type.name}{SUFFIX}")
    _sync(folder)
