"""What every store keeps: one suite over every kind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from exchange.errors import NotFound, Refused
from exchange.instants import SECOND, Instant, show_id
from exchange.model import (
    Answer,
    Answered,
    Arrival,
    Conclusion,
    Decision,
    Delivery,
    Document,
    Endpoint,
    Envelope,
    Outcome,
    Parcel,
    Planned,
    Question,
    Spool,
)
from exchange.ports import Change, Concluded, Hold
from exchange.stores.memory import MemoryStore
from exchange.stores.sqlite import SqliteStore

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00
OUTBOX = Endpoint("ent1-sftp", "ENT1", "sftp_server")
QUEUE = Endpoint("customs-queue", "CUSTOMS", "amqp")
KINDS = {"sqlite": SqliteStore, "memory": MemoryStore}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at: Instant = NOON

    def __call__(self) -> Instant:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


class Bench:
    """A store with short ways to walk a message through its life."""

    def __init__(self, store: Any, clock: Clock) -> None:
        self.store, self.clock = store, clock

    async def receive(self, body: bytes = b"<a/>", name: str = "a.xml", endpoint: Endpoint = OUTBOX) -> Arrival:
        arrival: Arrival = await self.store.receive(Parcel(name, body), endpoint, self.clock())
        return arrival

    async def accept(self, arrival: Arrival, *planned: Planned, **facts: Any) -> Concluded:
        envelope = facts.pop("envelope", None) or order(**facts)
        decision = Decision("accept", planned or (to_customs(),), route="r1")
        return await self.conclude(arrival, decision, envelope)

    async def conclude(
        self, arrival: Arrival, decision: Decision, envelope: Envelope | None = None, sender: str = "ENT1", **more: Any
    ) -> Concluded:
        conclusion = Conclusion(arrival, decision, envelope, sender, generation=1, at=self.clock(), **more)
        (concluded,) = await self.store.conclude([conclusion])
        return concluded  # type: ignore[no-any-return]

    async def send(self, delivery: Delivery, event: str = "deliver", **more: Any) -> Any:
        (claimed,) = await self.store.claim([delivery], self.clock())
        (settled,) = await self.store.settle([Outcome(claimed, event, self.clock(), **more)])
        return settled

    async def state(self, message: int) -> str:
        return (await self.store.life(message))["state"]  # type: ignore[no-any-return]

    async def change(self, verb: str, message: int, delivery: int | None = None) -> Any:
        change = Change(message, verb, "zhang", "asked by phone", self.clock(), delivery)
        (changed,) = await self.store.change([change])
        return changed


def to_customs(**more: Any) -> Planned:
    return Planned(QUEUE.name, QUEUE.party, **more)


def order(own_id: str = "G-1", number: str = "ORDER-1", documents: int = 1) -> Envelope:
    keys = [{"guid": f"{own_id}.{i}", "order": f"EBP/{number}.{i}"} for i in range(documents)]
    return Envelope("CEB311Message", "1.0", own_id, documents=tuple(Document(k) for k in keys))


def answer(own_id: str, code: str = "120", terminal: bool = True, number: str = "ORDER-1.0") -> Envelope:
    documents = (Document({"guid": "other", "order": f"EBP/{number}"}),)
    said = Answer(code, "customs", "accepted", terminal, "ok")
    return Envelope("CEB312Message", "1.0", own_id, documents=documents, answers=(said,))


def asks(arrival: Arrival, envelope: Envelope, sender: str = "ENT1") -> Question:
    return Question(
        arrival.id, sender, envelope.type, envelope.own_id, arrival.parcel.digest, envelope.documents,
        bool(envelope.answers),
    )  # fmt: skip


@pytest.fixture(params=sorted(KINDS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Return a context manager that opens a store of each kind; the same folder is the same store."""

    @asynccontextmanager
    async def open_store(clock: Clock | None = None, **options: Any) -> AsyncIterator[Bench]:
        clock = clock or Clock()
        store = KINDS[request.param](tmp_path / "store", now=clock, sample=b"<ceb:orderNo>" * 50, **options)
        await store.open()
        try:
            yield Bench(store, clock)
        finally:
            await store.close()

    return open_store


