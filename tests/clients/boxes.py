"""Which boxes an ISO file holds, out of what MP4Box prints of it."""

from __future__ import annotations

import re

MEANINGFUL = {
    "pasp": "shape of a sample",
    "clap": "clean aperture",
    "colr": "colour",
    "mdcv": "HDR10 mastering display",
    "clli": "HDR10 light levels",
    "amve": "ambient viewing environment",
    "st3d": "stereo",
    "sv3d": "projection",
    "dvcC": "Dolby Vision",
    "dvvC": "Dolby Vision",
    "uuid": "spherical metadata, and others",
    "tapt": "apertures of a track",
    "tmcd": "timecode",
    "chap": "link to chapters",
    "elng": "extended language",
    "kind": "role of a track",
    "chpl": "chapters",
    "name": "title of a track",
    "sgpd": "groups of samples",
}
"""Boxes that say something of the content, and what; others are the muxer's own housekeeping."""
START = re.compile(r'<(?P<name>\w+) [^>]*?Type="(?P<type>[^"]{4})"')


def inventory(dump: str) -> dict[str, list[str]]:
    """Track ("movie", "track 1", ...) -> its meaningful boxes, sorted; one box of a kind counts once."""
    found: dict[str, set[str]] = {"movie": set()}
    place, tracks = "movie", 0
    for line in dump.splitlines():
        if "</TrackBox>" in line:
            place = "movie"
        elif (start := START.search(line)) is not None:
            kind = start["type"]
            if kind == "trak":
                tracks += 1
                place = f"track {tracks}"
                found[place] = set()
            if start["name"] == "UnknownBox" and (code := re.search(r'OriginalType="([^"]{4})"', line)):
                kind = code[1]
            if kind in MEANINGFUL:
                found[place].add(kind)
    return {place: sorted(kinds) for place, kinds in found.items()}
