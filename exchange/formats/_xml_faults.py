"""Find every fault that an XSD sees in a document, as values without words.

xmlschema names the faults in texts and attributes. Of the children of an element it reports one after the other and
loses some; what is missing, superfluous or out of order among them is worked out here, all at once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import xmlschema
from attrs import frozen
from lxml import etree
from xmlschema import validators as xsd

from exchange.formats._xml_words import TYPES

NAME_LIMIT: Final = 64  # characters of a name that a pointer shows

Element = Any  # lxml's; its stubs leave out half of what is needed here

_FACETS: Final[dict[type, str]] = {
    xsd.XsdLengthFacet: "length",
    xsd.XsdMinLengthFacet: "minLength",
    xsd.XsdMaxLengthFacet: "maxLength",
    xsd.XsdPatternFacets: "pattern",
    xsd.XsdEnumerationFacets: "enumeration",
    xsd.XsdTotalDigitsFacet: "totalDigits",
    xsd.XsdFractionDigitsFacet: "fractionDigits",
    xsd.XsdMinInclusiveFacet: "minInclusive",
    xsd.XsdMaxInclusiveFacet: "maxInclusive",
    xsd.XsdMinExclusiveFacet: "minExclusive",
    xsd.XsdMaxExclusiveFacet: "maxExclusive",
}
_ATTRIBUTE = re.compile(r"attribute ([^\s=]+)=")
_QUOTED = re.compile(r"(?:The value )?'.*' is", re.DOTALL)  # a value stays out of what is said, it may be personal
_ELEMENT = re.compile(r"Element '([^']+)'")
_NAMESPACE = re.compile(r"\{[^}]*\}")

Limit = str | tuple[str, str]  # the same in both languages, or English and Chinese


@frozen
class Fault:
    """One error before it is put into words; *name* is the element's or, with an @, the attribute's."""

    rule: str
    parent: str  # pointer of the element around it
    name: str
    position: str = ""  # [2] where there are several
    line: int | None = None
    value: str = ""
    limit: Limit = ""
    actual: int = 0


def faults(error: xmlschema.XMLSchemaValidationError) -> Iterator[Fault]:
    """Say what one error of xmlschema amounts to; a structural one stands for all of the same element."""
    element: Element = error.elem
    validator = error.validator
    if isinstance(validator, xsd.XsdGroup):
        if isinstance(error, xmlschema.XMLSchemaChildrenValidationError):
            yield from _structure(element, validator, error)
        else:
            yield _fault("text", element)
    elif isinstance(validator, xsd.XsdAttributeGroup):
        yield from _attributes(element, validator)
    elif isinstance(validator, xsd.XsdElement):
        yield from _element(element, validator, error)
    else:
        yield _value(element, validator, error)


def _fault(rule: str, element: Element, **more: Any) -> Fault:
    parent, _, step = _pointer(element).rpartition("/")
    name, bracket, number = step.partition("[")
    return Fault(rule, parent, name, bracket + number, element.sourceline, **more)


def _structure(element: Element, group: xsd.XsdGroup, error: Any) -> Iterator[Fault]:
    """Compare the children of *element* with the elements its schema asks for, in this order or in any."""
    particles = _particles(group)
    if particles is None:
        yield from _otherwise(element, group, error)
        return
    rank = {particle.name: number for number, particle in enumerate(particles)}
    children = list(element.iterchildren(etree.Element))
    known = [child for child in children if child.tag in rank]
    counts = Counter(child.tag for child in known)
    for particle in particles:
        if counts[particle.name] < particle.min_occurs:
            after = (child for child in known if rank[child.tag] > rank[particle.name])
            line = next(after, children[-1] if children else element).sourceline
            yield Fault("required", _pointer(element), local(particle.name), line=line)
        elif particle.max_occurs is not None and counts[particle.name] > particle.max_occurs:
            surplus = [child for child in known if child.tag == particle.name][particle.max_occurs]
            yield _fault("occurs", surplus, limit=str(particle.max_occurs), actual=counts[particle.name])
    for child in children:
        if child.tag not in rank:
            yield _fault("unexpected", child)
    ordered = group.model == "sequence"
    for number in _misplaced([rank[child.tag] for child in known]) if ordered else ():
        yield _fault("order", known[number], limit=_place(particles, rank[known[number].tag]))


def _particles(group: xsd.XsdGroup) -> list[Any] | None:
    """Return the elements of a plain sequence, or of one in any order; None where the content is anything else."""
    if group.model not in ("sequence", "all"):
        return None
    particles: list[Any] = []
    for particle in group:
        if isinstance(particle, xsd.XsdElement):
            particles.append(particle)
        elif isinstance(particle, xsd.XsdGroup) and particle.min_occurs == particle.max_occurs == 1:
            inner = _particles(particle) if particle.model == group.model else None
            if inner is None:
                return None
            particles += inner
        else:
            return None
    return particles if len({particle.name for particle in particles}) == len(particles) else None


def _misplaced(ranks: Sequence[int]) -> list[int]:
    """Return the fewest positions without which *ranks* never falls.

    >>> _misplaced([3, 0, 1, 1, 2])
    [0]
    """
    tails: list[int] = []  # lowest rank that ends a rising run of each length
    lengths = []
    for rank in ranks:
        length = bisect_right(tails, rank)
        tails[length : length + 1] = [rank]
        lengths.append(length)
    misplaced, wanted = [], len(tails) - 1
    for number in range(len(ranks) - 1, -1, -1):
        if lengths[number] == wanted:
            wanted -= 1
        else:
            misplaced.append(number)
    return misplaced[::-1]


def _place(particles: Sequence[Any], rank: int) -> Limit:
    if rank + 1 == len(particles):
        return "at the end", "位于最后"
    following = local(particles[rank + 1].name)
    return f"before {following}", f"位于 {following} 之前"


def _otherwise(element: Element, group: xsd.XsdGroup, error: Any) -> Iterator[Fault]:
    names = {particle.name for particle in group.iter_elements() if isinstance(particle, xsd.XsdElement)}
    unknown = [child for child in element.iterchildren(etree.Element) if child.tag not in names]
    if unknown and not any(isinstance(particle, xsd.XsdAnyElement) for particle in group.iter_elements()):
        yield from (_fault("unexpected", child) for child in unknown)
    elif error.invalid_child is not None:
        yield _fault("unexpected", error.invalid_child)
    else:
        expected = " | ".join(local(particle.name or "*") for particle in error.expected or ())
        yield Fault("required", _pointer(element), expected, line=element.sourceline)


def _attributes(element: Element, group: xsd.XsdAttributeGroup) -> Iterator[Fault]:
    pointer = _pointer(element)
    for name, attribute in group.items():
        if name and attribute.use == "required" and name not in element.attrib:
            yield Fault("attribute", pointer, f"@{local(name)}", line=element.sourceline)
    for name in map(str, element.attrib):
        if name not in group:
            yield Fault("superfluous", pointer, f"@{local(name)}", line=element.sourceline)


def _element(element: Element, declared: xsd.XsdElement, error: Any) -> Iterator[Fault]:
    value = element.text or ""
    if len(element):
        for child in element.iterchildren(etree.Element):
            yield _fault("unexpected", child)
    elif declared.fixed is not None and value != declared.fixed:
        yield _fault("fixed", element, value=value, limit=declared.fixed)
    else:
        yield _fault("schema", element, limit=str(error.reason))


def _value(element: Element, validator: Any, error: Any) -> Fault:
    """Tell which facet or data type a text, or an attribute that the error names, doesn't satisfy."""
    attribute = _ATTRIBUTE.match(error.reason or "")
    value = (element.get(attribute[1]) if attribute else element.text) or ""
    kind = local(getattr(validator, "name", None) or getattr(validator, "__name__", "").removesuffix("_validator"))
    rule = _FACETS.get(type(validator)) or ("type" if kind else "schema")
    limit: Limit = str(error.reason)
    if rule == "type":
        limit = TYPES.get(kind, kind)
    elif rule == "enumeration":
        limit = ", ".join(map(str, validator.enumeration[:20]))
    elif rule == "pattern":
        limit = " | ".join(validator.regexps)
    elif rule != "schema":
        limit = str(validator.value)
    if attribute:
        where = _pointer(element), f"@{local(attribute[1])}"
        return Fault(rule, *where, line=element.sourceline, value=value, limit=limit, actual=len(value))
    return _fault(rule, element, value=value, limit=limit, actual=len(value))