@pytest.fixture
def lasting(make: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The same, only for stores that outlive their process."""
    if request.node.callspec.params["make"] == "memory":
        pytest.skip("a memory store ends with its process")
    return make


async def test_a_parcel_comes_back_byte_for_byte(make: Callable[..., Any]) -> None:
    async with make() as bench:
        for size in (0, 1, 127, 128, 4096, 256 * 1024, 256 * 1024 + 1):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            arrival = await bench.receive(body, f"{size}.bin")
            parcel = await bench.store.payload(arrival.id)
            assert (parcel.name, parcel.read()) == (f"{size}.bin", body)
            assert parcel.size == size


async def test_a_spooled_payload_is_taken_over_as_a_file(make: Callable[..., Any], tmp_path: Path) -> None:
    body = b"<big>" + b"y" * 3_000_000
    path = tmp_path / "spooled"
    path.write_bytes(body)
    async with make() as bench:
        spool = Spool(path, len(body), hashlib.sha256(body).digest())
        arrival = await bench.store.receive(Parcel("big.xml", spool), OUTBOX, NOON)
        assert not path.exists(), "the file is the store's now"
        parcel = await bench.store.payload(arrival.id)
        assert isinstance(parcel.body, Spool)
        assert parcel.read() == body


async def test_ids_grow_and_carry_the_day_in_beijing(make: Callable[..., Any]) -> None:
    async with make() as bench:
        first, second = await bench.receive(), await bench.receive()
        assert show_id(first.id) == "20261122-1"
        assert second.id > first.id


async def test_ids_and_journal_keep_their_order_when_the_clock_is_set_back(make: Callable[..., Any]) -> None:
    async with make() as bench:
        first = await bench.receive()
        bench.clock.move(-3 * 86400)
        second = await bench.receive()
        assert second.id > first.id
        concluded = await bench.accept(second)
        await bench.send(concluded.deliveries[0])
        journal = (await bench.store.life(second.id))["journal"]
        assert [line["event"] for line in journal] == ["receive", "accept", "deliver", "complete"]


async def test_a_message_with_nothing_to_wait_for_completes_when_it_is_delivered(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive()
        concluded = await bench.accept(arrival)
        assert concluded.state == await bench.state(arrival.id) == "ACCEPTED"
        settled = await bench.send(concluded.deliveries[0])
        assert (settled.state, settled.finished) == ("DELIVERED", "COMPLETED")
        assert await bench.state(arrival.id) == "COMPLETED"
        assert await bench.store.queues() == []


async def test_a_message_that_expects_a_receipt_stays_open_until_a_terminal_one(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        concluded = await bench.accept(cause, to_customs(expects_receipt=True, deadline_seconds=60))
        assert (await bench.send(concluded.deliveries[0])).finished == ""
        for own_id, code, terminal, state in (("R1", "2", False, "ACCEPTED"), ("R2", "120", True, "COMPLETED")):
            receipt = await bench.receive(own_id.encode(), endpoint=QUEUE)
            envelope = answer(own_id, code, terminal)
            (context,) = await bench.store.context([asks(receipt, envelope, "CUSTOMS")])
            ((found,),) = context.causes
            assert (found.id, found.document, found.party, found.awaits) == (cause.id, 0, "ENT1", ("CUSTOMS",))
            answered = Answered(0, found.id, 0, 1, "CUSTOMS", envelope.answers[0])
            decision = Decision("accept", answered=(answered,))
            concluded = await bench.conclude(receipt, decision, envelope, "CUSTOMS")
            assert await bench.state(cause.id) == state
        assert concluded.finished == [(cause.id, "COMPLETED"), (receipt.id, "COMPLETED")]


async def test_a_receipt_proves_delivery_of_what_is_still_queued(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        concluded = await bench.accept(cause, to_customs(expects_receipt=True))
        receipt = await bench.receive(b"r", endpoint=QUEUE)
        envelope = answer("R1")
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", envelope.answers[0])
        done = await bench.conclude(receipt, Decision("accept", answered=(answered,)), envelope, "CUSTOMS")
        assert done.settled == [(cause.id, 0)]
        assert await bench.store.claim(concluded.deliveries, NOON) == []
        assert await bench.state(cause.id) == "COMPLETED"


async def test_a_receipt_settles_only_deliveries_to_its_own_party(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        border = Planned("border-queue", "BORDER", expects_receipt=True)
        await bench.accept(cause, to_customs(expects_receipt=True), border)
        receipt = await bench.receive(b"r", endpoint=QUEUE)
        envelope = answer("R1")
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", envelope.answers[0])
        await bench.conclude(receipt, Decision("accept", answered=(answered,)), envelope, "CUSTOMS")
        states = [d["state"] for d in (await bench.store.life(cause.id))["deliveries"]]
        assert states == ["ANSWERED", "QUEUED"]
        assert await bench.state(cause.id) == "ACCEPTED"


async def test_every_document_needs_its_own_terminal_receipt(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        await bench.accept(cause, to_customs(expects_receipt=True), documents=3)
        for document, state in ((0, "ACCEPTED"), (0, "ACCEPTED"), (2, "ACCEPTED"), (1, "COMPLETED")):
            receipt = await bench.receive(str(document).encode(), endpoint=QUEUE)
            envelope = answer("R", number=f"ORDER-1.{document}")
            (context,) = await bench.store.context([asks(receipt, envelope, "CUSTOMS")])
            found = context.causes[0][0]
            assert (found.document, found.documents) == (document, 3)
            answered = Answered(0, found.id, found.document, 3, "CUSTOMS", envelope.answers[0])
            await bench.conclude(receipt, Decision("accept", answered=(answered,)), envelope, "CUSTOMS")
            assert await bench.state(cause.id) == state


async def test_keys_that_a_receipt_brought_lead_later_receipts_to_its_cause(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        await bench.accept(cause, to_customs(expects_receipt=True))
        first = await bench.receive(b"1", endpoint=QUEUE)
        envelope = answer("R1", "2", terminal=False)
        learned = Envelope(
            "CEB312Message", "1.0", "R1", answers=envelope.answers,
            documents=(Document({"order": "EBP/ORDER-1.0", "pre": "B20261122000000001"}),),
        )  # fmt: skip
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", envelope.answers[0])
        await bench.conclude(first, Decision("accept", answered=(answered,)), learned, "CUSTOMS")
        second = await bench.receive(b"2", endpoint=QUEUE)
        later = Envelope(
            "CEB312Message", "1.0", "R2", answers=envelope.answers,
            documents=(Document({"pre": "B20261122000000001"}),),
        )  # fmt: skip
        (context,) = await bench.store.context([asks(second, later, "CUSTOMS")])
        assert [c.id for c in context.causes[0]] == [cause.id]


async def test_what_a_receipt_can_not_answer_hides_nothing_that_it_can(make: Callable[..., Any]) -> None:
    """A cancellation carries the number of the inventory that the tax bill, which has nothing else, is looking for."""
    async with make() as bench:
        cause, cancellation = await bench.receive(b"1"), await bench.receive(b"2")
        await bench.accept(cause, to_customs(expects_receipt=True))
        said = answer("R1", "2", terminal=False).answers
        keys = ({"order": "EBP/ORDER-1.0", "invtNo": "I-1"}, {"invtNo": "I-1"})
        released, tax = (
            Envelope("CEB312Message", "1.0", f"R{i}", answers=said, documents=(Document(k),))
            for i, k in enumerate(keys)
        )
        first = await bench.receive(b"3", endpoint=QUEUE)
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", said[0])
        await bench.conclude(first, Decision("accept", answered=(answered,)), released, "CUSTOMS")
        asking = Envelope("CEB623Message", "1.0", "G-2", documents=(Document({"invtNo": "I-1"}),))
        await bench.conclude(cancellation, Decision("accept"), asking)
        question = asks(await bench.receive(b"4", endpoint=QUEUE), tax, "CUSTOMS")
        for types, found in ((("CEB311Message",), cause), (("CEB623Message",), cancellation)):
            (context,) = await bench.store.context([evolve(question, answers=types)])
            assert [c.id for c in context.causes[0]] == [found.id]


async def test_a_prior_is_only_what_was_accepted(make: Callable[..., Any]) -> None:
    async with make() as bench:
        first = await bench.receive(b"1")
        await bench.conclude(first, Decision("reject", code="SWX-1040"), order())
        second = await bench.receive(b"2")
        (context,) = await bench.store.context([asks(second, order())])
        assert context.prior is None
        await bench.accept(second)
        third = await bench.receive(b"3")
        (context,) = await bench.store.context([asks(third, order())])
        assert context.prior is not None
        assert (context.prior.id, context.prior.state) == (second.id, "ACCEPTED")
        assert context.prior.digest == second.parcel.digest
        (context,) = await bench.store.context([asks(third, order(), sender="ENT2")])
        assert context.prior is None, "another sender's id is another id"


async def test_a_failed_message_is_no_prior(make: Callable[..., Any]) -> None:
    async with make() as bench:
        first = await bench.receive(b"1")
        concluded = await bench.accept(first)
        assert (await bench.send(concluded.deliveries[0], "fail", code="SWX-3020")).finished == "FAILED"
        second = await bench.receive(b"1")
        (context,) = await bench.store.context([asks(second, order())])
        assert context.prior is None


async def test_an_early_receipt_waits_and_is_named_when_its_cause_comes(make: Callable[..., Any]) -> None:
    async with make() as bench:
        receipt = await bench.receive(b"r", endpoint=QUEUE)
        envelope = answer("R1")
        parked = await bench.conclude(
            receipt, Decision("park", waits=(0,), wait_seconds=60), envelope, "CUSTOMS"
        )  # fmt: skip
        assert parked.state == await bench.state(receipt.id) == "RECEIVED"
        cause = await bench.receive(b"c")
        concluded = await bench.accept(cause, to_customs(expects_receipt=True))
        assert concluded.rejoin == [receipt.id]
        (again,) = await bench.store.arrivals([receipt.id])
        assert again.only == (0,)
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", envelope.answers[0])
        reply = Planned(OUTBOX.name, "ENT1", disposition="receipt", refers_to=cause.id)
        joined = await bench.conclude(again, Decision("accept", (reply,), (answered,)), envelope, "CUSTOMS")
        assert joined.deliveries[0].parcel is not None
        assert joined.deliveries[0].parcel.headers["refers-to"] == show_id(cause.id)
        assert await bench.store.arrivals([receipt.id]) == []
        assert await bench.state(cause.id) == "COMPLETED"


def taught(own_id: str, keys: dict[str, str]) -> Envelope:
    """Return a receipt with these keys."""
    return Envelope(
        "CEB312Message", "1.0", own_id, documents=(Document(keys),), answers=answer(own_id, terminal=False).answers
    )


async def test_a_receipt_that_came_before_the_one_that_teaches_its_keys_joins_with_that(
    make: Callable[..., Any],
) -> None:
    async with make() as bench:
        cause = await bench.receive()
        await bench.accept(cause, to_customs(expects_receipt=True))
        early = await bench.receive(b"2", endpoint=QUEUE)
        unknown = taught("R2", {"pre": "B20261122000000001"})
        await bench.conclude(early, Decision("park", waits=(0,), wait_seconds=60), unknown, "CUSTOMS")
        teacher = await bench.receive(b"1", endpoint=QUEUE)
        teaching = taught("R1", {"order": "EBP/ORDER-1.0", "pre": "B20261122000000001"})
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", teaching.answers[0])
        concluded = await bench.conclude(teacher, Decision("accept", answered=(answered,)), teaching, "CUSTOMS")
        assert concluded.rejoin == [early.id]
        (again,) = await bench.store.arrivals([early.id])
        (context,) = await bench.store.context([asks(again, unknown, "CUSTOMS")])
        assert [c.id for c in context.causes[0]] == [cause.id]
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", unknown.answers[0])
        joined = await bench.conclude(again, Decision("accept", answered=(answered,)), unknown, "CUSTOMS")
        assert joined.rejoin == [], "it doesn't wait for itself"
        reply = Planned(OUTBOX.name, "ENT1", disposition="receipt", refers_to=cause.id)
        twice = await bench.conclude(again, Decision("accept", (reply,), (answered,)), unknown, "CUSTOMS")
        assert (twice.deliveries, twice.rejoin, twice.state) == ((), (), "COMPLETED"), "woken by two, it joins once"


async def test_a_receipt_whose_cause_never_comes_is_held_once_and_still_joins(make: Callable[..., Any]) -> None:
    async with make() as bench:
        receipt = await bench.receive(b"r", endpoint=QUEUE)
        await bench.conclude(receipt, Decision("park", waits=(0,), wait_seconds=60), answer("R1"), "CUSTOMS")
        bench.clock.move(61)
        assert (await bench.store.overdue(bench.clock())).parked == [receipt.id]
        assert (await bench.store.overdue(bench.clock())).parked == []
        assert await bench.state(receipt.id) == "HELD"
        cause = await bench.receive(b"c")
        concluded = await bench.accept(cause, to_customs(expects_receipt=True))
        (again,) = await bench.store.arrivals(concluded.rejoin)
        await bench.conclude(again, Decision("accept"), answer("R1"), "CUSTOMS")
        assert await bench.state(receipt.id) == "COMPLETED", "nothing had to be sent"


async def test_a_missing_receipt_is_told_once(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        concluded = await bench.accept(cause, to_customs(expects_receipt=True, deadline_seconds=60))
        await bench.send(concluded.deliveries[0])
        assert (await bench.store.overdue(bench.clock())).receipts == []
        bench.clock.move(61)
        late = await bench.store.overdue(bench.clock())
        assert (late.receipts, late.missing) == ([(cause.id, "CUSTOMS", "last")], {("CUSTOMS", "last"): 1})
        late = await bench.store.overdue(bench.clock())
        assert (late.receipts, late.missing) == ([], {("CUSTOMS", "last"): 1})


async def test_a_deferred_delivery_counts_its_attempts(make: Callable[..., Any]) -> None:
    async with make() as bench:
        concluded = await bench.accept(await bench.receive(b"body"))
        due = bench.clock() + 5 * SECOND
        settled = await bench.send(concluded.deliveries[0], "defer", due_at=due, code="SWX-3010", en="no", zh="否")
        assert settled.state == "QUEUED"
        (queued,) = await bench.store.due("", (0, 0), 10)
        assert (queued.attempts, queued.due_at, queued.parcel) == (1, due, None)
        (claimed,) = await bench.store.claim([queued], bench.clock())
        assert (claimed.attempts, claimed.parcel.read()) == (2, b"body")


async def test_frozen_bytes_are_sent_and_the_original_is_kept(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive(b"<a/>")
        own = Parcel("receipt.json", b"{}" * 200, {"type": "receipt"})
        plans = (to_customs(sign="ceb-sm2"), Planned(OUTBOX.name, "ENT1", parcel=own, disposition="accepted"))
        decision = Decision("accept", plans)
        concluded = await bench.conclude(arrival, decision, order(), sealed={0: Parcel("a.xml", b"<a>signed</a>")})
        sent = [d.parcel for d in concluded.deliveries]
        assert [p.read() for p in sent] == [b"<a>signed</a>", own.body]
        for number, parcel in enumerate(sent):
            assert await bench.store.payload(arrival.id, number) == parcel
        assert (await bench.store.payload(arrival.id)).read() == b"<a/>"


async def test_the_mailbox_lists_what_was_delivered_in_the_order_of_delivery(make: Callable[..., Any]) -> None:
    async with make() as bench:
        first = await bench.accept(await bench.receive(b"1"), Planned("ent1-http", "ENT1"), own_id="G-1")
        second = await bench.accept(await bench.receive(b"2"), Planned("ent1-http", "ENT1"), own_id="G-2")
        await bench.send(second.deliveries[0])
        (mail,) = await bench.store.mailbox("ent1-http", 0, 10)
        assert mail.parcel.read() == b"2"
        await bench.send(first.deliveries[0])
        (late,) = await bench.store.mailbox("ent1-http", mail.position, 10)
        assert late.parcel.read() == b"1"
        assert await bench.store.mailbox("nobody", 0, 10) == []


async def test_messages_are_found_by_every_key(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive()
        await bench.accept(arrival)
        for value in ("G-1", "G-1.0", "ORDER-1.0", "EBP/ORDER-1.0"):
            assert [m["id"] for m in await bench.store.search(value)] == [show_id(arrival.id)], value
        assert await bench.store.search("ORDER-2") == []


async def test_keys_are_found_however_many_came_since(make: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr("exchange.stores._sqlite_keys.GATHER", 40)
    async with make() as bench:
        for i in range(200):
            await bench.accept(await bench.receive(), own_id=f"G-{i}", number=f"ORDER-{i}")
        for i in range(0, 200, 7):
            (found,) = await bench.store.search(f"ORDER-{i}.0")
            assert found["own_id"] == f"G-{i}"


async def test_what_a_party_has_held_for_one_reason_is_read_oldest_first_in_pages(make: Callable[..., Any]) -> None:
    async with make() as bench:
        held = [await bench.receive(str(n).encode()) for n in range(5)]
        for arrival, code in zip(held, ("SWX-2060", "SWX-2010", "SWX-2060", "SWX-2060", "SWX-2060"), strict=True):
            await bench.conclude(arrival, Decision("hold", code=code), order(f"H-{arrival.id}"))
        await bench.store.change([Change(held[3].id, "release", "wang", "paid", 1)])
        ids, party = [arrival.id for arrival in held], held[0].party
        assert await bench.store.held_for(party, "SWX-2060", 0, 10) == [ids[0], ids[2], ids[4]]
        assert await bench.store.held_for(party, "SWX-2060", ids[0], 1) == [ids[2]]
        assert await bench.store.held_for("NOBODY", "SWX-2060", 0, 10) == []


async def test_lists_are_by_state_and_newest_first(make: Callable[..., Any]) -> None:
    async with make() as bench:
        held = await bench.receive(b"1")
        await bench.conclude(held, Decision("hold", code="SWX-2010"), order("H"))
        rejected = await bench.receive(b"2")
        await bench.conclude(rejected, Decision("reject", code="SWX-1040"))
        failed = await bench.receive(b"3")
        await bench.send((await bench.accept(failed, own_id="F")).deliveries[0], "fail")
        accepted = await bench.receive(b"4")
        await bench.accept(accepted, own_id="A")
        waiting = await bench.receive(b"5")
        by_state = {"HELD": held, "REJECTED": rejected, "FAILED": failed, "ACCEPTED": accepted, "RECEIVED": waiting}
        for state, arrival in by_state.items():
            assert [m["id"] for m in await bench.store.messages(state=state)] == [show_id(arrival.id)], state
        codes = {m["id"]: m["code"] for m in await bench.store.messages() if m["code"]}
        assert codes == {show_id(held.id): "SWX-2010", show_id(rejected.id): "SWX-1040"}
        every = [m["id"] for m in await bench.store.messages()]
        assert every == [show_id(a.id) for a in (waiting, accepted, failed, rejected, held)]
        assert [m["id"] for m in await bench.store.messages(before=rejected.id)] == [show_id(held.id)]


async def test_operators_hold_release_and_discard(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive()
        await bench.conclude(arrival, Decision("hold", code="SWX-2010"), order())
        changed = await bench.change("release", arrival.id)
        assert (changed.state, changed.arrivals) == ("RECEIVED", [arrival.id])
        (again,) = await bench.store.arrivals([arrival.id])
        concluded = await bench.accept(again)
        held = await bench.change("hold", arrival.id)
        assert held.withdrawn == [(arrival.id, 0)]
        assert await bench.store.claim(concluded.deliveries, NOON) == []
        (back,) = (await bench.change("release", arrival.id)).deliveries
        await bench.send(back, "fail")
        assert await bench.state(arrival.id) == "FAILED"
        await bench.change("discard", arrival.id)
        assert await bench.state(arrival.id) == "DISCARDED"
        assert await bench.store.queues() == []
        line = (await bench.store.life(arrival.id))["journal"][-2]
        assert (line["event"], line["actor"], line["reason"]) == ("discard", "zhang", "asked by phone")


async def test_operators_resend_failed_and_delivered_bytes(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive(b"same bytes")
        concluded = await bench.accept(arrival)
        await bench.send(concluded.deliveries[0], "fail")
        for _ in range(2):  # once FAILED, once COMPLETED
            (again,) = (await bench.change("resend", arrival.id)).deliveries
            assert await bench.state(arrival.id) == "ACCEPTED"
            (claimed,) = await bench.store.claim([again], NOON)
            assert claimed.parcel.read() == b"same bytes"
            await bench.store.settle([Outcome(claimed, "deliver", NOON)])
            assert await bench.state(arrival.id) == "COMPLETED"


async def test_an_answered_delivery_is_never_resent(make: Callable[..., Any]) -> None:
    async with make() as bench:
        cause = await bench.receive()
        await bench.accept(cause, to_customs(expects_receipt=True))
        receipt, envelope = await bench.receive(b"r", endpoint=QUEUE), answer("R1")
        answered = Answered(0, cause.id, 0, 1, "CUSTOMS", envelope.answers[0])
        await bench.conclude(receipt, Decision("accept", answered=(answered,)), envelope, "CUSTOMS")
        with pytest.raises(Refused):
            await bench.change("resend", cause.id)
        assert await bench.state(cause.id) == "COMPLETED"


async def test_requeue_decides_anew_and_keeps_the_old_deliveries(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive()
        await bench.send((await bench.accept(arrival)).deliveries[0])
        assert (await bench.change("requeue", arrival.id)).arrivals == [arrival.id]
        (again,) = await bench.store.arrivals([arrival.id])
        (delivery,) = (await bench.accept(again)).deliveries
        assert delivery.number == 1
        await bench.send(delivery)
        assert len((await bench.store.life(arrival.id))["deliveries"]) == 2


async def test_a_change_that_life_forbids_changes_nothing(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival, other = await bench.receive(), await bench.receive()
        await bench.conclude(other, Decision("hold"), order())
        await bench.conclude(arrival, Decision("reject"))
        changes = [Change(m, "release", "li", "why", NOON) for m in (other.id, arrival.id)]
        with pytest.raises(Refused, match="REJECTED"):
            await bench.store.change(changes)
        assert await bench.state(other.id) == "HELD"


async def test_what_is_not_there_is_not_found(make: Callable[..., Any]) -> None:
    async with make() as bench:
        for message in (7, (20779 << 40) + 5):
            with pytest.raises(NotFound):
                await bench.store.life(message)
            with pytest.raises(NotFound):
                await bench.store.payload(message)


async def test_generations_are_kept_and_the_newest_is_first(make: Callable[..., Any]) -> None:
    async with make() as bench:
        assert await bench.store.generations() == []
        await bench.store.publish("routes: []\n", "zhang", "first", NOON)
        second = await bench.store.publish("routes: [] # 二\n", "li", "second", NOON)
        assert second.number == 2
        assert [(g.number, g.actor, g.text) for g in await bench.store.generations()] == [
            (2, "li", "routes: [] # 二\n"),
            (1, "zhang", "routes: []\n"),
        ]


async def test_holds_of_parties_are_kept(make: Callable[..., Any]) -> None:
    async with make() as bench:
        hold = {"party:ENT1": Hold("zhang", "unpaid", NOON)}
        assert await bench.store.holds({"party:ENT1": "held"}, "zhang", "unpaid", NOON) == hold
        assert await bench.store.holds() == hold
        assert await bench.store.holds({"party:ENT1": ""}, "zhang", "paid", NOON) == {}


async def test_retention_drops_days_that_hold_nothing_open(make: Callable[..., Any]) -> None:
    async with make() as bench:
        done, open_ = await bench.receive(), None
        await bench.send((await bench.accept(done)).deliveries[0])
        bench.clock.move(86400)
        open_ = await bench.receive(b"open")
        await bench.accept(open_, own_id="OPEN")
        bench.clock.move(86400)
        newest = await bench.receive(b"newest")
        assert await bench.store.retain((newest.id >> 40) + 1) == 1
        with pytest.raises(NotFound):
            await bench.store.life(done.id)
        assert await bench.state(open_.id) == "ACCEPTED"
        (context,) = await bench.store.context([asks(newest, order())])
        assert context.prior is None


async def test_a_poisonous_request_fails_alone(make: Callable[..., Any]) -> None:
    async with make() as bench:
        good = bench.store.receive(Parcel("good", b"1"), OUTBOX, NOON)
        bad = bench.store.receive(Parcel("\udcff", b"2"), OUTBOX, NOON)  # no UTF-8: SQLite can't hold it
        also = bench.store.receive(Parcel("also", b"3"), OUTBOX, NOON)
        results = await asyncio.gather(good, bad, also, return_exceptions=True)
        assert [type(r).__name__ for r in results] == ["Arrival", "UnicodeEncodeError", "Arrival"]
        assert len(await bench.store.messages()) == 2


async def test_a_thousand_parcels_at_once_each_get_their_own_id(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrivals = await asyncio.gather(*(bench.receive(str(i).encode()) for i in range(1000)))
        assert len({a.id for a in arrivals}) == 1000
        bodies = [(await bench.store.payload(a.id)).read() for a in arrivals[::100]]
        assert bodies == [str(i).encode() for i in range(0, 1000, 100)]


# -- what outlives the process -----------------------------------------------------------------------------------


async def test_everything_is_there_after_a_restart(lasting: Callable[..., Any]) -> None:
    async with lasting() as bench:
        undecided = await bench.receive(b"undecided")
        queued = await bench.receive(b"queued")
        await bench.accept(queued, to_customs(keys=("order:1",)), own_id="Q")
        sending = await bench.receive(b"sending")
        concluded = await bench.accept(sending, own_id="S")
        await bench.store.claim(concluded.deliveries, NOON)
        receipt = await bench.receive(b"early", endpoint=QUEUE)
        await bench.conclude(receipt, Decision("park", waits=(0,), wait_seconds=60), answer("R", number="X.0"), "C")
    store = None
    async with lasting() as bench:
        store = bench.store
        (context,) = await store.context([asks(undecided, order("Q"))])
        assert context.prior is not None
        late = await bench.accept(await bench.receive(b"cause"), to_customs(), own_id="X", number="X")
        assert late.rejoin == [receipt.id]
        due = await store.due("", (0, 0), 100)
        assert [(d.message, d.attempts, d.unknown, d.keys) for d in due[:2]] == [
            (queued.id, 0, 0, ("order:1",)),
            (sending.id, 1, 1, ()),
        ]


async def test_opening_tells_what_is_open(lasting: Callable[..., Any], tmp_path: Path) -> None:
    async with lasting() as bench:
        undecided = await bench.receive()
        concluded = await bench.accept(await bench.receive(b"s"))
        await bench.store.claim(concluded.deliveries, NOON)
    store = SqliteStore(tmp_path / "store", now=Clock())
    backlog = await store.open()
    await store.close()
    assert (backlog.arrivals, backlog.deliveries, backlog.unknown) == ((undecided.id,), 1, 1)


async def test_a_delivery_that_kills_its_worker_three_times_is_held(lasting: Callable[..., Any]) -> None:
    async with lasting() as bench:
        arrival = await bench.receive()
        await bench.accept(arrival)
    for state in ("QUEUED", "QUEUED", "HELD"):
        async with lasting() as bench:
            await bench.store.claim(await bench.store.due("", (0, 0), 10), NOON)
        async with lasting() as bench:
            (delivery,) = (await bench.store.life(arrival.id))["deliveries"]
            assert delivery["state"] == state


async def test_tries_of_a_suspicious_arrival_are_counted_on_disk(lasting: Callable[..., Any]) -> None:
    async with lasting() as bench:
        arrival = await bench.receive()
    for tries in (1, 2, 3):
        async with lasting() as bench:
            (again,) = await bench.store.arrivals([arrival.id], count_try=True)
            assert again.tries == tries


async def test_old_bodies_are_read_with_the_dictionary_they_were_written_with(tmp_path: Path) -> None:
    body = b"<ceb:orderNo>" * 100
    store = SqliteStore(tmp_path, now=Clock(), sample=b"<ceb:orderNo>" * 50)
    await store.open()
    arrival = await store.receive(Parcel("a", body), OUTBOX, NOON)
    await store.close()
    store = SqliteStore(tmp_path, now=Clock(), sample=b"another sample altogether" * 50)
    await store.open()
    again = await store.receive(Parcel("b", body), OUTBOX, NOON)
    assert [(await store.payload(a.id)).read() for a in (arrival, again)] == [body, body]
    await store.close()


async def test_a_mailbox_delivery_is_done_once_it_is_kept(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive(b"body")
        mailed = Planned("ent1-http", "ENT1", disposition="accepted", mailbox=True)
        concluded = await bench.accept(arrival, to_customs(), mailed)
        assert [d.endpoint for d in concluded.deliveries] == [QUEUE.name]
        assert concluded.mailed == ["ent1-http"]
        (mail,) = await bench.store.mailbox("ent1-http", 0, 10)
        assert mail.parcel.read() == b"body"
        assert [d["state"] for d in (await bench.store.life(arrival.id))["deliveries"]] == ["QUEUED", "DELIVERED"]
        assert (await bench.send(concluded.deliveries[0])).finished == "COMPLETED"


async def test_a_message_for_mailboxes_only_is_complete_at_once(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await bench.receive()
        concluded = await bench.accept(arrival, Planned("ent1-http", "ENT1", mailbox=True))
        assert concluded.state == await bench.state(arrival.id) == "COMPLETED"
        (again,) = (await bench.change("resend", arrival.id)).deliveries
        await bench.store.claim([again], NOON)
        await bench.store.settle([Outcome(again, "deliver", NOON)])
        assert len(await bench.store.mailbox("ent1-http", 0, 10)) == 2
