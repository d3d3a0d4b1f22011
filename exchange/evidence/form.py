"""What an evidence file looks like: a zip of a few entries, a manifest that lists them, and what stands in each.

The manifest is the last entry but for its own signature and time stamp, and says nothing that isn't so by the rest: who
reads it can write it anew, byte for byte. docs/reference/evidence.md is this module in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import asdict, frozen
from pydantic import BaseModel, ConfigDict, Field

from exchange.instants import Instant
from exchange.options import Strict
from exchange.signinglog import Operation, Proof, Row

FORMAT: Final = "switch-evidence/1"
MANIFEST: Final = "manifest.json"
STATEMENT: Final = "manifest-signature.xml"
STAMP: Final = "manifest-timestamp.tsr"
README: Final = "README.txt"
GENERATIONS: Final = "generations.json"
LOG: Final = "signing-log.json"

WHAT: Final[Mapping[str, tuple[str, str]]] = {
    "readme": ("what this file is, for people", "本文件的说明"),
    "certificate": ("certificate of a signer, DER", "签名者证书（DER）"),
    "generations": ("the routing tables that decided: number and SHA-256", "作出处理决定的路由表：代次与 SHA-256"),
    "facts": ("what the switch knew of the message", "交换机记录的报文要素"),
    "journal": ("journal of the message, one line for each event", "报文的日志账，每个事件一行"),
    "original": ("the message as it was received, byte for byte", "收到的报文原件，逐字节不变"),
    "sent": ("what was sent instead of the original: signed or transformed", "代替原件发送的内容：已签名或已转换"),
    "log": ("rows of the signing log, and what links them to later ones", "签名日志的行及其与后续行的链接"),
}

TEXT: Final = """\
EVIDENCE OF ONE MESSAGE OF A MESSAGE SWITCH

This file holds a message as the switch received it, whatever the switch sent instead of it (signed or transformed), the
receipts that answered it, the certificates of who signed, the journal of what happened and when, and the rows of the
switch's signing log. manifest.json lists every entry with its SHA-256.

To check it, with no switch and no network:   switchctl evidence verify THIS-FILE.zip
Or by hand:
1. The SHA-256 of each entry is what manifest.json says of it, and no entry is missing or added.
2. manifest-signature.xml, where there is one, is signed (W3C XML Signature) and names the SHA-256 of manifest.json.
   manifest-timestamp.tsr, where there is one, is a time stamp (RFC 3161) over manifest.json.
3. An XML signature in original or sent/N stands, and its certificate is one of certificates/.
4. Take the ds:Signature out of sent/N, and what is left is original, byte for byte.
5. In signing-log.json, "digest" is the SHA-256 of the canonical SignedInfo, and "signature" that of the signature
   value. The link of a row is SHA-256(link of the row before || SHA-256(content)). Whoever noted a link of the switch
   at a later time can follow "contents" up to it: what is here can't have been made up afterwards.

本文件是报文交换机一份报文的证据包

内含：交换机收到的报文原件、代替原件发送的内容（已签名或已转换）、对它的回执、签名者证书、全过程日志账，以及交换机签名日志的相关
行。manifest.json 列出每个条目及其 SHA-256。

核验（无需交换机，无需联网）：   switchctl evidence verify 本文件.zip
或人工核验：
1. 每个条目的 SHA-256 与 manifest.json 所列一致，条目不缺不多。
2. 如有 manifest-signature.xml：其 XML 签名有效，且所载 SHA-256 即 manifest.json 的摘要。
   如有 manifest-timestamp.tsr：它是对 manifest.json 的时间戳（RFC 3161）。
3. original 或 sent/N 中的 XML 签名有效，其证书在 certificates/ 中。
4. 从 sent/N 中取出 ds:Signature，余下的即 original，逐字节相同。
5. signing-log.json 中 digest 为规范化 SignedInfo 的 SHA-256，signature 为签名值的 SHA-256；每行的 link 为
   SHA-256(上一行的 link || SHA-256(内容))。凡事后记录过该交换机某个 link 的人，都可沿 contents 推算至该值：
   此处的内容不可能是事后编造的。
"""


# -- the manifest ------------------------------------------------------------------------------------------------


class Entry(Strict):
    """One entry of the file."""

    name: str
    what: str
    en: str
    zh: str
    size: int
    sha256: str


class Manifest(Strict):
    """What is in the file; *signature* and *timestamp* name the entries about the manifest, or nothing."""

    format: str
    message: str
    signature: str
    timestamp: str
    entries: Sequence[Entry]

    def dumped(self) -> bytes:
        """Return the manifest as it is written."""
        return dumped(self.model_dump())


def entry(name: str, what: str, size: int, digest: bytes) -> Entry:
    """Return the line of the manifest for an entry."""
    en, zh = WHAT[what]
    return Entry(name=name, what=what, en=en, zh=zh, size=size, sha256=digest.hex())


def dumped(document: Any) -> bytes:
    """Write a document for people and programs: always the same bytes."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


