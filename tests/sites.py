"""What tests of a site's own schemas share: a set of import orders that asks for more than ours."""

from __future__ import annotations

import shutil
from pathlib import Path

from exchange.catalogue import SCHEMAS

CEB = SCHEMAS / "customs" / "ceb"
MAIN = "CEB311Message-202205.xsd"
ORDER_NO = '<xs:element name="orderNo" type="ceb:Text1..60">'
STRICT = """<xs:element name="orderNo">
        <xs:simpleType>
          <xs:restriction base="xs:string"><xs:pattern value=".*[1-9]"/></xs:restriction>
        </xs:simpleType>
      </xs:element>
      <xs:element name="orderRemark" minOccurs="0">"""


def order_set(folder: Path) -> Path:
    """Write a set in which no order's number may end with 0; return its main file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MAIN, "ceb-common.xsd", "xmldsig.xsd"):
        shutil.copy(CEB / name, folder)
    text = (folder / MAIN).read_text("utf-8")
    assert ORDER_NO in text
    (folder / MAIN).write_text(text.replace(ORDER_NO, STRICT), "utf-8")
    return folder / MAIN
