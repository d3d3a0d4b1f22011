"""The first route that matches wins, at a cost that doesn't depend on how many there are."""

from __future__ import annotations

import time
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from exchange.agreement import Agreement
from exchange.model import Endpoint, Envelope, Party, Route
from exchange.routing import RoutingTable, agrees, facts_of


def route(name: str, **match: str | tuple[str, ...]) -> Route:
    conditions = {k.replace("__", "."): (v,) if isinstance(v, str) else v for k, v in match.items()}
    return Route(name, (name,), match=conditions)


def first(table: RoutingTable, **facts: str | tuple[str, ...]) -> str | None:
    known = {k.replace("__", "."): (v,) if isinstance(v, str) else v for k, v in facts.items()}
    matched = table.match(known)
    return matched.name if matched else None


def test_the_first_route_that_matches_wins() -> None:
    table = RoutingTable(routes=[route("a", type="X", role="port"), route("b", type="X"), route("c")])
    assert first(table, type="X", role="port") == "a"
    assert first(table, type="X", role="customs") == "b"
    assert first(table, type="Y") == "c"


def test_no_route_is_no_route() -> None:
    assert first(RoutingTable(routes=[route("a", type="X")]), type="Y") is None


def test_a_list_of_values_accepts_each_and_a_star_is_a_prefix() -> None:
    table = RoutingTable(
        routes=[route("gz", where__customsCode=("5141", "5145")), route("sz", where__customsCode="53*")]
    )
    assert [first(table, where__customsCode=code) for code in ("5145", "5301", "5200")] == ["gz", "sz", None]


def test_documents_that_disagree_match_only_where_all_of_them_are_accepted() -> None:
    table = RoutingTable(routes=[route("a", where__customsCode=("5141", "5145")), route("b")])
    assert first(table, where__customsCode=("5141", "5145")) == "a"
    assert first(table, where__customsCode=("5141", "5200")) == "b"


def test_a_condition_on_something_the_message_lacks_does_not_hold() -> None:
    assert first(RoutingTable(routes=[route("a", receiver="CUSTOMS")]), type="X", receiver=()) is None


def test_facts_name_the_sender_by_code_and_the_fields_by_where() -> None:
    envelope = Envelope("X", "1.0", "id", fields={"customsCode": ("5141",)})
    facts = facts_of(envelope, Party("ENT1", "enterprise"), ["CUSTOMS"])
    assert facts["sender"] == ("ENT1",)
    assert facts["role"] == ("enterprise",)
    assert facts["receiver"] == ("CUSTOMS",)
    assert facts["where.customsCode"] == ("5141",)


def test_explain_tells_why_each_earlier_route_did_not_match() -> None:
    table = RoutingTable(routes=[route("a", type="Y"), route("b", type="X", role="port"), route("c", type="X")])
    told = table.explain({"type": ("X",), "role": ("customs",)})
    assert [(r.name, why) for r, why in told] == [
        ("a", ["type is X, not Y"]),
        ("b", ["role is customs, not port"]),
        ("c", []),
    ]


def test_a_route_behind_a_wider_one_is_shadowed_and_a_narrower_one_in_front_is_not() -> None:
    wide, narrow = route("wide", type="X"), route("narrow", type="X", role="port")
    assert RoutingTable(routes=[wide, narrow]).shadowed() == [(narrow, wide)]
    assert RoutingTable(routes=[narrow, wide]).shadowed() == []


def test_receipts_go_where_the_party_wants_them_else_where_the_message_came_in() -> None:
    class Sends:
        sends = True

    class Receives:
        sends = False

    endpoints = [Endpoint("in", "ENT1", "r"), Endpoint("box", "ENT1", "s"), Endpoint("far", "ENT2", "s")]
    kinds = {"s": Sends, "r": Receives}
    plain = RoutingTable([Party("ENT1", "enterprise")], endpoints, kinds=kinds)
    for arrived, reply in (("box", "box"), ("in", "box"), ("far", "box"), ("gone", "box")):
        found = plain.reply_endpoint("ENT1", arrived)
        assert found is not None
        assert found.name == reply
    assert plain.reply_endpoint("ENT3", "in") is None
    asked = Party("ENT2", "enterprise", agreement=Agreement(reply_to="far"))
    found = RoutingTable([asked], endpoints, kinds=kinds).reply_endpoint("ENT2", "in")
    assert found is not None
    assert found.name == "far"


NAMES = ("type", "role", "where.a", "where.b")
VALUES = st.sampled_from(["1", "2", "12", "1*"])
MATCH = st.dictionaries(st.sampled_from(NAMES), st.lists(VALUES, min_size=1, max_size=2).map(tuple), max_size=4)
FACTS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(["1", "2", "12", "3"]), max_size=2).map(tuple))


@given(st.lists(MATCH, max_size=8), FACTS)
def test_the_index_finds_what_looking_at_every_route_would_find(
    matches: list[Mapping[str, tuple[str, ...]]], facts: Mapping[str, tuple[str, ...]]
) -> None:
    routes = [Route(str(i), ("q",), match=match) for i, match in enumerate(matches)]
    slow = next((r for r in routes if all(agrees(v, facts.get(n, ())) for n, v in r.match.items())), None)
    assert RoutingTable(routes=routes).match(facts) is slow


def test_ten_thousand_routes_cost_hardly_more_than_ten() -> None:
    def cost(count: int) -> float:
        routes = [
            route(f"r{i}", type=f"T{i % 9}", sender=f"P{i}", where__customsCode=f"{i % 50:04d}") for i in range(count)
        ]
        table = RoutingTable(routes=routes)
        facts = {"type": ("T3",), "role": ("enterprise",), "sender": ("P3",), "where.customsCode": ("0003",)}
        best = 1.0
        for _ in range(5):
            began = time.process_time()
            for _ in range(200):
                assert table.match(facts) is not None
            best = min(best, (time.process_time() - began) / 200)
        return best

    assert cost(10_000) - cost(10) < 50e-6