# -- what the switch knew ----------------------------------------------------------------------------------------


class Form(Strict):
    """One delivery; *entry* is what travelled."""

    number: int
    endpoint: str
    party: str
    type: str
    disposition: str
    name: str
    refers_to: str
    entry: str


class Said(Strict):
    """What one record of a receipt says about a document of the message."""

    record: int
    keys: Mapping[str, str]
    document: int
    code: str
    stage: str
    outcome: str


class Facts(Strict):
    """What the switch knew of a message; of a receipt, only what concerns the message that the file is about."""

    id: str
    at: str
    endpoint: str
    party: str
    name: str
    size: int
    sha256: str
    type: str
    sender: str
    own_id: str
    wrappers: Sequence[str]
    documents: Sequence[Mapping[str, str]]  # keys of each; of a receipt, none
    said: Sequence[Said]  # of a receipt
    deliveries: Sequence[Form]
    gone: Sequence[str]  # receipts that retention took


class Noted(BaseModel):
    """One finding of a journal line."""

    model_config = ConfigDict(extra="allow", frozen=True)

    code: str = ""


class Detail(BaseModel):
    """What a journal line says beside, as the store has it; these fields are looked at."""

    model_config = ConfigDict(extra="allow", frozen=True)

    code: str = ""
    generation: int = 0
    operations: Sequence[int] = ()  # rows of the signing log
    steps: Sequence[str] = ()  # "endpoint: step version, step version"
    findings: Sequence[Noted] = ()
    receipt: str = ""  # what it says about which document:
    document: int = 0
    stage: str = ""
    outcome: str = ""


class Line(Strict):
    """One line of a journal."""

    at: str
    event: str
    delivery: int | None
    actor: str
    detail: Detail

    def dumped(self) -> bytes:
        """Return the line as it is written."""
        return orjson.dumps(self.model_dump(exclude_unset=True)) + b"\n"


class Generation(Strict):
    """One routing table."""

    number: int
    at: str
    sha256: str


# -- the signing log ---------------------------------------------------------------------------------------------


class LogRow(Strict):
    """One row; the fields up to *attempts*, as a JSON list without blanks, are its content."""

    number: int
    at: Instant
    job: str
    party: str
    profile: str
    key: str
    serial: str
    device: str
    digest: str = Field(pattern="^[0-9a-f]*$")
    signature: str = Field(pattern="^[0-9a-f]*$")
    code: str
    microseconds: int
    attempts: int
    link: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, row: Row) -> LogRow:
        """Return a row as it is written."""
        one = asdict(row.operation)
        one |= {"digest": row.operation.digest.hex(), "signature": row.operation.signature.hex()}
        return cls(number=row.number, link=row.link.hex(), **one)

    def row(self) -> Row:
        """Return the row that was written. Raises ValueError."""
        one = self.model_dump(exclude={"number", "link"})
        one |= {"digest": bytes.fromhex(self.digest), "signature": bytes.fromhex(self.signature)}
        return Row(self.number, Operation(**one), bytes.fromhex(self.link))


class LogProof(Strict):
    """What leads from the row before *first* to a later link."""

    first: int = Field(ge=1)
    before: str = Field(pattern="^[0-9a-f]{64}$")
    contents: Sequence[str] = Field(max_length=1000)

    @classmethod
    def of(cls, proof: Proof) -> LogProof:
        """Return a proof as it is written."""
        return cls(first=proof.first, before=proof.before.hex(), contents=[one.hex() for one in proof.contents])

    def proof(self) -> Proof:
        """Return the proof that was written. Raises ValueError."""
        return Proof(self.first, bytes.fromhex(self.before), [bytes.fromhex(one) for one in self.contents])


class Log(Strict):
    """The rows of the message, in order, and the proofs that they are in."""

    rows: Sequence[LogRow]
    proofs: Sequence[LogProof]


@frozen
class Folder:
    """Where the entries of one message stand: of the one that the file is about, or of a receipt."""

    path: str = ""  # ends in a slash, or is empty

    @classmethod
    def receipt(cls, id: str) -> Folder:
        """Return the folder of a receipt."""
        return cls(f"receipts/{id}/")

    @property
    def facts(self) -> str:
        """The entry with what the switch knew."""
        return f"{self.path}message.json"

    @property
    def journal(self) -> str:
        """The entry with the journal."""
        return f"{self.path}journal.jsonl"

    @property
    def original(self) -> str:
        """The entry with the bytes as they were received."""
        return f"{self.path}original"

    def sent(self, number: int) -> str:
        """Return the entry with the bytes of a delivery that aren't the original's."""
        return f"{self.path}sent/{number}"


def certificate(fingerprint: str) -> str:
    """Return the entry of the certificate with a SHA-256."""
    return f"certificates/{fingerprint}.der"
