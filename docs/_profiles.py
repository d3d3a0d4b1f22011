"""The reference page of signature profiles, out of their table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from docs._page import begun, table
from exchange.ports import SM2_ID
from exchange.signing.profiles import PROFILES, XML, Profile

INTRO: Final = f"""\
A profile (签名规格) says what kind of signature a route makes (`sign:`) and an agreement accepts (`profiles:`). It is
called by its name, which is its newest version, or by `NAME@VERSION`. What a published version says never changes:
a change is a new version, so that a signature made years ago can still be told by the name that was recorded for it.
The signer's id in SM2 is `{SM2_ID.decode()}` unless a profile says another.

路由用 `sign:` 指定代签所用的签名规格，接入协议用 `profiles:` 限定可接受的签名规格；名称指其最新版本，也可写作
`名称@版本`。已发布的版本不再改变，改动即新版本。SM2 的签名者标识默认为 `{SM2_ID.decode()}`。"""
FORMATS: Final = (
    (XML, "an XML signature inside the document, spliced into its bytes", "XML, unless it is signed already", "`NAME`"),
    ("raw", "the bare value in base64, over the bytes as they are: the string of the real-time data interface "
     "(announcement 2018-179), with `raw-sm2` or `raw-rsa-sha1`", "anything up to 256 KiB", "`NAME.sig`, then `NAME`"),
    ("cms", "SignedData of RFC 5652 with one signer: signed attributes, the signer's certificate, and which it was "
     "(RFC 5035)", "anything", "`NAME.p7m`; detached: `NAME.p7s`, then `NAME`"),
    ("gmt0010", "the same with the identifiers of GM/T 0010, for SM2 with SM3", "anything",
     "`NAME.p7m`; detached: `NAME.p7s`, then `NAME`"),
)  # fmt: skip
BEHAVIOR: Final = """\
Only an enveloped signature goes inside a message; all others are about the parcel as it came, envelopes included, and
no step of the route may change it after that. A detached signature is a delivery of its own to the same endpoint (its
`disposition` is `signature`); the file goes after it, and waits while it is tried again. No receipt is awaited for it.

What comes in is verified where it is XML. Signatures of the other formats are verified when somebody asks; only those
with signed attributes stand, for one over the bare content could pass for one over attributes. `raw` names no signer:
the registered certificates are tried.
"""
SAMPLE: Final = """\
profiles:
  - name: file-p7s                # a file, and NAME.p7s beside it
    version: 1
    format: cms
    algorithm: rsa-sha256
    detached: true
  - name: gmt0010-sm2-key         # a receiver that wants the older identifier of SM2 in SignerInfo
    version: 1
    format: gmt0010
    algorithm: sm2-sm3
    method: 1.2.156.10197.1.301.1
  - name: port-sm2                # XML of a port that agreed on an id of its own, and writes values in DER
    version: 2
    format: xmldsig-enveloped
    algorithm: sm2-sm3
    method: http://www.w3.org/2000/09/xmldsig#sm2-sm3
    digest: sm3
    digest_method: http://www.w3.org/2000/09/xmldsig#sm3
    encoding: der
    sm2_id: PORT-EXAMPLE
    key_name: subject
"""
OWN: Final = """\
Under `profiles:` in `switchd.yaml`, in rows with the keys that are [listed there](settings.md#profiles-each-row). A
name must be your own: what comes with the switch can't be redefined. Keys that a format settles by itself may be left
out, and those it has no use for are mistakes; all mistakes are told at once with their places, and the switch doesn't
start with any. They are in force once a second person approved the section as it is written: until then those that were
approved last are, and a routing table can't name others (`switchctl change submit profiles`). A switch
that finds such a table when it starts, as at its first start, waits with everything (`switch.waits`, SWX-4122): it
answers `switchctl`, takes and sends nothing, and begins as soon as the second person has approved
(`switchctl change approve NUMBER`).

在 `switchd.yaml` 的 `profiles:` 下添加；名称不得与内置规格相同，所有错误一次列出。
须由一人提交（`switchctl change submit profiles`）、另一人批准后方才生效。启动时（如首次启动）若路由表引用了尚未
批准的规格，交换机只响应 `switchctl`，不收发报文（`switch.waits`，SWX-4122），批准后立即开始运行。
"""


def page() -> str:
    """Write the page."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield begun("Signature profiles · 签名规格", "docs/_profiles.py and exchange/signing/profiles.yaml", INTRO)
    yield "## Formats\n"
    yield table(("format", "what it is", "what it can sign", "what goes out"), [_code(row) for row in FORMATS])
    yield BEHAVIOR
    yield "## Built in\n"
    head = ("name", "format", "algorithm", "digest", "value", "algorithm and digest are called")
    yield table(head, [_row(profile) for profile in PROFILES.all])
    yield f"## Your own\n\n{OWN}\n```yaml\n{SAMPLE}```\n"


def _code(row: Sequence[str]) -> Sequence[str]:
    return (f"`{row[0]}`", *row[1:])


def _row(profile: Profile) -> Sequence[str]:
    names = [f"`{name}`" for name in (profile.method, profile.digest_method) if name]
    format = f"{profile.format}, detached" if profile.detached and profile.format != "raw" else profile.format
    value = {"raw": "r and s, 32 bytes each", "der": "DER"}.get(profile.encoding, "PKCS#1 v1.5")
    digest = "" if profile.format == "raw" else profile.hash
    return f"`{profile.id}`", format, profile.algorithm, digest, value, "<br>".join(names)
