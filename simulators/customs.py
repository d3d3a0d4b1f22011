"""The simulated customs: takes cross-border e-commerce messages and answers as customs would, or worse, on request.

::

    python -m simulators.customs --folder-in DIR --folder-out DIR
    python -m simulators.customs --amqp URL --consume QUEUE --publish QUEUE

What each type is answered with is data: ``customs.yaml``. What breaks its schema is answered with a CEB900Message,
and where certificates are given, an inventory that isn't signed by one of them is refused (-621029 验签失败).

It misbehaves where a number in a document asks for it, as a payment sandbox does, or by chance (``--misbehave
KIND[:SHARE]``)::

    kind       number ends in   what happens
    silence    -SILENT          no answer at all
    delay      -LATE            everything comes 20 seconds late
    duplicate  -DUP             each receipt comes twice
    order      -ORDER           the last receipt comes first
    reject     -REJ             customs sends it back: 100, with a text of real receipts
    error      -ERR             the port can't process it: a negative code
    garbage    -GARBAGE         the last receipt is cut short
    unknown    -UNKNOWN         a status that is in no list comes in between

The engine is pure: the same message, moment and seed give the same receipts. 模拟海关：按规则应答，可按要求出错。
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from attrs import frozen
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from lxml import etree

from exchange import catalogue
from exchange.catalogue import Catalogue
from exchange.errors import BadSignature, Invalid, Rejected, Unidentified
from exchange.formats import Opened
from exchange.instants import SECOND, Instant, show_instant
from exchange.model import MessageType
from exchange.ports import microseconds
from exchange.signing.faults import MISSING
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import verify
from simulators import _customs_rules
from simulators._customs_files import CEB, Receipt, Return, cased, element, files, format_error, new_guid, return_time
from simulators._customs_lines import AmqpLine, FolderLine, Line
from simulators._customs_rules import Rules, Says, Source, Step, TypeRules
from simulators._misbehaviors import MISBEHAVIORS, Case, Course, asked_for


@frozen(kw_only=True)
class Customs:
    """Answers messages, and keeps nothing of them."""

    rules: Rules
    types: Catalogue
    certificates: Sequence[bytes] = ()  # DER, of those who may have signed; none: signatures aren't looked at
    shares: Mapping[str, float] = {}  # misbehavior -> share of documents, 0 to 1
    seed: int = 0
    pace: float = 1.0  # stretches every delay
    window_seconds: float = 0.0  # what is due in the same window shares files ...
    batch: int = 100  # ... of at most so many records, whoever they are for
    later: bool = False  # whether tax bills and results of summaries follow

    def answer(self, body: bytes, at: Instant) -> list[Receipt]:
        """Return every receipt to a message that came in at *at*, in the order they are due."""
        return self.write(self.returns(body, at))

    def write(self, returns: Sequence[Return]) -> list[Receipt]:
        """Write returns, of whatever messages, into files."""
        return files(returns, self.batch)

    def returns(self, body: bytes, at: Instant) -> list[Return]:
        """Return what will be said about each document of a message that came in at *at*."""
        name = "Unknown"
        try:
            opened = self.types.open(body)
            type = self.types.identify(opened)
            name = type.name
            rules = self._rules_of(type)
            self._require_valid(opened, type, at)
        except Rejected as why:
            told = "；".join([why.zh, *(f"{finding.pointer}：{finding.zh}" for finding in why.findings)])
            record, due = format_error(body, name, told, at), self._windowed(at)
            return [Return(due, "CEB900Message", new_guid(body, due), record, of_port=True, alone=True)]
        fault = self._signature_fault(opened, type, rules, at)
        documents = opened.tree.iterfind(f"{{{CEB}}}{rules.document}")
        return [one for document in documents for one in self._answered(document, rules, fault, at)]

    def _rules_of(self, type: MessageType) -> TypeRules:
        if type.name not in self.rules.types:
            raise Unidentified(f"customs takes no {type.name}", f"海关不接收 {type.name}")
        return self.rules.types[type.name]

    def _require_valid(self, opened: Opened, type: MessageType, at: Instant) -> None:
        day = datetime.fromtimestamp(at // SECOND, UTC).date()
        version = self.types.read(opened, type).version
        if not self.types.valid(opened, type, on=day, version=version, unsigned=True):
            edition = self.types.edition(type, day, version).name
            raise Invalid(findings=self.types.explain(opened.payload, type.name, edition, unsigned=True))

    def _signature_fault(self, opened: Opened, type: MessageType, rules: TypeRules, at: Instant) -> Says | None:
        if not (rules.signature and self.certificates):
            return None
        try:
            behind, profiles = type.spec.file.behind_signature, PROFILES.values()
            verify(opened.tree, profiles=profiles, certificates=self.certificates, at=at, behind=behind)
        except BadSignature as why:
            return rules.signature.missing if why.code == MISSING else rules.signature.wrong
        return None

    # -- one document --------------------------------------------------------------------------------------------

    def _answered(self, document: Any, rules: TypeRules, fault: Says | None, at: Instant) -> Iterator[Return]:
        normal = self.rules.courses[rules.course]
        facts = _facts(document)
        chance = random.Random(f"{self.seed}/{facts['guid'].upper()}")  # noqa: S311 - the same every time
        today = show_instant(at)[:10]
        facts |= {"serial": f"{chance.randrange(10**9):09d}", "day": today.replace("-", ""), "year": today[:4]}
        always = [name for name, source in rules.fields.items() if source.always]
        step, said = normal[0], {}
        for step in self._course(document, rules, fault, chance):
            due = self._windowed(at + round(step.after * self.pace * SECOND))
            of_port = step.status in self.rules.port or step.status.startswith("-")
            said = {name: _value(document, source, facts, _done(normal, step)) for name, source in rules.fields.items()}
            said["guid"] = cased(said["guid"], of_port)
            said |= {"returnStatus": step.status, "returnTime": return_time(due)}
            said["returnInfo"] = step.info.format_map(facts)
            guid = new_guid(self.seed, facts["guid"], step.status, due)
            record = element(rules.record, said.items(), always)
            yield Return(due, rules.receipt, guid, record, of_port, step.copies, step.whole)
        if self.later and step is normal[-1]:
            yield from self._later(rules, facts | said, at)

    def _later(self, rules: TypeRules, facts: Mapping[str, str], at: Instant) -> Iterator[Return]:
        for one in rules.later:
            due = self._windowed(at + round(one.after * self.pace * SECOND))
            guid = new_guid(self.seed, facts["guid"], one.receipt, due)
            given = {name: escape(value) for name, value in facts.items()}
            record = one.record.format_map(defaultdict(str, given | {"guid": guid, "returnTime": return_time(due)}))
            yield Return(due, one.receipt, guid, record)

    def _course(self, document: Any, rules: TypeRules, fault: Says | None, chance: random.Random) -> Course:
        course = self.rules.courses[rules.course]
        if fault:
            return (course[0].saying(fault),)
        kind = asked_for([_text(document, path) for path in rules.magic], self.shares, chance)
        return kind.bend(course, Case(rules, self.rules.unlisted, chance)) if kind else course

    def _windowed(self, at: Instant) -> Instant:
        """Return the end of the window that *at* lies in."""
        window = round(self.window_seconds * SECOND)
        return -(-at // window) * window if window else at


def _text(document: Any, path: str) -> str:
    return document.findtext("/".join(f"{{{CEB}}}{part}" for part in path.split("/"))) or ""


def _facts(document: Any) -> dict[str, str]:
    """Return the text of every leaf by its name; where a name occurs again, the first one counts."""
    facts: dict[str, str] = defaultdict(str)
    for leaf in document.iter("{*}*"):
        facts.setdefault(etree.QName(leaf).localname, leaf.text or "")
    return facts


def _done(normal: Course, step: Step) -> Sequence[str]:
    """Return the statuses of the normal course that are behind a document at *step*; none where it left the course."""
    statuses = [one.status for one in normal]
    return statuses[: statuses.index(step.status) + 1] if step.status in statuses else ()


def _value(document: Any, source: Source, facts: Mapping[str, str], done: Sequence[str]) -> str:
    """Return a field as the document has it, or as customs gives it by now."""
    given = source.give if not source.since or source.since in done else ""
    return _text(document, source.copy_) or given.format_map(facts)


# -- the program -------------------------------------------------------------------------------------------------


def serve(customs: Customs, line: Line, now: Callable[[], Instant], stopping: Callable[[], bool]) -> None:
    """Take messages and send what is due, until told to stop; what isn't due by then is never sent."""
    waiting: list[Return] = []
    while not stopping():
        for body in line.take():
            waiting += customs.returns(body, now())
        moment = now()
        for receipt in customs.write([one for one in waiting if one.at <= moment]):
            line.put(receipt)
        waiting = [one for one in waiting if one.at > moment]
        line.rest()


