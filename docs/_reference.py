"""Reference pages: switchctl, errors, metrics, messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from unittest.mock import patch

from twisted.internet.task import Clock

from docs import _systems
from docs._page import begun, table
from exchange import catalogue, codes
from exchange.commands import reference
from exchange.commands.explain import WHO
from exchange.model import MessageType
from exchange.observability import Metrics, Probes, Pulse
from exchange.signing import expiry
from exchange.signing.expiry import Expiring

# -- switchctl ---------------------------------------------------------------------------------------------------


def switchctl() -> str:
    """Write every command."""
    with patch.dict(os.environ, {"LC_ALL": "C.UTF-8"}):
        lines = "\n".join(reference.lines()).split("\n")
    title, *rest = lines
    head = begun(title.removeprefix("# "), "exchange/commands", "The administrator's tool: `switchctl NOUN VERB`.\n")
    more = "Help is in Chinese where the locale, or `--lang zh`, says so. 中文帮助：`switchctl --lang zh --help`。\n"
    return re.sub(r"\n{3,}", "\n\n", "\n".join([head, more, *rest])).rstrip() + "\n"


# -- errors ------------------------------------------------------------------------------------------------------


def errors() -> str:
    """Write every code."""
    return "\n".join(_errors())


def _errors() -> Iterator[str]:
    yield begun(
        "Errors · 错误代码",
        "exchange/codes.yaml",
        "Every code that receipts, the journal, the log, the HTTPS interface and `switchctl` show.\n"
        "`switchctl explain CODE` prints the same, and what the codes in the authorities' own receipts mean.\n"
        "回执、日志账、日志、接口和命令行中出现的全部代码；`switchctl --lang zh explain 代码` 给出同样的说明。",
    )
    headings = _headings()
    group = ""
    for code, told in codes.known().items():
        if code[4] != group:
            group = code[4]
            yield f"## {headings[group]}\n"
        en, zh = WHO[told.who]
        yield f"### {code}\n\n**{told.en.title}** · {told.zh.title}\n"
        yield f"* {told.en.cause} {told.en.cure} Who acts: {en}."
        yield f"* {told.zh.cause}{told.zh.cure}处理人：{zh}。\n"


def _headings() -> dict[str, str]:
    """Return what each thousand of codes is about, as ``codes.yaml`` says above it."""
    found = re.findall(r"^# -- (\d)xxx: (.*?)[.]?$", codes.FILE.read_text("utf-8"), re.MULTILINE)
    return {digit: f"SWX-{digit}xxx: {text.partition('. ')[0]}" for digit, text in found}


# -- metrics -----------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Write every metric."""
    text = (
        "What `/metrics` of the operators' listener shows, in Prometheus' text format; where it listens is set by\n"
        "[`monitor`](settings.md#monitor). `/livez` and `/readyz` beside it answer 200 or 503 with JSON: alive while\n"
        "the reactor is less than five seconds late; ready while the switch is started, takes messages and has a\n"
        "routing table. A peer that is down doesn't make it unready. Gauges by endpoint or party show the 200 that\n"
        "matter most and sum the rest as `other`. The usual `process_*` metrics are there, too."
    )
    return begun("Metrics", "exchange/observability.py", text) + "\n" + table(
        ["metric", "kind", "labels", "what it tells"], _metrics()
    )  # fmt: skip


def _metrics() -> Iterator[Sequence[str]]:
    clock = Clock()
    probes = Probes(
        backlog=lambda: {"ENDPOINT": (1, 0)},
        missing=lambda: {("PARTY", "STAGE"): 1},
        unsigned=lambda: {"PARTY": 1},
        expiring=lambda: [Expiring(kind, "OWNER", "SERIAL", 0, 0) for kind in expiry.KINDS],
        now=lambda: 0,
    )
    shown = Metrics(probes, Pulse(clock))
    shown.received("KIND", "ROLE")
    shown.finished("STATE")
    shown.signing_request(200, "PARTY")
    for family in shown.collect():
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
        labels.pop("le", None)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield (
            f"`{name}`",
            family.type,
            ", ".join(f"`{one}`{_values(labels[one])}" for one in labels),
            family.documentation,
        )


