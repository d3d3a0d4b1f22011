"""Stylesheets may compute and nothing else, in bounded memory; the worker's deadline bounds their time."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as Late
from pathlib import Path

import pytest

from exchange.errors import Rejected
from exchange.model import Envelope, MessageType, Parcel, Party
from exchange.steps import About
from exchange.steps.xslt import LIMIT_MEMORY, Xslt, XsltOptions

ABOUT = About(
    Envelope("Order", "1", "ID'1"),
    MessageType("Order", "xml"),
    Party("P", "port", ids=("EDI1",)),
    1_795_312_800_000_000,
    (20779 << 40) + 42,
)
ORDER = Parcel("order.xml", b"<order><line>1</line><line>2</line></order>", {"type": "Order"})


def stylesheet(folder: Path, body: str, attributes: str = "", head: str = "") -> Path:
    file = folder / "try.xsl"
    space = 'xmlns:xsl="http://www.w3.org/1999/XSL/Transform"'
    file.write_text(f'{head}<xsl:stylesheet version="1.0" {space} {attributes}>\n{body}\n</xsl:stylesheet>\n')
    return file


def step(file: Path, **values: str) -> Xslt:
    return Xslt(XsltOptions.model_validate({"stylesheet": file.name, "with": values, "type": "Made"}), file.parent)


def made(folder: Path, body: str, attributes: str = "") -> bytes:
    return step(stylesheet(folder, body, attributes)).apply(ORDER, ABOUT).read()


def applied(options: XsltOptions, folder: Path) -> str:
    """Do in a worker process what a route asks for; tell in words how it ends."""
    try:
        return f"{len(Xslt(options, folder).apply(ORDER, ABOUT).read())} bytes"
    except Rejected as why:
        return str(why)


# -- what they can do --------------------------------------------------------------------------------------------


def test_a_stylesheet_transforms_and_knows_what_the_switch_knows(tmp_path: Path) -> None:
    body = """
    <xsl:param name="id"/><xsl:param name="message"/><xsl:param name="at"/><xsl:param name="receiver"/>
    <xsl:param name="type"/><xsl:param name="partner"/>
    <xsl:template match="/order">
      <made sum="{sum(line)}" id="{$id}" message="{$message}" at="{$at}" to="{$receiver}" of="{$type}" by="{$partner}"/>
    </xsl:template>"""
    parcel = step(stylesheet(tmp_path, body), partner='"quoted"').apply(ORDER, ABOUT)
    assert parcel.read() == (
        b'<?xml version="1.0"?>\n<made sum="3" id="ID\'1" message="20261122-42" at="2026-11-22T10:00:00.000+08:00"'
        b' to="EDI1" of="Order" by="&quot;quoted&quot;"/>\n'
    )
    assert (parcel.name, parcel.headers) == ("order.xml", {"type": "Made"})
    assert ORDER.read() == b"<order><line>1</line><line>2</line></order>"


def test_a_step_can_be_made_again_in_another_process_from_its_options(tmp_path: Path) -> None:
    stylesheet(tmp_path, '<xsl:template match="/"><made/></xsl:template>')
    options = pickle.loads(pickle.dumps(XsltOptions(stylesheet="try.xsl")))
    assert applied(options, tmp_path) == "30 bytes"


def test_a_message_that_is_no_xml_is_rejected_as_everywhere(tmp_path: Path) -> None:
    map = step(stylesheet(tmp_path, '<xsl:template match="/"><made/></xsl:template>'))
    with pytest.raises(Rejected, match="SWX-1013"):
        map.apply(Parcel("x", b'<!DOCTYPE a [<!ENTITY e SYSTEM "/etc/passwd">]><a>&e;</a>'), ABOUT)


# -- what they are refused for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "attributes", "told"),
    [
        ("<xsl:template match='/'><x><xsl:value-of select=\"document('/etc/passwd')\"/></x></xsl:template>", "",
         "2: the function 'document' isn't allowed"),
        ("<xsl:template match='/'><x y=\"{document('http://127.0.0.1/')}\"/></xsl:template>", "",
         "2: the function 'document' isn't allowed"),
        ("<xsl:import href='other.xsl'/>", "", "2: xsl:import isn't allowed"),
        ("<xsl:include href='http://127.0.0.1/other.xsl'/>", "", "2: xsl:include isn't allowed"),
        ("<xsl:template match='/'>\n<xsl:document href='/tmp/x'><x/></xsl:document></xsl:template>", "",
         "3: xsl:document isn't allowed"),
        ("<xsl:template match='/'><x/></xsl:template>", 'xmlns:exsl="http://exslt.org/common"',
         "1: a namespace of extension functions isn't allowed"),
        ("<xsl:template match='/'><x/></xsl:template>", 'xmlns:redirect="org.apache.xalan.xslt.extensions.Redirect"',
         "1: a namespace of extension functions isn't allowed"),
        ("<xsl:template match='/'><x/></xsl:template>", 'xmlns:a="urn:a" extension-element-prefixes="a"',
         "1: extension elements aren't allowed"),
        ("<xsl:template match='/'><xsl:value-of select='a:b()'/></xsl:template>", 'xmlns:a="urn:a"',
         "2: the function 'a:b' isn't allowed"),
        ("<xsl:template match='/'><xsl:value-of select='cuont(a)'/></xsl:template>", "",
         "2: the function 'cuont' isn't allowed, or there is none"),
        ("<xsl:template match='/'>\n<xsl:value-of select='a['/></xsl:template>", "", "3: 'a['"),
        ("<xsl:template match='/'>\n<xsl:if><x/></xsl:if></xsl:template>", "", "3: "),
    ],
)  # fmt: skip
def test_what_a_stylesheet_may_not_do_is_told_by_line_when_it_is_read(
    tmp_path: Path, body: str, attributes: str, told: str
) -> None:
    with pytest.raises(ValueError, match=rf"try\.xsl:{re.escape(told)}"):
        step(stylesheet(tmp_path, body, attributes))


def test_a_text_that_only_looks_like_a_call_is_a_text(tmp_path: Path) -> None:
    body = "<xsl:template match='/'><x><xsl:value-of select=\"concat('document(', 'a:b()')\"/></x></xsl:template>"
    assert b"document(a:b()" in made(tmp_path, body)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("<xsl:stylesheet", "SWX-1011"),
        ("<other/>", "1: this is no XSLT stylesheet"),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]><x>&e;</x>', "SWX-1013"),
        ("<x>" + "y" * 1024 * 1024 + "</x>", "over 1048576 bytes"),
    ],
)
def test_what_is_no_stylesheet(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "try.xsl").write_text(text)
    with pytest.raises(ValueError, match=told):
        step(tmp_path / "try.xsl")


@pytest.mark.parametrize("name", ["id", "at", "profile_run", "not a name", ""])
def test_names_that_are_ours_cant_be_given(tmp_path: Path, name: str) -> None:
    file = stylesheet(tmp_path, '<xsl:template match="/"><made/></xsl:template>')
    with pytest.raises(ValueError, match=r"name|least"):
        step(file, **{name: "1"})


# -- what goes wrong when they run -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<xsl:template match='/'>\n<xsl:message terminate='yes'>no such partner</xsl:message></xsl:template>",
         "SWX-1093 .*try.xsl: no such partner"),
        ("<xsl:template match='/'><x>\n<xsl:value-of select='$nobody'/></x></xsl:template>",
         "SWX-1093 .*try.xsl:3: Variable 'nobody' has not been declared"),
        ("<xsl:template match='/'><x>\n<xsl:call-template name='t'/></x></xsl:template>",
         "SWX-1093 .*try.xsl:3: The called template 't' was not found"),
        ("<xsl:template match='/'/>", "SWX-1093 .*try.xsl: the result is empty"),
        ("<xsl:template match='/' name='t'>\n<xsl:call-template name='t'/></xsl:template>",
         "SWX-1093 .*try.xsl:3: .*infinite template recursion"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_the_line_of_the_stylesheet(tmp_path: Path, body: str, told: str) -> None:
    with pytest.raises(Rejected, match=told) as why:
        made(tmp_path, body)
    assert why.value.zh != why.value.en


def test_libxslt_itself_would_read_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What we refuse when a stylesheet is read is refused again when it runs."""
    monkeypatch.setattr("exchange.steps.xslt._mistakes", lambda tree: [])
    secret = tmp_path / "secret.xml"
    secret.write_text("<secret>7</secret>")
    body = f"<xsl:template match='/'><x><xsl:value-of select=\"document('{secret}')\"/></x></xsl:template>"
    with pytest.raises(Rejected, match="SWX-1093"):
        made(tmp_path, body)
    out = tmp_path / "out.xml"
    space = 'xmlns:exsl="http://exslt.org/common" extension-element-prefixes="exsl"'
    body = f"<xsl:template match='/'><x><exsl:document href='{out}'><y/></exsl:document></x></xsl:template>"
    with pytest.raises(Rejected, match="SWX-1093"):
        made(tmp_path, body, space)
    assert not out.exists()


