"""What is wrong with an input: counted while it is read, and said in one line for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from deblurcli.errors import InputError
from deblurcli.media.inventory import Inventory
from deblurcli.media.structure.walk import LATE

MAX_PLACES = 3
"""Times that a line names."""


@dataclass
class Places:
    """How often something happened, and the first times that it did."""

    count: int = 0
    first: list[float] = field(default_factory=list)
    """Seconds since the beginning."""

    def add(self, seconds: float) -> None:
        self.count += 1
        if len(self.first) < MAX_PLACES:
            self.first.append(seconds)

    def __str__(self) -> str:
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return "at " + ", ".join(f"{seconds:.2f} s" for seconds in self.first) + more


class Damage:
    """Everything that was found wrong with a file.

    Args:
        name: the file's.
        strict: the first thing found is refused: every ``note`` raises InputError.

    Attributes:
        lost: frames that did not decode.
        damaged: frames that the decoder complained of.
        container: places where the container could not be read.
        copied: damaged packets of the other streams, by number and type of the stream.
        nudged: packets of the other streams whose times were wrong, by number of the stream.
        moved: frames whose time was missing, or not after that of the frame before.
        ends: how the file is shorter than it should be.
        faults: what of it does not fit together.
        restarts: where its clock was set anew.
    """

    def __init__(self, name: str, strict: bool) -> None:
        self.name, self.strict = name, strict
        self.lost, self.damaged = Places(), Places()
        self.container = self.moved = 0
        self.copied: dict[tuple[int, str], int] = {}
        self.nudged: dict[int, int] = {}
        self.ends: list[str] = []
        self.faults: list[str] = []
        self.restarts: list[str] = []
        self._complaint = self._trouble = ""

    @property
    def packets(self) -> int:
        """How many packets are damaged or missing, as far as it is known."""
        return (
            self.lost.count
            + self.damaged.count
            + self.container
            + sum(self.copied.values())
            + len(self.ends + self.faults)
        )

    def lines(self) -> list[str]:
        """What is to be said, a line for each kind."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from self.ends
        yield from self.faults
        if self.container:
            places = f"{self.container} places" if self.container > 1 else "one place"
            yield f"the container is damaged in {places} ({self._trouble}); what lay there is missing"
        if self.lost.count:
            yield f"{self.lost.count} frames did not decode; each repeats the one before it: {self.lost}"
        if self.damaged.count:
            yield f"{self.damaged.count} frames are damaged, the decoder says ({self._complaint}): {self.damaged}"
        for (index, kind), count in self.copied.items():
            yield f"{count} packets of the {kind} stream {index} are damaged; they were copied as they are"
        yield from self.restarts
        if self.moved:
            yield f"{self.moved} frames had no time, or one that steps back; they were put between their neighbours"
        for index, count in self.nudged.items():
            had = f"{count} packets of stream {index} had no time, or one that repeats or steps back"
            yield f"{had}; they were moved by a tick"

    def note_inventory(self, inventory: Inventory, start: float) -> None:
        """What the look through the file found; ``start``: seconds at which the video begins."""
        if inventory.cut:
            self.ends.append(inventory.cut)
        self.faults += inventory.faults
        for restart in inventory.restarts:
            at, moved = float(restart.at) - start, float(restart.moved)
            self.restarts.append(f"the clock restarts at {at:.2f} s; what follows was moved by {moved:+.2f} s")
        self._refuse()

    def note_end(self, how: str) -> None:
        """It ends before it should."""
        self.ends.append(how)
        self._refuse()

    def note_shrunk(self, before: int, now: int) -> None:
        """The file holds fewer packets than when it was looked through."""
        self.ends.append(f"the file became shorter while it was read: {now} of {before} frames were there")
        self._refuse()

    def note_changed(self) -> None:
        """The file is not the one that was opened."""
        self.ends.append("the file was changed, replaced or removed while it was read")
        self._refuse()

    def note_late(self) -> None:
        """A stream begins only later in the file."""
        if LATE not in self.faults:
            self.faults.append(LATE)
        self._refuse()

    def note_lost(self, seconds: float) -> None:
        """A frame did not decode."""
        self.lost.add(seconds)
        self._refuse()

    def note_damaged(self, seconds: float, complaint: str) -> None:
        """A frame decoded, but not well."""
        self._complaint = self._complaint or complaint or "it hides what is missing"
        self.damaged.add(seconds)
        self._refuse()

    def note_container(self, trouble: str) -> None:
        """The container could not be read somewhere."""
        self._trouble = self._trouble or trouble
        self.container += 1
        self._refuse()

    def note_copied(self, index: int, kind: str) -> None:
        """A packet of another stream is damaged."""
        self.copied[index, kind] = self.copied.get((index, kind), 0) + 1
        self._refuse()

    def note_nudged(self, index: int) -> None:
        """A packet of another stream had a wrong time."""
        self.nudged[index] = self.nudged.get(index, 0) + 1
        self._refuse()

    def note_moved(self, frames: int) -> None:
        """So many frames had a wrong time so far."""
        self.moved = frames
        self._refuse()

    def _refuse(self) -> None:
        if self.strict and (found := self.lines()):
            raise InputError(f"{self.name}: {found[0]}", "leave out --strict to restore it as it is")
