"""The main header of AVI: how many streams it promises."""

from __future__ import annotations

from typing import BinaryIO

HEADER = 72
"""Bytes up to the end of the fields that are read."""


def promised_streams(file: BinaryIO) -> int:
    """As the header says; 0 where it cannot be read."""
    head = file.read(HEADER)
    if head[:4] != b"RIFF" or head[24:28] != b"avih" or len(head) < 60:
        return 0
    return int.from_bytes(head[56:60], "little")
