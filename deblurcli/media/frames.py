"""Frames in order, and what every reader and writer of them is to the jobs, of a file, of pictures or of a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np

from deblurcli.errors import DeblurError
from deblurcli.media.damage import Damage
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.inventory import Inventory
from deblurcli.media.layout import PlaneLayout
from deblurcli.media.probe import MediaInfo, StreamInfo

if TYPE_CHECKING:
    from torch import Tensor

    from deblurcli.media.images import Image


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture in the source's own samples."""

    planes: tuple[np.ndarray, ...]
    """uint8 or uint16, H x W, chroma as stored, in the order Y, U, V[, A] or G, B, R[, A] or grey."""
    layout: PlaneLayout
    pts: int
    """Presentation time in units of ``time_base``, as ``duration`` is."""
    time_base: Fraction
    """Seconds."""
    duration: int
    picture: av.VideoFrame | None = field(default=None, repr=False)
    """As decoded: its side data (captions, HDR data, field order) travels to the encoder."""
    image: Image | None = field(default=None, repr=False)
    """As read, of a sequence of pictures: its metadata travel to the picture that is written."""
    replaced: bool = False
    """It stands for a restored frame that came out broken."""
    untouched: bool = False
    """It was sharp already, and stays as it is."""

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    def rgb(self) -> Tensor:
        """Float32 RGB, 3 x H x W in [0, 1], contiguous."""
        from deblurcli.media.colour import to_rgb

        return to_rgb(self.planes, self.layout)

    def alpha(self) -> Tensor | None:
        """Float32, H x W in [0, 1]; None where there is none."""
        import torch

        if not self.layout.alpha:
            return None
        return torch.from_numpy(self.planes[-1].astype(np.float32)) / self.layout.top

    def preview(self) -> Tensor:
        """RGB to look at, faster than ``rgb()``: uint8, 3 x H x W, rounded; ``rgb()`` itself for more than 8 bits."""
        from deblurcli.media.colour import to_rgb8

        return to_rgb8(self.planes, self.layout) if self.layout.depth <= 8 else self.rgb()

    def with_change(self, change: Tensor) -> Frame:
        """A new frame with an RGB difference added (restored - ``rgb()``): float, 3 x H x W.

        A zero change gives the same samples bit for bit; alpha is not touched.
        """
        from deblurcli.media.colour import add_change

        return replace(self, planes=add_change(self.planes, self.layout, change))


class FrameReader:
    """Reads the frames of one video, in constant memory. Use as a context manager; read through once."""

    info: MediaInfo
    """What there is, or the piece of it that is read."""
    inventory: Inventory
    damage: Damage
    """Everything that was found wrong so far."""
    layout: PlaneLayout
    copied: bool
    """Whether ``items`` also yields the packets of other streams."""
    excerpt: Excerpt | None
    within: tuple[Fraction, Fraction | None]
    """When an excerpt begins and ends on the clock of the file, in seconds."""
    timed: bool = True
    """Whether the frames have times of their own."""
    foreseen: tuple[str, ...] = ()
    """What of the input no video can hold, a line each."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the input."""

    def frames(self) -> Iterator[Frame]:
        """The frames in order of time. Raises InputError if nothing decodes."""
        return (item for item in self.items() if isinstance(item, Frame))

    def items(self) -> Iterator[Frame | av.Packet]:
        """Frames and, if ``copied``, the other streams' packets, in the order of the file."""
        raise NotImplementedError

    def samples(self, places: int, count: int) -> Iterator[list[Frame]]:
        """``count`` frames at each of some places, evenly spread, as far as they can be had without reading all."""
        raise NotImplementedError

    def chapters(self) -> list[dict[str, Any]]:
        """The chapters as a container takes them."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes."""
        raise NotImplementedError

    @property
    def usual_duration(self) -> int:
        """From one frame to the next, in units of the stream's time base."""
        video = self.info.video
        return max(1, round(1 / (video.rate * video.time_base))) if video.rate else 1


class FrameWriter:
    """Writes what a reader yields. Use as a context manager: a clean exit commits, an exception leaves nothing."""

    destination: Path
    codec: str
    """How the frames are encoded, as FFmpeg calls it."""
    pix_fmt: str
    copied: Sequence[StreamInfo] = ()
    """The streams that go into the output as they are."""
    foreseen: list[str]
    """What will not be kept, as far as it is known before the first frame, a line each."""
    notes: list[str]
    """What is worth saying though nothing is lost."""
    differences: list[str]
    """What was not kept, a line each; complete after the exit."""
    damaged: int
    """What an earlier run left and is of no use."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError

    @property
    def frames(self) -> int:
        """Frames that are complete."""
        raise NotImplementedError

    @property
    def replaced(self) -> int:
        """How many of them came out of the network broken, so that the input's were taken."""
        raise NotImplementedError

    @property
    def untouched(self) -> int:
        """How many of them were sharp already, and left as they are."""
        raise NotImplementedError

    def taken(self, items: Iterable[Frame | av.Packet]) -> Iterator[Frame | av.Packet]:
        """The frames as the output takes them, and packets."""
        return iter(items)

    def require_room(self) -> str:
        """A line about how much room the rest takes and how much there is, empty where it takes none.

        Raises OutputError: it is not enough.
        """
        raise NotImplementedError

    def write(self, item: Frame | av.Packet) -> None:
        """Write a frame. Packets pass by. Raises OutputError, BrokenPipeError."""
        raise NotImplementedError

    def failed(self, error: Exception) -> DeblurError:
        """The error to raise for one of a library or the system: what could not be written, and what would help."""
        raise NotImplementedError
