"""What restoring reads frames from and writes them to, a file or a pipe: both look the same to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av

from deblurcli.errors import DeblurError
from deblurcli.media.damage import Damage
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.inventory import Inventory
from deblurcli.media.probe import MediaInfo
from deblurcli.media.reader import Frame


class Source(Protocol):
    """A video that is read once from its beginning to its end; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    info: MediaInfo
    inventory: Inventory
    """What a look through it has told; of a pipe, nothing."""
    damage: Damage
    excerpt: Excerpt | None

    def items(self) -> Iterator[Frame | av.Packet]:
        """Frames and packets of other streams in the order of the video. Raises InputError."""


class Sink(Protocol):
    """Where restored frames go; a context manager whose clean exit completes them."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    destination: Path
    codec: str
    pix_fmt: str
    foreseen: list[str]
    """What will not be kept, as far as it is known before the first frame, a line each."""
    notes: list[str]
    """What is worth saying though nothing is lost."""
    differences: list[str]
    """What was not kept, a line each; complete at the end."""
    damaged: int
    """Parts of an earlier run that are of no use."""

    @property
    def frames(self) -> int:
        """Frames that are written."""

    @property
    def replaced(self) -> int:
        """How many of them came out of the network broken, so that the input's were taken."""

    @property
    def untouched(self) -> int:
        """How many of them were sharp already, and left as they are."""

    def require_room(self) -> str:
        """A line about the room on the disk; empty where none is taken. Raises OutputError: there is too little."""

    def write(self, item: Frame | av.Packet) -> None:
        """Take a frame; packets pass by. Raises OutputError, BrokenPipeError."""

    def failed(self, error: Exception) -> DeblurError:
        """The error to raise for one of a library or the system."""
