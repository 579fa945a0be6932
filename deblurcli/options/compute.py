"""Where and how precisely networks are computed."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import check, option, require

DTYPES = ("auto", "fp32", "bf16", "fp16")
MIN_TILE = 32
"""Pixels."""


@dataclass(frozen=True)
class ComputeOptions:
    """What every command that runs networks takes."""

    device: str = option(
        "auto",
        help="Where to compute: auto (the best present), cpu, cuda, cuda:N or mps.",
        panel="Network and device",
        metavar="DEVICE",
        complete="auto cpu cuda mps",
    )
    dtype: str = option(
        "auto",
        help="Precision of the networks; auto: the fastest that the device computes well.",
        panel="Network and device",
        choices=DTYPES,
    )
    tile: str = option(
        "auto",
        help="Side of the tiles in pixels; auto: from the free memory.",
        panel="Network and device",
        metavar="auto|off|N",
        complete="auto off",
    )
    offline: bool = option(
        False, help="Never open a connection, not even for missing weights.", panel="Network and device"
    )

    def __post_init__(self) -> None:
        if isinstance(self.tile, int):
            object.__setattr__(self, "tile", str(self.tile))
        check(self)
        number = self.tile.isdecimal() and int(self.tile) >= MIN_TILE
        require(
            number or self.tile in ("auto", "off"),
            f"--tile {self.tile} is not a tile size",
            f"give auto, off, or at least {MIN_TILE}",
        )
