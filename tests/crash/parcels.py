"""What the peers of the crash tests hand in."""

from __future__ import annotations

import re
from pathlib import Path

SAMPLES = Path(__file__).parent.parent.parent / "schemas/customs/ceb/samples/valid"
ORDER = (SAMPLES / "CEB311Message--minimal.xml").read_text("utf-8")
ROUTES = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    signing_key: p256
    endpoints: [{name: ent1-box, kind: memory}]
  - code: ENT2
    role: enterprise
    ids: [DXPENT0000000002]
    signing_key: p256
    endpoints: [{name: ent2-box, kind: memory}]
  - code: CUSTOMS
    role: customs
    endpoints: [{name: customs-queue, kind: memory}]
routes:
  - {name: orders, match: {type: CEB311Message}, to: [customs-queue], sign: ecdsa-sha256}
"""


def order(number: int, sender: int = 1) -> str:
    """Return an import order."""
    text = re.sub(r'guid="[^"]+"', f'guid="00000000-0000-4000-8000-{number:012d}"', ORDER, count=1)
    text = re.sub(r"<ceb:guid>[^<]+<", f"<ceb:guid>00000000-0000-4000-8001-{number:012d}<", text)
    text = re.sub(r"<ceb:orderNo>[^<]+<", f"<ceb:orderNo>ORDER-{number}<", text)
    return text.replace("DXPENT0000000001", f"DXPENT{sender:010d}")


def receipt_for(declaration: str) -> str:
    """Return customs' last word on the orders in a declaration."""
    return receipt(*map(int, re.findall(r"<ceb:orderNo>ORDER-(\d+)<", declaration)))


def receipt(*numbers: int) -> str:
    """Return a receipt with one record for each order."""
    platform = re.search(r"<ceb:ebpCode>([^<]+)<", ORDER)
    company = re.search(r"<ceb:ebcCode>([^<]+)<", ORDER)
    assert platform
    assert company
    records = "".join(
        f"<OrderReturn><guid>00000000-0000-4000-8001-{number:012d}</guid><ebpCode>{platform[1]}</ebpCode>"
        f"<ebcCode>{company[1]}</ebcCode><orderNo>ORDER-{number}</orderNo><returnStatus>120</returnStatus>"
        "<returnTime>20261122120500123</returnTime><returnInfo>[Code:1800;Desc:逻辑校验通过]</returnInfo></OrderReturn>"
        for number in numbers
    )
    guid = f"00000000-0000-4000-8002-{numbers[0]:012d}"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><CEB312Message xmlns="http://www.chinaport.gov.cn/ceb"'
        f' guid="{guid}" version="1.0">{records}</CEB312Message>'
    )


GIVEN = (
    ("early", "customs-queue", receipt(3)),  # answers what comes two parcels later
    ("order-1", "ent1-box", order(1)),
    ("order-1-again", "ent1-box", order(1)),
    ("order-3", "ent2-box", order(3, 2)),
    ("invalid", "ent1-box", order(4).replace("<ceb:currency>142<", "<ceb:currency>999<")),
    ("garbage", "ent2-box", order(5, 2)[:500]),
    ("order-2", "ent1-box", order(2)),
)
