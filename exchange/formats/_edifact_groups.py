"""The segments of a message in their groups, by the structure of its version.

Made for transformations, which ask for what belongs together: the seals of this container, the time of that status. A
segment that may not stand where it does belongs to the group around it; whether that is an error is for the schema to
say.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from exchange.formats._edifact_envelope import Message
from exchange.formats._edifact_schema import Structure
from exchange.formats._edifact_tables import Node
from exchange.formats._edifact_text import Segment


@define(eq=False)
class Group:
    """The segment that a group begins with and what follows it; of a message as a whole, UNH."""

    message: Message
    above: Group | None
    segments: list[Segment] = field(factory=list)  # its own
    lines: list[int] = field(factory=list)  # numbers of these in the payload, from 1
    groups: list[Group] = field(factory=list)  # those inside, in their order
    _named: dict[str, list[Segment]] | None = None

    def named(self, tag: str) -> list[Segment]:
        """Return the segments of a tag: its own first, then those of the groups inside."""
        if self._named is None:
            self._named = {}
            for segment in self._all():
                self._named.setdefault(segment[0][0][0], []).append(segment)
        return self._named.get(tag, [])

    def _all(self) -> Iterator[Segment]:
        yield from self.segments
        for group in self.groups:
            yield from group._all()

    def parts(self, tag: str) -> Iterator[Group]:
        """Yield the groups inside that begin with a segment of a tag, and single segments as groups of their own."""
        for number, segment in enumerate(self.segments):
            if number and segment[0][0][0] == tag:
                yield Group(self.message, self, [segment], [self.lines[number]])
        for group in self.groups:
            if group.segments[0][0][0][0] == tag:
                yield group
            else:
                yield from group.parts(tag)


def grouped(message: Message, structure: Structure) -> Group:
    """Return a message with its segments in their groups."""
    whole = Group(message, None)
    counts = [0] * len(structure.nodes)
    node, open = structure.nodes[1], [(structure.nodes[0], whole)]
    for line, segment in enumerate(message.segments(), message.line):
        if line > message.line:
            way = next(
                (w for w in structure.ways(node.number, segment[0][0][0]) if counts[w.counted.number] < w.counted.most),
                None,
            )
            if way is not None:
                _open(way.counted, bool(way.entered), counts, open)
                node = way.node
        open[-1][1].segments.append(segment)
        open[-1][1].lines.append(line)
    return whole


def _open(counted: Node, entered: bool, counts: list[int], open: list[tuple[Node, Group]]) -> None:
    """End the groups that a segment leaves, and begin the one it opens."""
    while len(open) > 1 and open[-1][0] is not counted.above:
        open.pop()
    counts[counted.number] += 1
    if entered:
        counts[counted.number + 1 : counted.last + 1] = [0] * (counted.last - counted.number)
        around = open[-1][1]
        group = Group(around.message, around)
        around.groups.append(group)
        open.append((counted, group))