TWICE = """
<xsl:template match="/"><xsl:call-template name="t"><xsl:with-param name="n" select="{depth}"/></xsl:call-template>
</xsl:template>
<xsl:template name="t"><xsl:param name="n"/>
  <xsl:if test="$n = 0">{leaf}</xsl:if>
  <xsl:if test="$n &gt; 0">{around}
    <xsl:call-template name="t"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>
    <xsl:call-template name="t"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>
  {end}</xsl:if>
</xsl:template>"""


@pytest.fixture
def worker() -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of one process, which is killed in the end, whatever it does."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    yield pool
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)


def test_recursion_without_end_is_ended_by_the_deadline_of_the_worker(
    tmp_path: Path, worker: ProcessPoolExecutor
) -> None:
    stylesheet(tmp_path, TWICE.format(depth=60, leaf="", around="", end=""))
    with pytest.raises(Late):
        worker.submit(applied, XsltOptions(stylesheet="try.xsl"), tmp_path).result(timeout=2.5)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by what Linux tells of a process")
def test_a_result_without_end_comes_to_the_bound_of_memory_and_the_worker_lives_on(
    tmp_path: Path, worker: ProcessPoolExecutor
) -> None:
    stylesheet(tmp_path, TWICE.format(depth=24, leaf="<bomb/>", around="<x>", end="</x>"))
    good = tmp_path / "good"
    good.mkdir()
    stylesheet(good, '<xsl:template match="/"><made/></xsl:template>')
    told = worker.submit(applied, XsltOptions(stylesheet="try.xsl"), tmp_path).result(timeout=60)
    assert told.startswith("SWX-1092 the stylesheet makes more than"), told
    assert worker.submit(applied, XsltOptions(stylesheet="try.xsl"), good).result(timeout=30) == "30 bytes"
    (pid,) = worker._processes
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines() if "VmHWM" in line)
    assert 1024 * int(peak.split()[1]) < LIMIT_MEMORY + 256 * 1024 * 1024
