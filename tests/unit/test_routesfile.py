"""``routes.yaml`` read into a table: what becomes of each section, bundles, imports, and how long a large one takes.

What is told of mistakes, word for word, is in tests/bad_routes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange import routesfile
from exchange.agreement import Agreement
from exchange.errors import ConfigurationError
from exchange.model import MessageType
from exchange.retry import Policy
from exchange.routesfile import MARK, Known, bundle, unbundle
from exchange.routing import RoutingTable
from tests import pki

WHOLE = """
parties:
  - code: ENT1
    role: enterprise
    name: 测试企业
    ids: [DXPENT0000000001, "3101960001"]
    signing_key: ent1
    certificates: [cert.pem, cert.der]
    agreement: {verify: require, profiles: [ceb-sm2], sends_for: [ENT2], acknowledge: rejected, reply_to: ent1-box}
    endpoints:
      - {name: ent1-box, kind: memory}
      - {name: ent1-drop, kind: folder, take_from: in, poll_seconds: 7, window: 3, retry: {first: 1, give_up: 60}}
  - {code: ENT2, role: enterprise}
endpoints:
  - {name: customs-queue, party: CUSTOMS, kind: memory}
routes:
  - name: orders
    match: {type: CEB311Message, role: [enterprise, platform], where: {customsCode: "5141", appType: ["1", "2"]}}
    to: [customs-queue, ent1-box]
    sign: ceb-sm2
    key: platform
  - {name: rest, to: [customs-queue]}
tests:
  - given: {sample: a.xml, from: DXPENT0000000001}
    to: [customs-queue]
    route: orders
  - {given: {sample: b.xml, from: ENT2}, outcome: reject}
"""
CUSTOMS = {"code": "CUSTOMS", "role": "customs"}
KNOWN = Known(
    types={"CEB311Message": MessageType("CEB311Message", "xml")},
    fields={"CEB311Message": ["customsCode", "appType"]},
    keys=["ent1", "platform"],
)


def load(text: str, folder: Path, **more: object) -> tuple[RoutingTable, list[routesfile.Test]]:
    return routesfile.load(f"{MARK}routes.yaml\n{text}", folder, **more)  # type: ignore[arg-type]


def problems(text: str, folder: Path, **more: object) -> Sequence[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(text, folder, **more)
    return raised.value.problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a certificate in either form."""
    (tmp_path / "cert.pem").write_bytes((pki.shared() / "p256.crt").read_bytes())
    (tmp_path / "cert.der").write_bytes(pki.der("rsa"))
    return tmp_path


# -- sections ----------------------------------------------------------------------------------------------------


def test_parties_keep_what_was_agreed_with_them(folder: Path) -> None:
    table, _ = load(WHOLE, folder, known=KNOWN, imported=[CUSTOMS])
    party = table.parties["ENT1"]
    assert (party.role, party.name, party.ids) == ("enterprise", "测试企业", ("DXPENT0000000001", "3101960001"))
    assert (party.signing_key, party.certificates) == ("ent1", (pki.der("p256"), pki.der("rsa")))
    assert party.agreement == Agreement("require", ("ceb-sm2",), ("ENT2",), "rejected", "ent1-box")
    assert table.parties["ENT2"].agreement == Agreement(), "what isn't said is as agreed with everybody"
    for name in ("ENT1", "DXPENT0000000001", "3101960001"):
        assert table.party(name) is party
    assert table.party("CUSTOMS") is table.parties["CUSTOMS"]


def test_endpoints_stand_in_their_party_or_beside_and_keep_window_retry_and_options(folder: Path) -> None:
    table, _ = load(WHOLE, folder, known=KNOWN, imported=[CUSTOMS])
    drop = table.endpoints["ent1-drop"]
    assert (drop.party, drop.kind, drop.window, drop.retry) == ("ENT1", "folder", 3, Policy(1, 900, 60))
    assert (drop.options.take_from, drop.options.poll_seconds) == (folder / "in", 7)
    assert (table.endpoints["ent1-box"].window, table.endpoints["ent1-box"].retry) == (None, Policy())
    assert table.endpoints["customs-queue"].party == "CUSTOMS"
    assert set(table.kinds) == {"memory", "folder"}