def _values(values: set[str]) -> str:
    """Name the values of a label, where there are always the same."""
    fixed = sorted(value for value in values if not value.isupper())
    return f" ({', '.join(fixed)})" if fixed else ""


# -- messages ----------------------------------------------------------------------------------------------------

CERTAINTY = {
    "official": "written from the authority's published specification",
    "confirmed": "seen in real messages, without a published specification",
    "own": "of our own making, where no authority's format is known",
}


def messages() -> str:
    """Write the catalogue."""
    return "\n".join(_messages())


def _messages() -> Iterator[str]:
    known = catalogue.load()
    yield begun(
        "Messages",
        "schemas/",
        "Every message type that the switch knows. *Family* is the folder below `schemas/` that holds type, schemas\n"
        "and samples; [add a message type](../how-to/add-a-message-type.md) tells how there get to be more. Of the\n"
        "*parties* the first sends declarations and notices, and gets the receipts. *Certainty* is how sure we are:\n\n"
        + "\n".join(f"* `{name}`: {text}" for name, text in CERTAINTY.items()),
    )
    head = ["type", "", "family", "parties, direction", "format, versions", "edition", "certainty"]
    yield table(head, (_type(one, known) for one in known.types.values()))
    yield "## Keys and receipts\n"
    yield "Keys are most trusted first; a composite one is joined with `/`. *Routing* are the fields that `where:` of a"
    yield "route may ask for. *Signature* is an enveloped one in the message itself.\n"
    head = ["type", "keys", "routing", "signature", "answered by", "within", "answers"]
    yield table(head, (_keys(one, known) for one in known.types.values()))
    yield "## Systems and scenarios\n"
    yield "*Systems* are those of [systems](systems.md) that a type serves; *scenario* is the test that takes a message"
    yield "of the type through the whole daemon, with what becomes of it.\n"
    head = ["type", "systems", "scenario"]
    yield table(head, (_used(one, known) for one in known.types.values()))


def _type(type: MessageType, known: catalogue.Catalogue) -> list[str]:
    file = type.spec.file
    way = _systems.parties(type, known)
    editions = ", ".join(f"{one.name} (from {one.valid_from})" for one in file.editions)
    accepted = ["any version" if version == "*" else version for version in file.version.accepted if version]
    version = ", ".join([type.format, *accepted])
    names = f"{type.title_en} · {type.title_zh}"
    return [
        f"`{type.name}`",
        names,
        _systems.family_of(type, known),
        f"{type.kind}, {way}",
        version,
        editions,
        type.certainty,
    ]


def _keys(type: MessageType, known: catalogue.Catalogue) -> list[str]:
    file = type.spec.file
    keys = (f"`{name}` = {' / '.join(paths)}" for name, paths in file.documents.keys.items())
    fields = ", ".join(f"`{name}`" for name in known.fields(type))
    stages = [f"{stage} {_duration(seconds)}" for stage, seconds in type.deadlines]
    within = ", ".join([*stages, *([_duration(type.deadline_seconds)] if type.deadline_seconds else [])])
    answers = ", ".join(file.answers.to) if file.answers else ""
    return [f"`{type.name}`", "; ".join(keys), fields, type.signature, ", ".join(type.answered_by), within, answers]


def _used(type: MessageType, known: catalogue.Catalogue) -> list[str]:
    systems = "; ".join(f"{one['en']} · {one['zh']}" for one in _systems.of(type, known))
    scenario = _systems.scenario(type, known).removeprefix("tests/scenarios/")
    return [f"`{type.name}`", systems, f"[{scenario}](../../tests/scenarios/{scenario})" if scenario else ""]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"
