"""What MediaInfo, ExifTool and MP4Box see that differs, as a second and third opinion beside ``ffprobe``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from tests.clients.facts import Facts
from tests.clients.kinds import (
    BOX_KINDS,
    DEFAULT_NAMES,
    EXCLUDED_WARNINGS,
    EXIFTOOL_VIDEO,
    MEDIAINFO,
    MEDIAINFO_DECODED,
    MEDIAINFO_PARSED,
    MEDIAINFO_SAME_FAMILY,
    MEDIAINFO_UNTOLD,
    Difference,
)

MEANS_NOTHING = {"Rotation": "0.000", "PixelAspectRatio": "1.000", "ScanType": "Progressive"}
"""What MediaInfo says of a property, or leaves out, with the same meaning."""


NO_LANGUAGE = {"Unknown (32767)": "und"}
"""QuickTime's number for it."""


def mediainfo(before: Facts, after: Facts, same_family: bool) -> Iterator[Difference]:
    old, new = (_tracks(f["mediainfo"]) for f in (before, after))
    for (kind, number), track in old.items():
        other = new.get((kind, number))
        for field, meaning in MEDIAINFO.get(kind, {}).items() if other else ():
            if field in MEDIAINFO_SAME_FAMILY and not same_family:
                continue
            values = [_media_value(t, field) for t in (track, other)]
            parsed = {track.get("Format"), other.get("Format")} <= MEDIAINFO_PARSED and "none" not in values
            if (field in MEDIAINFO_UNTOLD and not parsed) or (field in MEDIAINFO_DECODED and values[0] == "none"):
                continue
            if values[0] != values[1]:
                yield Difference(meaning, f"{kind.lower()} {field}", *values, judge="mediainfo")


def _tracks(tracks: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for track in tracks:
        kind = track["@type"]
        found[kind, sum(1 for name, _ in found if name == kind)] = track
    return found


def _media_value(track: dict[str, Any] | None, field: str) -> str:
    value = str((track or {}).get(field, MEANS_NOTHING.get(field, "none")))
    return "none" if field == "Title" and value in DEFAULT_NAMES else value


def exiftool(before: Facts, after: Facts) -> Iterator[Difference]:
    """Fields of movie and tracks; a duration is the same if it is within a hundredth, as ExifTool rounds it."""
    old, new = before.get("exiftool"), after.get("exiftool")
    for key, value in (old or {}).items():
        kind = EXIFTOOL_VIDEO.get(key.rpartition(":")[2])
        if kind is None or new is None or (kind == "length" and value == "0 s"):
            continue  # fragments say nothing of the whole length
        other = new.get(key, "none")
        value, other = (NO_LANGUAGE.get(str(text), text) for text in (value, other))
        if value == other or (kind == "title" and value in DEFAULT_NAMES) or _close(str(value), str(other)):
            continue
        subject = f"{key.rpartition(':')[2]}" if kind == "tag" else key
        yield Difference(kind, subject, value, other, judge="exiftool")


def _close(one: str, other: str) -> bool:
    numbers = [re.fullmatch(r"(\d+(?:\.\d+)?) s", text) for text in (one, other)]
    return all(numbers) and abs(Fraction(numbers[0][1]) - Fraction(numbers[1][1])) <= Fraction(1, 100)  # type: ignore[index]


def boxes(before: Facts, after: Facts) -> Iterator[Difference]:
    old, new = before.get("boxes"), after.get("boxes")
    if not old or not new or old.keys() != new.keys():
        return  # another number of tracks is a matter of streams
    for place, kinds in old.items():
        for kind in sorted(set(kinds) - set(new[place])):
            if kind in BOX_KINDS:
                yield Difference(BOX_KINDS[kind], f"{place} box {kind}", "there", "gone", judge="MP4Box")


def decoding(before: Facts, after: Facts) -> Iterator[Difference]:
    """Complaints of the decoder that the input did not cause."""
    known = {_complaint(line) for line in before["warnings"]}
    for line in after["warnings"]:
        if _complaint(line) not in known and not _complaint(line).startswith(tuple(EXCLUDED_WARNINGS)):
            yield Difference("decoder warnings", "ffmpeg", "none", line, judge="ffmpeg")


def _complaint(line: str) -> str:
    """Without who complains: another decoder may say the same of another codec."""
    return re.sub(r"^\[[^\]]*\] ", "", line)