def test_routes_keep_their_order_conditions_and_signature(folder: Path) -> None:
    table, _ = load(WHOLE, folder, known=KNOWN, imported=[CUSTOMS])
    orders, rest = table.routes
    assert (orders.name, orders.to, orders.sign, orders.key) == (
        "orders", ("customs-queue", "ent1-box"), "ceb-sm2", "platform",
    )  # fmt: skip
    assert orders.match == {
        "type": ("CEB311Message",), "role": ("enterprise", "platform"), "where.customsCode": ("5141",),
        "where.appType": ("1", "2"),
    }  # fmt: skip
    assert (rest.match, rest.sign, rest.key) == ({}, "", "")


def test_tests_know_their_place_and_what_they_expect(folder: Path) -> None:
    _, tests = load(WHOLE, folder, known=KNOWN, imported=[CUSTOMS])
    assert tests == [
        routesfile.Test(
            "routes.yaml:24:5: tests[0]", "a.xml", "DXPENT0000000001", ("customs-queue",), "orders", "accept"
        ),
        routesfile.Test("routes.yaml:27:5: tests[1]", "b.xml", "ENT2", None, "", "reject"),
    ]


def test_mistakes_in_every_section_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
parties:
  - {code: ENT1, role: enterprice}
endpoints:
  - {name: e1, party: ENT2, kind: memory}
  - {name: e2, party: ENT1, kind: folder}
routes:
  - {name: r1, to: [e3]}
  - {name: r1, match: {type: CEB999Message}, to: [e1]}
tests:
  - {given: {sample: a.xml}, to: [e1]}
  - {given: {sample: a.xml, from: ENT1}, outcome: maybe}
