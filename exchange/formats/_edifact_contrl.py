"""Writing CONTRL, the syntax and service report: what became of an interchange, and what is wrong in it (ISO 9735-4).

Action codes (0083): 4 rejected with everything in it; 7 acknowledged, with the messages that aren't rejected one by
one; 8 received, nothing more. UCI repeats sender, recipient and reference as they were; the interchange that CONTRL
travels in goes the other way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from exchange.formats._edifact_envelope import Interchange, Message, Payload
from exchange.formats._edifact_text import CHARSETS, DEFAULT, Element, Separators, component
from exchange.model import Finding

INVALID_VALUE, MISSING = "12", "13"  # of 0085
UNANSWERED: Final = frozenset(("CONTRL", "APERAK"))
ASKED: Final[Mapping[str, str]] = {"1": "7", "2": "8"}  # acknowledgement request (0031) -> action where all is well
MOST_SEGMENTS: Final = 999  # UCS in a message
MOST_ELEMENTS: Final = 99  # UCD in a segment
UNSPECIFIED: Final = "18"
_POINTER: Final = re.compile(
    r"UNB\[(?P<interchange>[0-9]+)\](?:/(?P<message>UNH\[(?P<number>[0-9]+)\])?"
    r"(?:/?(?P<tag>[A-Z0-9]{3})(?:\[[0-9]+\])?)?(?:/?(?P<element>[0-9]+)(?:\.(?P<part>[0-9]+))?)?)?"
)
_SERVICE: Final = frozenset(("UNB", "UNZ", "UNG", "UNE", "UNH", "UNT", "UNA"))
_CUT: Final = re.compile(r"UNH[^A-Za-z0-9][^\r\n]{1,40}?[^A-Za-z0-9](CONTRL|APERAK)")


@frozen
class Verdict:
    """What to report: *code* (0085) says why all of it is rejected; empty means that nothing is."""

    reference: str  # of the interchange that CONTRL travels in: an..14
    day: str  # YYYYMMDD
    time: str  # HHMM
    code: str = ""
    findings: Sequence[Finding] = ()
    version: str = ""  # S009 after the type: D:3:UN; empty: by the syntax version of what is answered
    wanted: str = "as-asked"  # always | errors | never | as-asked: by the acknowledgement request (0031)


def answerable(payload: Payload) -> bool:
    """Tell whether CONTRL may answer: never what is an acknowledgement itself, even one that is cut off."""
    kinds = {message.kind.partition(":")[0] for message in payload.messages}
    if not payload.messages and (found := _CUT.search(payload.text)):
        kinds.add(found[1])
    return bool(payload.interchanges) and not kinds & UNANSWERED


def asked(payload: Payload) -> str:
    """Return the action that acknowledges what is in order, as the sender asked for (0031); empty: not at all."""
    wishes = {component(interchange.header, 9) for interchange in payload.interchanges}
    return ASKED.get(min(wishes, default=""), "") if len(wishes) == 1 else "7" if "1" in wishes else ""


def contrl(payload: Payload, verdict: Verdict) -> bytes:
    """Write one interchange with one CONTRL for each that is answered."""
    subject = payload.interchanges[0]
    separators = Separators(repetition="*") if subject.version == "4" else DEFAULT
    segments = [_header(subject, verdict)]
    for number, interchange in enumerate(payload.interchanges, 1):
        body = list(_report(interchange, verdict, asked(payload)))
        version = verdict.version or ("4:1:UN" if subject.version == "4" else "D:3:UN")
        segments.append([_one("UNH"), _one(str(number)), [["CONTRL", *version.split(":")]]])
        segments += body
        segments.append([_one("UNT"), _one(str(len(body) + 2)), _one(str(number))])
    segments.append([_one("UNZ"), _one(str(len(payload.interchanges))), _one(verdict.reference)])
    una = DEFAULT.una() if subject.una else ""
    text = una + "".join(f"{separators.join(segment)}{separators.terminator}\r\n" for segment in segments)
    return text.encode("latin-1", "replace")  # values are copied from headers, which were read as Latin-1


def _header(subject: Interchange, verdict: Verdict) -> list[Element]:
    day = verdict.day if subject.version == "4" else verdict.day[2:]
    syntax = _copied(subject.header, 1) if subject.syntax in CHARSETS else [["UNOA", "3"]]
    header = [
        _one("UNB"), syntax, _copied(subject.header, 3), _copied(subject.header, 2),
        [[day, verdict.time]], _one(verdict.reference),
    ]  # fmt: skip
    if test := component(subject.header, 11):
        header += [_one("")] * 5 + [_one(test)]
    return header


def _report(interchange: Interchange, verdict: Verdict, asked_for: str) -> Iterator[list[Element]]:
    """Yield UCI, and UCM with UCS and UCD for every message that has something wrong."""
    whole, messages = _sorted(interchange, verdict.findings)
    header, action = interchange.header, ("4" if verdict.code or whole or messages else asked_for or "7")
    uci = [
        _one("UCI"), _one(component(header, 5)), _copied(header, 2), _copied(header, 3), _one(action),
    ]  # fmt: skip
    if whole:
        uci += _error(whole[0])
    elif verdict.code and not messages:
        uci.append(_one(verdict.code))
    yield uci
    group = None
    for number, found in sorted(messages.items()):
        message = interchange.messages[number - 1]
        if message.group is not None and message.group is not group:
            group = message.group
            yield [_one("UCF"), _one(component(group, 5)), _copied(group, 2), _copied(group, 3), _one("4")]
        yield from _message(message, found)


def _sorted(
    interchange: Interchange, findings: Sequence[Finding]
) -> tuple[list[tuple[Finding, re.Match[str]]], dict[int, list[tuple[Finding, re.Match[str]]]]]:
    """Sort findings by what they are about: the interchange itself, or one of its messages by number."""
    whole: list[tuple[Finding, re.Match[str]]] = []
    messages: dict[int, list[tuple[Finding, re.Match[str]]]] = defaultdict(list)
    for finding in findings:
        found = _POINTER.fullmatch(finding.pointer)
        if found is None or int(found["interchange"]) != interchange.number or finding.severity != "error":
            continue
        number = int(found["number"] or 0)
        if 0 < number <= len(interchange.messages):
            messages[number].append((finding, found))
        else:
            whole.append((finding, found))
    return whole, messages


def _message(message: Message, found: list[tuple[Finding, re.Match[str]]]) -> Iterator[list[Element]]:
    ucm = [_one("UCM"), _one(component(message.header, 1)), _copied(message.header, 2), _one("4")]
    own = [one for one in found if one[1]["tag"] in (None, *_SERVICE)]
    if own:
        ucm += _error(own[0])
    yield ucm
    by_segment: dict[int, list[tuple[Finding, re.Match[str]]]] = defaultdict(list)
    for one in found:
        if one not in own:
            by_segment[max(1, (one[0].line or 0) - message.line + 1)].append(one)
    for position, errors in sorted(by_segment.items())[:MOST_SEGMENTS]:
        segment = next((_code(finding) for finding, at in errors if not at["element"]), "")
        yield [_one("UCS"), _one(str(position)), *([_one(segment)] if segment else [])]
        for finding, at in [one for one in errors if one[1]["element"]][:MOST_ELEMENTS]:
            yield [_one("UCD"), _one(_code(finding)), _place(at)]


def _error(one: tuple[Finding, re.Match[str]]) -> list[Element]:
    """Return code, service segment and place (0085, 0135, S011) of an error in the envelope."""
    finding, at = one
    tag = at["tag"] or ("UNH" if at["message"] else "UNB")
    error = [_one(_code(finding)), _one(tag if tag in _SERVICE else "UNB")]
    return [*error, _place(at)] if at["element"] else error


def _code(finding: Finding) -> str:
    """Return the code (0085) of a finding: EDIFACT's own are called so; others are what a map misses, or can't take."""
    return finding.rule if finding.rule.isdigit() else MISSING if finding.rule == "required" else INVALID_VALUE


def _place(at: re.Match[str]) -> Element:
    """Return S011, in which the tag is at position 1."""
    position = str(int(at["element"]) + 1)
    return [[position, at["part"]] if at["part"] else [position]]


def _one(text: str) -> Element:
    return [[text]]


def _copied(header: list[Element], element: int) -> Element:
    return header[element] if element < len(header) else _one("")
