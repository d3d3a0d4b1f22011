"""The enterprises at work: what they send, and whether what must come back came back."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from simulators._demo_clients import Client, Mail, connect
from simulators._demo_lives import FINAL, Life
from simulators._demo_samples import Sample
from simulators._demo_site import Site


@define
class Play:
    """Hands samples in, one after the other, and looks into the boxes of their senders for what must come back."""

    site: Site
    to_send: list[Sample]
    clients: dict[str, Client] = field(factory=dict)
    sent: list[Sample] = field(factory=list)
    mail: dict[str, list[Mail]] = field(factory=dict)
    states: dict[str, str] = field(factory=dict)
    proven: set[str] = field(factory=set)

    def turn(self, lives: Iterable[Life]) -> None:
        """Hand in the next sample whose turn it is, and look for proofs of those that are through."""
        self.states = {life.name: life.state for life in lives}
        ready = (one for one in self.to_send if not one.after or self.states.get(one.after, "RECEIVED") != "RECEIVED")
        if (sample := next(ready, None)) is not None:
            self._client(sample.endpoint).put(sample.name, sample.body)
            self.to_send.remove(sample)
            self.sent.append(sample)
        reached = [one for one in self.sent if one.name not in self.proven and self.states.get(one.name) == one.ends]
        for endpoint in {one.endpoint for one in reached}:
            self.mail.setdefault(endpoint, []).extend(self._client(endpoint).fetch())
        self.proven.update(one.name for one in reached if self._is_proven(one))

    def is_over(self) -> bool:
        """Tell whether nothing more can happen."""
        return not self.to_send and all(
            one.name in self.proven or self.states.get(one.name) in {*FINAL} - {one.ends} for one in self.sent
        )

    def missing(self) -> list[str]:
        """Say which samples didn't get where they must."""
        return [
            f"{one.name}: must be {one.ends} with the right receipt in its {one.box}, "
            f"is {self.states.get(one.name, 'not there')} · 未达到预期"
            for one in (*self.sent, *self.to_send)
            if one.name not in self.proven
        ]

    def summary(self) -> str:
        """Say how many samples got where they must, and which didn't."""
        missing, total = self.missing(), len(self.sent) + len(self.to_send)
        done = total - len(missing)
        return "\n".join((f"\n{done} of {total} samples ended as they must · 样例符合预期：{done}/{total}", *missing))

    def close(self) -> None:
        """Hang up."""
        for client in self.clients.values():
            client.close()

    def _client(self, endpoint: str) -> Client:
        if endpoint not in self.clients:
            self.clients[endpoint] = connect(self.site, self.site.doors[endpoint])
        return self.clients[endpoint]

    def _is_proven(self, sample: Sample) -> bool:
        return any(box == sample.box and sample.proof.search(body) for box, _, body in self.mail[sample.endpoint])