"""
    told = problems(text, tmp_path, known=KNOWN)
    assert [problem.split(": ")[0] for problem in told] == [
        f"routes.yaml:{place}" for place in ("2:18", "4:16", "5:5", "7:21", "8:5", "8:5", "10:6", "11:42")
    ]


def test_a_route_that_is_never_reached_is_a_mistake_and_a_wider_one_behind_is_none(tmp_path: Path) -> None:
    parties = "parties: [{code: C, role: customs, endpoints: [{name: e, kind: memory}]}]\nroutes:\n"
    wide, narrow = "  - {name: wide, to: [e]}\n", "  - {name: narrow, match: {role: customs}, to: [e]}\n"
    told = problems(parties + wide + narrow, tmp_path)
    assert told == ("routes.yaml:4:5: routes[1]: never reached: route 'wide' above takes all of it",)
    load(parties + narrow + wide, tmp_path)


def test_an_endpoint_that_only_receives_is_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.memory.Memory.sends", False)
    text = "parties: [{code: C, role: customs, endpoints: [{name: e, kind: memory}]}]\nroutes: [{name: r, to: [e]}]\n"
    assert problems(text, tmp_path) == ("routes.yaml:2:10: routes[0]: endpoint 'e' (memory) only receives",)


def test_imported_parties_are_as_good_as_written_ones_and_may_not_be_written_again(tmp_path: Path) -> None:
    row = {"code": "ENT9", "role": "enterprise", "ids": ["DXP9"], "endpoints": [{"name": "e9", "kind": "memory"}]}
    table, _ = load("routes: [{name: r, match: {sender: ENT9}, to: [e9]}]\n", tmp_path, imported=[row])
    assert table.endpoints[table.routes[0].to[0]].party == "ENT9"
    assert table.party("DXP9") is table.parties["ENT9"]
    (told,) = problems("parties: [{code: ENT9, role: customs}]\n", tmp_path, imported=[row])
    assert "party 'ENT9' stands here twice, or was imported" in told


# -- bundles -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "parties").mkdir()
    (tmp_path / "routes.yaml").write_text(
        "include: [parties/*.yaml]\nroutes: [{name: r, match: {type: CEB31Message}, to: [e2]}]\n"
    )
    for n in (2, 1):
        row = f"{{code: ENT{n}, role: enterprise, endpoints: [{{name: e{n}, kind: memory}}]}}"
        (tmp_path / f"parties/{n}.yaml").write_text(f"parties:\n  - {row}\n\n\n")
    return tmp_path / "routes.yaml"


def test_a_bundle_holds_every_file_by_name_in_a_fixed_order(tree: Path) -> None:
    text = bundle(tree)
    assert [name for name, _ in unbundle(text)] == ["routes.yaml", "parties/1.yaml", "parties/2.yaml"]
    assert bundle(tree) == text
    table, _ = routesfile.load(text, tree.parent)
    assert list(table.parties) == ["ENT1", "ENT2"]


def test_blank_lines_at_the_end_of_a_file_make_no_new_table(tree: Path) -> None:
    text = bundle(tree)
    for path in (tree, tree.parent / "parties/1.yaml"):
        path.write_text(path.read_text().rstrip() + "\n \n\n")
    assert bundle(tree) == text


def test_mistakes_in_included_files_are_told_with_their_own_names(tree: Path) -> None:
    (tree.parent / "parties/2.yaml").write_text("parties:\n  - {code: ENT2, rule: enterprise}\n")
    with pytest.raises(ConfigurationError) as raised:
        routesfile.load(bundle(tree), tree.parent, known=KNOWN)
    assert [problem.partition(": ")[0] for problem in raised.value.problems] == [
        "parties/2.yaml:2:5", "parties/2.yaml:2:18", "routes.yaml:2:10", "routes.yaml:2:54",
    ]  # fmt: skip


def test_an_included_file_may_lie_anywhere(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "shared.yaml"
    elsewhere.write_text("parties: [{code: ENT3, role: enterprise}]\n")
    tree.write_text(f"include: [{elsewhere}]\n")
    table, _ = routesfile.load(bundle(tree), tree.parent)
    assert list(table.parties) == ["ENT3"]


def test_an_include_that_matches_nothing_is_a_mistake(tree: Path) -> None:
    tree.write_text("include: [partners/*.yaml]\n")
    with pytest.raises(ConfigurationError, match=r"routes.yaml:1:1: include: no file matches 'partners/\*.yaml'"):
        bundle(tree)


def test_what_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"routes.yaml:1:1: can't be read: No such file"):
        bundle(tmp_path / "routes.yaml")
    (tmp_path / "routes.yaml").write_bytes("# 路由\n".encode("gb18030"))
    with pytest.raises(ConfigurationError, match=r"routes.yaml:1:1: can't be read: 'utf-8' codec"):
        bundle(tmp_path / "routes.yaml")


files = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=40).filter(lambda text: MARK not in text),
    min_size=1, max_size=4,
)  # fmt: skip


@given(files)
def test_a_bundle_is_taken_apart_as_it_was_put_together(texts: list[str]) -> None:
    named = [(f"{i}.yaml", f"{text.rstrip()}\n") for i, text in enumerate(texts)]
    assert unbundle("".join(f"{MARK}{name}\n{text}" for name, text in named)) == named


# -- size --------------------------------------------------------------------------------------------------------


def test_ten_thousand_routes_are_checked_in_seconds(tmp_path: Path) -> None:
    """Every YAML reader in pure Python would take minutes; checking each route against each other would, too."""
    lines = ["parties:", "  - {code: CUSTOMS, role: customs, endpoints: [{name: customs-queue, kind: memory}]}"]
    lines += [f"  - {{code: ENT{n}, role: enterprise}}" for n in range(1_000)]
    lines += ["routes:"]
    lines += [
        f"  - {{name: r{n}, match: {{type: CEB311Message, sender: ENT{n % 1_000}, where: {{customsCode: '{n}'}}}},"
        " to: [customs-queue], sign: ceb-sm2}"
        for n in range(10_000)
    ]
    began = time.process_time()
    table, _ = load("\n".join(lines), tmp_path, known=KNOWN)
    took = time.process_time() - began
    assert len(table.routes) == 10_000
    assert took < 20, f"{took:.1f} s of processor time"
