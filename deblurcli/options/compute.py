"""Where and how precisely networks are computed."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import Options, compute_device, option, require

DTYPES = ("auto", "fp32", "bf16", "fp16")
MIN_TILE = 32
"""Pixels."""
LARGE = 16_000_000
"""Pixels of a frame above which memory is what counts: a picture of it has 200 MB, and ten would be at hand."""
ROWS = 256
"""Rows of a ``LARGE`` frame that are worked on at a time, since all of them would take several times its memory."""
_PANEL = "Network and device"


@dataclass(frozen=True)
class ComputeOptions(Options):
    """What every command that runs networks takes."""

    device: str = compute_device("Where to compute")
    dtype: str = option("auto", "Precision; auto: the fastest that the device computes well.", _PANEL, choices=DTYPES)
    tile: str = option("auto", "Side of the tiles in pixels; auto: from the free memory.", _PANEL, metavar="auto|off|N")
    offline: bool = option(False, "Never open a connection, not even for missing weights.", _PANEL)

    def __post_init__(self) -> None:
        if isinstance(self.tile, int):
            object.__setattr__(self, "tile", str(self.tile))
        super().__post_init__()
        fits = self.tile in ("auto", "off") or (self.tile.isdecimal() and int(self.tile) >= MIN_TILE)
        require(fits, f"--tile {self.tile} is not a tile size", f"give auto, off, or at least {MIN_TILE}")