def _share(text: str) -> tuple[str, float]:
    kind, _, share = text.partition(":")
    if kind not in MISBEHAVIORS or not 0 <= float(share or 1) <= 1:
        raise argparse.ArgumentTypeError(f"write KIND or KIND:SHARE, SHARE 0 to 1, KIND {', '.join(MISBEHAVIORS)}")
    return kind, float(share or 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("simulators.customs", description="A simulated customs · 模拟海关")
    option = parser.add_argument
    option("--folder-in", type=Path, help="take messages from this directory · 从该目录取报文")
    option("--folder-out", type=Path, help="put receipts there · 回执写入该目录")
    option(
        "--amqp", metavar="URL", help="or use a broker; log in as SIMULATOR_USER, SIMULATOR_PASSWORD · 或使用消息队列"
    )
    option("--consume", metavar="QUEUE", help="take messages from this queue · 从该队列取报文")
    option("--publish", metavar="QUEUE", help="put receipts there · 回执写入该队列")
    option("--certificate", type=Path, action="append", default=[], metavar="PEM", help="of a signer · 签名证书")
    option("--misbehave", type=_share, action="append", default=[], metavar="KIND[:SHARE]",
           help=f"of a share of documents: {', '.join(MISBEHAVIORS)} · 按比例出错")  # fmt: skip
    option("--pace", type=float, default=1.0, help="stretch every delay; 0: at once · 时延倍率")
    option("--window", type=float, default=0.0, metavar="SECONDS", help="join what is due within · 合并时间窗")
    option("--batch", type=int, default=100, metavar="N", help="records in one file at most · 每个文件的最多记录数")
    option("--later", action="store_true", help="send tax bills and results of summaries, too · 另发税单和汇总结果")
    option("--seed", type=int, default=0, help="for what happens by chance · 随机种子")
    return parser


def _line(arguments: argparse.Namespace) -> Line:
    if arguments.amqp and arguments.consume and arguments.publish:
        return AmqpLine(arguments.amqp, arguments.consume, arguments.publish)
    if arguments.folder_in and arguments.folder_out:
        return FolderLine(arguments.folder_in, arguments.folder_out)
    sys.exit("give --folder-in and --folder-out, or --amqp, --consume and --publish · 请给出目录或队列")


def _der(path: Path) -> bytes:
    return load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def main() -> None:
    """Answer until SIGTERM or SIGINT."""
    arguments = _parser().parse_args()
    customs = Customs(
        rules=_customs_rules.load(),
        types=catalogue.load(),
        certificates=[_der(path) for path in arguments.certificate],
        shares=dict(arguments.misbehave),
        seed=arguments.seed,
        pace=arguments.pace,
        window_seconds=arguments.window,
        batch=arguments.batch,
        later=arguments.later,
    )
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    try:
        serve(customs, _line(arguments), microseconds, lambda: bool(stopped))
    except ConnectionError as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