def faults_of_libxml2(root: Element, tree: etree._ElementTree) -> Iterator[Fault]:
    """Repeat what libxml2 says by an XSD, for the few documents that only it refuses."""
    schema = etree.XMLSchema(tree)
    schema.validate(root)
    log: Any = schema.error_log
    for entry in log:
        found = root.getroottree().xpath(entry.path, namespaces=_prefixes(root))
        yield _fault("schema", found[0] if found else root, limit=_reason(entry.message))


def fault_of_libxml2(root: str, line: int, message: str) -> Fault:
    """Repeat what libxml2 says of a document that is nowhere held: of which element, and on which line."""
    named = _ELEMENT.match(message)
    return Fault(
        "schema", f"/{local(root)}/...", local(named[1]) if named else local(root), line=line, limit=_reason(message)
    )


def _reason(message: str) -> str:
    return _QUOTED.sub("the value is", _NAMESPACE.sub("", message).rpartition(": ")[2])


def _prefixes(root: Element) -> dict[str, str]:
    return {prefix: uri for element in root.iter(etree.Element) for prefix, uri in element.nsmap.items() if prefix}


def local(name: str) -> str:
    return _NAMESPACE.sub("", name)[:NAME_LIMIT]


def _pointer(element: Element) -> str:
    root = element.getroottree().getroot()
    path = root.getroottree().getelementpath(element)
    below = "" if path == "." else "".join(f"/{_short(step)}" for step in _NAMESPACE.sub("", path).split("/"))
    return f"/{local(str(root.tag))}{below}"


def _short(step: str) -> str:
    name, bracket, number = step.partition("[")
    return name[:NAME_LIMIT] + bracket + number
