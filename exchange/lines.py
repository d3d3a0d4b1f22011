"""Who waits behind whom: those that share a mark come one after the other, in the order in which they came. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

Mark = tuple[str, ...]


@define(eq=False)
class Lines:
    """A line for each mark. Whoever comes joins all of his at once, so nobody waits for one that waits for him."""

    _lines: dict[Mark, dict[int, None]] = field(factory=dict)
    _marks: dict[int, Sequence[Mark]] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._marks)

    def __contains__(self, id: int) -> bool:
        return id in self._marks

    def free(self, id: int, marks: Sequence[Mark]) -> bool:
        """Tell whether nobody stands in front of *id* in the lines of these marks."""
        return all(next(iter(line)) == id for mark in marks if (line := self._lines.get(mark)))

    def join(self, id: int, marks: Sequence[Mark]) -> None:
        """Stand at the end of the lines; whoever stands there already keeps his places."""
        if id not in self._marks:
            self._marks[id] = marks = tuple(dict.fromkeys(marks))
            for mark in marks:
                self._lines.setdefault(mark, {})[id] = None

    def leave(self, id: int) -> list[int]:
        """Leave all lines; return those whom nobody stands in front of any more."""
        following: dict[int, None] = {}
        for mark in self._marks.pop(id):
            line = self._lines[mark]
            del line[id]
            if line:
                following[next(iter(line))] = None
            else:
                del self._lines[mark]
        return [one for one in following if self.free(one, self._marks[one])]
