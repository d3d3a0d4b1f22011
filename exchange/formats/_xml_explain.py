"""Say in words what an XSD finds wrong with a document: every error, where it is and what to do, in two languages.

libxml2, which gives the verdict, stops looking into an element at its first structural error; here nothing is left
out. Costs milliseconds, and a third of a second the first time: meant for a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import xmlschema
from lxml import etree
from zope.interface import implementedBy

from exchange.formats._xml_faults import Fault, fault_of_libxml2, faults, faults_of_libxml2
from exchange.formats._xml_parse import examined, large, parse
from exchange.formats._xml_schema import XSD, declared, judged, schema_tree
from exchange.formats._xml_stream import Stream, errors
from exchange.formats._xml_words import EMPTY, RULES, masked
from exchange.model import Finding

LIMIT: Final = 50
LINE: Final = 1024  # characters; in longer ones a fault isn't looked for more exactly

# xmlschema reads every attribute of its classes. Once anything in the process has declared interfaces for a Sequence
# (parts of Twisted do), they inherit one that raises when read; having their own, they inherit none.
for _class in (xmlschema.XMLSchema, type(xmlschema.XMLSchema.meta_schema)):
    implementedBy(_class)


def explain(payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
    """List up to 50 findings, by line. Raises Unreadable where the payload isn't XML."""
    if large(payload):
        return _of_stream(examined(payload), file, unsigned, personal)
    root = judged(parse(payload), declared(etree.parse(file)))
    namespace = etree.QName(root).namespace or ""
    found: dict[Fault, None] = {}
    structured: set[Any] = set()
    for error in schema_of(file, unsigned=unsigned, namespace=namespace).iter_errors(root):
        if isinstance(error, xmlschema.XMLSchemaChildrenValidationError):
            if error.elem in structured:
                continue
            structured.add(error.elem)
        found.update(dict.fromkeys(faults(error)))
        if len(found) >= LIMIT:
            break
    if not found:
        found = dict.fromkeys(faults_of_libxml2(root, schema_tree(file, unsigned=unsigned, namespace=namespace)))
    labels = _labels(file)
    findings = [_worded(fault, labels, personal) for fault in found]
    return sorted(findings, key=lambda finding: finding.line or 0)[:LIMIT]


def _of_stream(stream: Stream, file: Path, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
    """Tell what libxml2 finds first, where no tree can be held that the others could be found in."""
    namespace = etree.QName(stream.tag).namespace or ""
    schema = etree.XMLSchema(schema_tree(file, unsigned=unsigned, namespace=namespace))
    told = islice(errors(stream, schema, LINE), 2 * LIMIT)  # of a value it says what is wrong, and that it is wrong
    first = {
        (fault.line, fault.name): fault
        for fault in reversed([fault_of_libxml2(stream.tag, line, message) for line, message in told])
    }
    return [_worded(fault, _labels(file), personal) for fault in list(reversed(first.values()))[:LIMIT]]


@cache
def schema_of(file: Path, *, unsigned: bool = False, namespace: str = "") -> xmlschema.XMLSchema:
    """Compile an XSD by xmlschema. Raises XMLSchemaException, OSError."""
    text = etree.tostring(schema_tree(file, unsigned=unsigned, namespace=namespace), encoding="unicode")
    return xmlschema.XMLSchema(text, base_url=file.parent.as_uri(), allow="local")


def _worded(fault: Fault, labels: Mapping[str, tuple[str, str]], personal: frozenset[str]) -> Finding:
    empty = fault.rule == "minLength" and not fault.value
    code, en, zh = RULES[EMPTY if empty else fault.rule]
    name = fault.name.removeprefix("@")
    around = fault.parent.rpartition("/")[2].partition("[")[0]
    zh_label, en_label = labels.get(f"{around}/{fault.name}") or labels.get(fault.name) or ("", name)
    en_limit, zh_limit = (fault.limit, fault.limit) if isinstance(fault.limit, str) else fault.limit
    en_what = name if en_label == name else f"{name} ({en_label})"
    return Finding(
        code=code,
        rule=fault.rule,
        pointer=f"{fault.parent}/{fault.name}{fault.position}",
        en=en.format(what=en_what, limit=en_limit, actual=fault.actual),
        zh=zh.format(what=f"{zh_label} {name}".strip(), limit=zh_limit, actual=fault.actual),
        line=fault.line,
        value=masked(fault.value, personal=name in personal),
    )


@cache
def _labels(file: Path) -> dict[str, tuple[str, str]]:
    """Collect the labels (Chinese, English) of elements and attributes from the documentation in an XSD."""
    labels: dict[str, tuple[str, str]] = {}
    for tree in _closure(file, set()):
        for node in tree.iter(f"{XSD}element", f"{XSD}attribute"):
            zh, _, en = (node.findtext(f"{XSD}annotation/{XSD}documentation") or "").strip().partition(" / ")
            name = ("@" if node.tag == f"{XSD}attribute" else "") + node.get("name", "")
            owner = next((around.get("name") for around in node.iterancestors() if around.get("name")), "")
            if en:
                labels.setdefault(name, (zh, en))
                labels[f"{owner}/{name}"] = zh, en
    return labels


def _closure(file: Path, seen: set[Path]) -> Iterator[etree._ElementTree]:
    if file not in seen:
        seen.add(file)
        tree = etree.parse(file)
        yield tree
        for node in tree.iter(f"{XSD}include", f"{XSD}import"):
            if location := node.get("schemaLocation"):
                yield from _closure(file.parent / location, seen)
