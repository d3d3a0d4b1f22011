"""XSDs as sets of files: what belongs to one, what is wrong with it, and which paths of a type it has no place for.

For those who install schemas; no message waits for this. Nothing is fetched: what a set refers to lies in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import xmlschema
from lxml import etree

from exchange.formats import TypeFile
from exchange.formats._xml_explain import schema_of
from exchange.formats._xml_schema import XSD, adapts, compiled
from exchange.yamlfile import suggest

SHOWN: Final = 20  # mistakes of one schema: what follows from a missing file is endless
CURE: Final = "take the set from its publisher anew, complete and unchanged"
_EXTERNAL: Final = re.compile(r"<!ENTITY\s[^>]*?\b(?:SYSTEM|PUBLIC)\b")
_REFERRING: Final = tuple(f"{XSD}{name}" for name in ("include", "import", "redefine"))


def files(main: Path, within: Path) -> tuple[list[Path], list[str]]:
    """Return the files that an XSD consists of, all of which must lie *within* a folder, and what is wrong."""
    found: dict[Path, None] = {}
    problems: list[str] = []
    waiting = [main.resolve()]
    while waiting:
        file = waiting.pop(0)
        if file not in found:
            found[file] = None
            waiting += _references(file, within.resolve(), problems)
    return list(found), problems


def _references(file: Path, within: Path, problems: list[str]) -> list[Path]:
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
    try:
        tree = etree.parse(file, parser)
        text = file.read_bytes().decode(tree.docinfo.encoding or "utf-8", "replace")
    except etree.XMLSyntaxError as why:
        line, column = why.position
        problems.append(f"{file}:{line}:{max(column, 1)}: {why.msg}: {CURE}")
        return []
    except (OSError, LookupError) as why:
        problems.append(f"{file}:1:1: can't be read: {why}")
        return []
    if outside := _EXTERNAL.search(text):
        line = text.count("\n", 0, outside.start()) + 1
        problems.append(f"{file}:{line}:1: an entity from another file is not read: write its text there")
    if tree.getroot().tag != f"{XSD}schema":
        problems.append(f"{file}:1:1: is no XML Schema, but begins with {tree.getroot().tag}")
    references = []
    for node in tree.iter(*_REFERRING):
        if location := node.get("schemaLocation"):
            mistake, path = _resolved(file, location.strip(), within)
            if mistake:
                line, column = _place(text, int(str(node.sourceline or 1)), location)
                problems.append(f"{file}:{line}:{column}: {mistake}")
            else:
                references.append(path)
    return references


def _resolved(file: Path, location: str, within: Path) -> tuple[str, Path]:
    """Return what is wrong with a schemaLocation, or the file that it names."""
    name = location.rpartition("/")[2]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", location):
        return f"{location} is on a network, and nothing is fetched: put {name} beside this file, and name it so", file
    if "\\" in location:
        return f"{location} is written for another system: use / in it", file
    path = next((one for one in (file.parent / location, file.parent / unquote(location)) if one.is_file()), None)
    absolute = (path or file.parent / location).resolve()
    if location.startswith("/") or not absolute.is_relative_to(within):
        return f"{location} is outside of the set: add the folder that holds both", file
    if path is None:
        beside = [one.name for one in absolute.parent.glob("*.xsd")]
        return f"there is no {location}{suggest(name, beside)}: add it to the set", file
    return "", absolute


def _place(text: str, line: int, word: str) -> tuple[int, int]:
    """Return line and column of a word in the tag that ends on or begins in a line."""
    lines = text.splitlines()
    for number in (line, *range(line + 1, line + 5), *range(line - 1, line - 5, -1)):
        if 0 < number <= len(lines) and (column := lines[number - 1].find(word)) >= 0:
            return number, column + 1
    return line, 1


def mistakes(file: Path) -> list[str]:
    """List why an XSD can't be compiled, neither to judge nor to explain."""
    try:
        compiled(file, unsigned=False)
    except ValueError as why:
        return _of_libxml2(file) or [f"{file}:1:1: {why}: {CURE}"]
    try:
        schema_of(file)
    except (xmlschema.XMLSchemaException, OSError) as why:
        return [f"{file}:1:1: messages that break it can't be explained: {str(why).partition(chr(10))[0]}: {CURE}"]
    return []


def _of_libxml2(file: Path) -> list[str]:
    try:
        etree.XMLSchema(etree.parse(file))
    except etree.LxmlError as why:
        log: Any = why.error_log
        said = [f"{_path(e.filename, file)}:{max(e.line, 1)}:{max(e.column, 1)}: {_plain(e.message)}: {CURE}"
                for e in log]  # fmt: skip
        return list(dict.fromkeys(said))[:SHOWN]
    return []


def _path(name: str | None, file: Path) -> str:
    return unquote((name or "").removeprefix("file://")) if name and name != "<string>" else str(file)


def _plain(message: str) -> str:
    return " ".join(message.replace(XSD, "xs:").split()).removesuffix(".")


# -- paths -------------------------------------------------------------------------------------------------------


def unknown(file: Path, type: TypeFile) -> list[str]:
    """Name the paths of a type that an XSD has no place for; the root's own name, where it isn't declared."""
    root = _root(file, type)
    if root is None:
        return [type.root.name]
    documents = type.documents
    start = list(_at(root, _steps(documents.element)))
    if not start:
        return [documents.element]
    whole = [type.own_id, type.sender, type.receivers, *type.version.path, *type.fields.values()]
    whole += [path for path, _ in type.root.marks]
    each = [path for paths in documents.keys.values() for path in paths] + list(documents.fields.values())
    if type.answers:
        each += [*type.answers.code, *type.answers.text, type.answers.original]
    whole += [path[1:] for path in each if path.startswith("/")]
    missing = [path for path in whole if not _found([root], path)]
    missing += [path for path in each if not path.startswith("/") and not _found(start, path)]
    return list(dict.fromkeys(path if path in (*whole, *each) else f"/{path}" for path in missing))


def _root(file: Path, type: TypeFile) -> Any:
    tree = etree.parse(file)
    for namespace in (type.root.namespace, *type.root.other_namespaces):
        schema = schema_of(file, namespace=namespace if adapts(tree) else "")
        name = f"{{{namespace}}}{type.root.name}" if namespace else type.root.name
        if (element := schema.maps.elements.get(name)) is not None:
            return element
    return None


def _found(starts: Sequence[Any], path: str) -> bool:
    names, _, attribute = path.partition("@")
    ends = [end for start in starts for end in _at(start, _steps(names.strip("/")))]
    return any(end is None or not attribute or _has(end, attribute) for end in ends)


def _has(element: Any, attribute: str) -> bool:
    known = getattr(element, "attributes", {})
    return attribute in known or None in known  # None: whatever attribute


def _steps(path: str) -> list[str]:
    return path.split("/") if path else []


def _at(element: Any, steps: Sequence[str]) -> Iterator[Any]:
    """Yield the declarations at the end of a path; None where anything may stand."""
    if not steps:
        yield element
        return
    content: Any = getattr(element.type, "content", None)
    if element.type.is_simple() or not hasattr(content, "iter_elements"):
        if element.type.name == f"{XSD}anyType":
            yield None
        return
    for child in content.iter_elements():
        if not isinstance(child, xmlschema.XsdElement):
            yield None  # a wildcard
        elif child.local_name == steps[0]:
            yield from _at(child, steps[1:])
