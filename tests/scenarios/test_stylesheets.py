"""A stylesheet as a step of a route, through the daemon: it runs in a process of its own, with a deadline."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange import forms
from tests.daemon import House, order, running

ROUTES = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    endpoints: [{name: ent1-box, kind: memory}]
  - code: PARTNER
    role: platform
    endpoints: [{name: partner-box, kind: memory}]
steps:
  - {name: short, kind: xslt, version: "2", stylesheet: short.xsl, with: {shop: 示例}}
routes:
  - name: orders
    match: {type: CEB311Message}
    to: [partner-box]
    steps: [short]
"""
SHEET = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:c="http://www.chinaport.gov.cn/ceb" exclude-result-prefixes="c">
  <xsl:output encoding="UTF-8"/>
  <xsl:param name="shop"/>
  <xsl:template match="/">BODY</xsl:template>
  <xsl:template name="again"><xsl:call-template name="again"/><xsl:call-template name="again"/></xsl:template>
</xsl:stylesheet>
"""
ORDERS = (
    '<orders shop="{$shop}"><xsl:for-each select="//c:orderNo"><no><xsl:value-of select="."/></no></xsl:for-each>'
    "</orders>"
)
ENDLESS = 6 * '<xsl:for-each select="//*">' + '<xsl:variable name="x" select="count(//*)"/>' + 6 * "</xsl:for-each>"


async def given(house: House) -> str:
    id = await house.give("ent1-box", order(1), "order.xml")
    await house.settle()
    return id


async def test_what_a_stylesheet_makes_goes_to_the_partner(tmp_path: Path) -> None:
    (tmp_path / "short.xsl").write_text(SHEET.replace("BODY", ORDERS), "utf-8")
    async with running(tmp_path, ROUTES) as house:
        id = await given(house)
        assert (await house.delivery(id, "partner-box"))["state"] == "DELIVERED"
        [made] = house.sent("partner-box")
        assert b'<orders shop="\xe7\xa4\xba\xe4\xbe\x8b"><no>' in made.read()
        [accepted] = await house.told(id, "accept")
        assert accepted["steps"] == ["partner-box: short 2"]


async def test_a_stylesheet_that_never_ends_holds_the_message_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "SECONDS", 5.0)
    (tmp_path / "short.xsl").write_text(SHEET.replace("BODY", ENDLESS), "utf-8")
    async with running(tmp_path, ROUTES) as house:
        id = await given(house)
        assert await house.state(id) == "HELD"
        assert [line["code"] for line in await house.told(id, "hold")] == ["SWX-2075"]
        (tmp_path / "short.xsl").write_text(SHEET.replace("BODY", ORDERS), "utf-8")
        await house.ask("routes.publish", text=ROUTES, reason="mended")
        await house.change("release", id)
        await house.settle()
        assert (await house.delivery(id, "partner-box"))["state"] == "DELIVERED"


async def test_a_stylesheet_that_was_changed_counts_from_the_next_publish_on(tmp_path: Path) -> None:
    sheet = tmp_path / "short.xsl"
    sheet.write_text(SHEET.replace("BODY", "<first/>"), "utf-8")
    async with running(tmp_path, ROUTES) as house:
        await given(house)
        sheet.write_text(SHEET.replace("BODY", "<second/>"), "utf-8")
        await house.give("ent1-box", order(2), "b.xml")
        await house.settle()
        await house.ask("routes.publish", text=ROUTES, reason="another stylesheet")
        await house.give("ent1-box", order(3), "c.xml")
        await house.settle()
        assert [b"<second/>" in parcel.read() for parcel in house.sent("partner-box")] == [False, False, True]
