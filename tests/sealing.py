"""A message to sign, and a hand that signs it with the keys of tests.pki."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import time
from collections.abc import Callable

import pytest
from lxml import etree

from exchange.errors import BadSignature
from exchange.instants import Instant
from exchange.ports import Signature
from exchange.signing.contract import Verified
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import assemble, prepare, verify
from exchange.tokens.software import KeyFiles, Software
from tests import pki

DS = "{http://www.w3.org/2000/09/xmldsig#}"

KEYS = {
    "ceb-sm2": "sm2",
    "ceb-rsa-sha1": "rsa",
    "chinaport-2022-sm2": "sm2",
    "rsa-sha256": "rsa",
    "ecdsa-sha256": "p256",
}

_GOODS = """
    <ceb:InventoryList>
      <ceb:gnum>{n}</ceb:gnum>
      <ceb:itemNo>SKU-{n:04}</ceb:itemNo>
      <ceb:itemName>测试用护手霜 &amp; 试用装</ceb:itemName>
      <ceb:gcode>3304990099</ceb:gcode>
      <ceb:gname>护手霜</ceb:gname>
      <ceb:gmodel>无品牌|净含量：50毫升|不存在的型号 {n}</ceb:gmodel>
      <ceb:country>110</ceb:country>
      <ceb:currency>142</ceb:currency>
      <ceb:qty>{n}</ceb:qty>
      <ceb:price>10.50</ceb:price>
      <ceb:totalPrice>31.50</ceb:totalPrice>
    </ceb:InventoryList>"""

MESSAGE = f"""<?xml version="1.0" encoding="UTF-8"?>
<ceb:CEB621Message guid="00000000-0000-0000-0000-0000000000A1" version="1.0"
    xmlns:ceb="http://www.chinaport.gov.cn/ceb" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <ceb:Inventory>
    <ceb:InventoryHead>
      <ceb:guid>00000000-0000-0000-0000-0000000000A1</ceb:guid>
      <ceb:appType>1</ceb:appType>
      <ceb:orderNo>ORDER-00000001</ceb:orderNo>
      <ceb:ebcName>{pki.ENTERPRISE}</ceb:ebcName>
      <ceb:buyerName>张三（虚构）</ceb:buyerName>
      <ceb:consigneeAddress>虚构省虚构市 1 号</ceb:consigneeAddress>
      <ceb:note></ceb:note>
    </ceb:InventoryHead>{"".join(_GOODS.format(n=n) for n in range(1, 7))}
  </ceb:Inventory>
</ceb:CEB621Message>
""".encode()


@functools.cache
def token() -> Software:
    """Return a software token that holds the shared keys."""
    return Software(KeyFiles(folder=pki.shared()))


def seal(document: bytes, profile: str, key: str = "", behind: tuple[str, ...] = ()) -> bytes:
    """Sign *document* outside of the event loop."""
    key = key or KEYS[profile]
    prepared = prepare(document, PROFILES[profile], pki.der(key), behind)
    [value] = asyncio.get_event_loop().run_until_complete(token().sign([prepared.job(key)]))
    assert isinstance(value, Signature), value
    return assemble(document, prepared, value.value)


@functools.cache
def sealed(profile: str = "ecdsa-sha256", key: str = "") -> bytes:
    return seal(MESSAGE, profile, key)


def verified(
    document: bytes, *keys: str, profiles: tuple[str, ...] = (), at: int = 0, behind: tuple[str, ...] = ()
) -> Verified:
    """Verify against the certificates of *keys* (all of the enterprise's by default)."""
    pinned = [pki.der(key) for key in keys or ("rsa", "p256", "sm2")]
    return verify(document, profiles=PROFILES.accepted(profiles), certificates=pinned, at=at or now(), behind=behind)


def code_of(document: bytes, *keys: str, **options: object) -> str:
    with pytest.raises(BadSignature) as refused:
        verified(document, *keys, **options)  # type: ignore[arg-type]
    assert refused.value.zh != refused.value.en
    return refused.value.code


def edited(document: bytes, edit: Callable[[etree._Element], object]) -> bytes:
    root = etree.fromstring(document)
    edit(root)
    return etree.tostring(root.getroottree(), encoding="UTF-8")


def part(root: etree._Element, name: str) -> etree._Element:
    return next(root.iter(DS + name))


def canonical(document: bytes) -> bytes:
    return etree.tostring(etree.fromstring(document).getroottree(), method="c14n", with_comments=False)


def now() -> Instant:
    """Return the present instant: the certificates are made for it."""
    return time.time_ns() // 1000


def require(program: str) -> str:
    """Return the path of a program that tests compare with; without it CI fails and others skip, saying so."""
    path = shutil.which(program)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{program} is missing; 'make test' installs it")
    return path or pytest.skip(f"{program} is not installed, so nothing is compared with it")
