"""What a written file lost against its source, found by reading it back."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from deblurcli.media.probe import MediaInfo

STRUCTURAL_TAGS = frozenset(
    {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames", "number_of_bytes"}
    | {"bps", "vendor_id", "handler_name"}
    | {f"_statistics_{name}" for name in ("writing_app", "writing_date_utc", "tags")}
)
"""Tags that describe the file, not its content; each muxer writes its own."""


def content_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags that describe the content."""
    return {key: value for key, value in tags.items() if key.lower().removesuffix("-eng") not in STRUCTURAL_TAGS}


def lost(source: MediaInfo, result: MediaInfo, dropped: set[int], muxer: str, cure: str) -> list[str]:
    """One line for each property of ``source`` that ``result`` does not have, ``dropped`` streams aside."""
    before, after = source.video, result.video
    lines = []

    def differs(what: str, old: object, new: object) -> None:
        if old != new:
            lines.append(f"{what} not kept by {muxer}: {old} became {new}; {cure}")

    differs("rotation", before.display_matrix, after.display_matrix)
    differs("sample aspect ratio", before.sample_aspect_ratio or 1, after.sample_aspect_ratio or 1)
    if gone := sorted(set(before.side_data) - set(after.side_data)):
        lines.append(f"side data not kept by the encoder: {', '.join(gone)}; use --codec hevc for HDR10")
    differs("depth", before.depth, after.depth)
    differs("chapters", source.chapters, result.chapters)
    for name in ("primaries", "transfer", "matrix", "range"):
        old, new = (getattr(video.colour, f"{name}_tag") for video in (before, after))
        # What was open may be filled in, and limited range is what an absent tag means.
        if old != (0 if name == "range" else 2) and (name, old, new) != ("range", 1, 0):
            differs(f"colour tag {name}", old, new)
    copied = Counter((other.kind, other.codec) for other in source.others if other.index not in dropped)
    for (kind, codec), missing in (copied - Counter((other.kind, other.codec) for other in result.others)).items():
        lines.append(f"{missing} {kind} stream ({codec}) not kept by {muxer}; {cure}")
    kept = {key.lower(): value for key, value in result.tags.items()}
    missing_tags = [key for key, value in content_tags(source.tags).items() if kept.get(key.lower()) != value]
    if missing_tags:
        lines.append(f"tags not kept by {muxer}: {', '.join(sorted(missing_tags))}; {cure}")
    start, new_start = before.start * before.time_base, after.start * after.time_base
    moved = new_start - max(start, Fraction(0))
    if abs(moved) > max(after.time_base, before.time_base):
        lines.append(f"all times moved by {float(moved) * 1000:.3g} ms by {muxer}; {cure}")
    return lines
