"""Every declaration and notice of the catalogue through a whole daemon, family by family; receipts have their own.

One party sends all that a family has samples of, another gets it, byte for byte.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exchange import catalogue
from exchange.catalogue import Sample
from tests.daemon import running

TYPES = catalogue.load()
FROM_CUSTOMS = ("ClientFailure", "ImportAgrResponse")  # notices that go the other way
ELSEWHERE = ("customs/ceb",)  # test_cross_border


def given() -> dict[str, list[Sample]]:
    """Return the first valid sample of every type that answers nothing, by family."""
    found: dict[str, dict[str, Sample]] = {}
    for sample in TYPES.samples():
        type = TYPES.types[sample.type]
        family = str(type.spec.folder.relative_to(TYPES.directory))
        if not sample.code and type.kind != "receipt" and family not in ELSEWHERE:
            found.setdefault(family, {}).setdefault(sample.type, sample)
    return {family: list(samples.values()) for family, samples in found.items()}


GIVEN = given()


def routes(samples: list[Sample]) -> str:
    """Return a table in which who sends the samples is one party, and who is to get them another."""
    envelopes = [
        TYPES.read(opened, TYPES.identify(opened))
        for sample in samples
        for opened in [TYPES.open_as(sample.path.read_bytes(), TYPES.types[sample.type], sample.path.name)]
    ]
    senders = {envelope.sender for envelope in envelopes} - {""}
    receivers = {receiver for envelope in envelopes for receiver in envelope.receivers} - senders
    unread = {sample.path.suffix: sample.type for sample in samples if TYPES.types[sample.type].format == "opaque"}
    agreed = {"agreement": {"opaque": unread}}
    parties = [
        {"code": code, "role": role, "ids": sorted(ids), "endpoints": [{"name": place, "kind": "memory"}], **agreed}
        for code, role, ids, place in (
            ("ENT1", "enterprise", senders, "ent1-box"),
            ("FAR", "customs", receivers, "far-queue"),
        )
    ]
    ways = [
        {"name": "out", "match": {"role": "enterprise"}, "to": ["far-queue"]},
        {"name": "home", "match": {"role": "customs"}, "to": ["ent1-box"]},
    ]
    return json.dumps({"parties": parties, "routes": ways})


@pytest.mark.parametrize("family", sorted(GIVEN))
async def test_every_type_of_a_family_goes_where_its_route_says(family: str, tmp_path: Path) -> None:
    samples = GIVEN[family]
    async with running(tmp_path, routes(samples)) as house:
        for sample in samples:
            name, body = sample.path.name, sample.path.read_bytes()
            here, there = ("far-queue", "ent1-box") if sample.type in FROM_CUSTOMS else ("ent1-box", "far-queue")
            id = await house.give(here, body, name)
            await house.settle()
            life = await house.ask("message.show", id=id)
            assert (life["type"], life["state"] in ("ACCEPTED", "COMPLETED")) == (sample.type, True), life["journal"]
            assert [parcel.read() for parcel in house.sent(there) if parcel.name == name] == [body]
