"""Changes to an XML message, one at a time or a few together, as a Hypothesis strategy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

from hypothesis import strategies as st
from lxml import etree

XSI: Final = "{http://www.w3.org/2001/XMLSchema-instance}"
CEB: Final = "{http://www.chinaport.gov.cn/ceb}"
NAMESPACES: Final = ("", CEB, "{http://www.chinaport.gov.cn/CEB}", "{http://www.w3.org/2000/09/xmldsig#}")
ATTRIBUTES: Final = (
    "guid", "version", "Id", "URI", "Algorithm", "other", f"{CEB}guid", f"{XSI}nil", f"{XSI}type",
    f"{XSI}schemaLocation", "{http://www.w3.org/XML/1998/namespace}lang",
)  # fmt: skip
VALUES: Final = (
    # numbers: at the edge, too long, in forms that look like numbers
    "0", "-1", "1.5", "+7", "007", "1.", ".5", "1e3", "INF", "NaN", "1,5", "１２", "99999", "100000", "999999999",
    "1000000000", "2147483647", "2147483648", "1.12345", "1.123456", "12345678901234.12345", "123456789012345.12345",
    # codes and enumerated values
    "142", "502", "1", "3", "I", "E", "A", "S", "9610", "1210", "9710", "9810",
    # characters: what counts as one, and what is blank
    "测试", "测" * 4, "𠮷", "𠮷" * 18, "e\u0301", "\u3000", "\ufeff", "a b", " 7 ", "\t", "\n", "  a\n b  ", "&<>\"'",
)  # fmt: skip
LONGEST: Final = (
    0,
    1,
    3,
    4,
    6,
    8,
    10,
    14,
    17,
    18,
    19,
    20,
    30,
    32,
    36,
    37,
    50,
    60,
    64,
    80,
    100,
    200,
    250,
    255,
    500,
    510,
    1000,
)
EDGES: Final = tuple("N" * length for length in sorted({one for edge in LONGEST for one in (edge, edge + 1)}))
Mutate = Callable[[Callable[..., Any], Any, list[str]], str]


def _delete(draw: Any, element: Any, names: list[str]) -> str:
    element.getparent().remove(element)
    return "gone"


def _duplicate(draw: Any, element: Any, names: list[str]) -> str:
    copies = draw(st.sampled_from([1, 1, 1, 4, 5, 98, 99, 100]))
    for _ in range(copies):
        element.addnext(copy.deepcopy(element))
    return f"{copies} copies"


def _swap(draw: Any, element: Any, names: list[str]) -> str:
    if element.getnext() is not None:
        element.getnext().addnext(element)
    return "after its neighbor"


def _move(draw: Any, element: Any, names: list[str]) -> str:
    parent = element.getparent()
    parent.insert(draw(st.integers(0, len(parent))), element)
    return "moved"


def _rename(draw: Any, element: Any, names: list[str]) -> str:
    element.tag = draw(st.sampled_from([*names, f"{element.tag}X", element.tag.swapcase()]))
    return f"as {element.tag}"


def _namespace(draw: Any, element: Any, names: list[str]) -> str:
    element.tag = draw(st.sampled_from(NAMESPACES)) + etree.QName(element).localname
    return f"as {element.tag}"


def _empty(draw: Any, element: Any, names: list[str]) -> str:
    element.text = None
    return "empty"


def _stretch(draw: Any, element: Any, names: list[str]) -> str:
    more = draw(st.sampled_from(["0", "测", " ", "\n"])) * draw(st.sampled_from([1, 2, 3, 19, 20, 40, 80, 2000]))
    element.text = (element.text or "").strip() + more
    return f"longer by {len(more)}"


def _cut(draw: Any, element: Any, names: list[str]) -> str:
    text = (element.text or "").strip()
    element.text = text[: draw(st.integers(0, len(text)))] or None
    return f"{element.text!r}"


def _length(draw: Any, element: Any, names: list[str]) -> str:
    element.text = draw(st.sampled_from("N5测")) * draw(
        st.sampled_from([1, 2, 3, 4, 5, 8, 10, 14, 17, 18, 19, 20, 30, 32, 36, 37, 50, 60, 64, 80, 100, 250, 1000])
        | st.integers(1, 120)
    )
    return f"of length {len(element.text)}"


def _value(draw: Any, element: Any, names: list[str]) -> str:
    element.text = draw(st.sampled_from(VALUES))
    return f"{element.text!r}"


def _attribute(draw: Any, element: Any, names: list[str]) -> str:
    name = draw(st.sampled_from(ATTRIBUTES))
    element.set(name, draw(st.sampled_from(["", "x", "true", "1.0", "0" * 36])))
    return f"with {name}"


def _root_attribute(draw: Any, element: Any, names: list[str]) -> str:
    root = element.getroottree().getroot()
    name, value = draw(st.sampled_from(["guid", "version"])), draw(st.none() | st.integers(0, 37))
    if value is None:
        root.attrib.pop(name, None)
    else:
        root.set(name, "0" * value)
    return f"root's {name} of length {value}"


def _remark(draw: Any, element: Any, names: list[str]) -> str:
    node = draw(st.sampled_from([etree.Comment("测试"), etree.ProcessingInstruction("测试", "1")]))
    element.append(copy.copy(node))
    return "with a remark inside"


def _text_around(draw: Any, element: Any, names: list[str]) -> str:
    element.tail = draw(st.sampled_from(["x", " ", "\u3000"]))
    return f"followed by {element.tail!r}"


CHANGES: Final[tuple[Mutate, ...]] = (
    _delete, _duplicate, _swap, _move, _rename, _namespace, _empty, _stretch, _cut, _length, _value, _attribute,
    _root_attribute, _remark, _text_around,
)  # fmt: skip


@st.composite
def mutants(draw: Any, root: Any) -> tuple[str, Any]:
    """Draw a changed copy of a message and what was changed: one thing mostly, sometimes up to three."""
    mutant = copy.deepcopy(root)
    names = sorted({element.tag for element in root.iter(etree.Element)})
    told = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        elements = list(mutant.iter(etree.Element))[1:]
        if not elements:
            break
        element = elements[draw(st.integers(0, len(elements) - 1))]
        name = etree.QName(element).localname
        told.append(f"{name} {draw(st.sampled_from(CHANGES))(draw, element, names)}")
    return "; ".join(told), mutant


def forms(root: Any) -> Iterator[str]:
    """Put every field, and how often it and its parents occur, through every edge; it is *root* that changes.

    Yields what is different just now.
    """
    for element in list({_place(element): element for element in root.iter(etree.Element)}.values())[1:]:
        name, before, above = etree.QName(element).localname, element.text, element.getparent()
        for value in (*VALUES, *EDGES) if not len(element) else ():
            element.text = value or None  # as a parser has it: an empty text would count as content
            yield f"{name} {value[:40]!r} ({len(value)})"
        element.text = before
        for count in (1, 4, 5, 98, 99, 100):
            copies = [copy.deepcopy(element) for _ in range(count)]
            for one in copies:
                element.addnext(one)
            yield f"{name} {count + 1} times"
            for one in copies:
                above.remove(one)
        at = above.index(element)
        above.remove(element)
        yield f"no {name}"
        above.insert(at, element)


def _place(element: Any) -> tuple[str, ...]:
    return (*(str(around.tag) for around in element.iterancestors()), str(element.tag))


def trimmed(root: Any, documents: int = 2) -> Any:
    """Leave out all but so many of the documents: more would only cost time."""
    for extra in root.findall(root[0].tag)[documents:]:
        root.remove(extra)
    return root
