"""What must survive besides the pixels: one table, a row for each property of a video, its streams and its file.

A row says how the property is read from what :func:`deblurcli.media.probe.probe` finds, how it is written, and what of
it is lost when the written file is read back. What has no row is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeVar

import av
from av.stream import Disposition

from deblurcli.media.fields import FIELD_ORDERS, FIRST_SHOWN
from deblurcli.media.probe import Chapter, MediaInfo, StreamInfo, VideoInfo

Holder = TypeVar("Holder")

STRUCTURAL_TAGS = frozenset(
    {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames", "number_of_bytes"}
    | {"bps", "vendor_id", "handler_name", "software", "alpha_mode", "language", "source_id", "variant_bitrate"}
    | {f"_statistics_{name}" for name in ("writing_app", "writing_date_utc", "tags")}
    | {"operational_pattern_ul", "uid", "generation_uid", "company_name", "product_name", "product_version"}
    | {"product_version_num", "product_uid", "toolkit_version_num", "modification_date", "application_platform"}
    | {"material_package_umid", "file_package_umid", "file_package_name", "mxf_toolkit_version", "data_type"}
)
"""Tags that describe the file, not its content; each muxer writes its own."""
CARRIED_BOXES = frozenset(map(str.encode, ("clap", "st3d", "sv3d", "mdcv", "clli", "amve", "hfov", "tapt", "uuid")))
"""Boxes that stay true when pixels change, and are copied from MP4 or QuickTime to MP4 or QuickTime."""
BOX_NAMES = {"clap": "clean aperture", "st3d": "stereo", "sv3d": "spherical", "vexu": "spatial video (vexu)"}
BOX_NAMES |= {"hfov": "horizontal field of view", "uuid": "spherical (uuid)"}
"""Boxes that say how a video is to be shown; others belong to its codec, or hold what has a row of its own."""
UNSPECIFIED_TAG = {"range": 0}
"""H.273's 2 for the others."""
TERMINOLOGY_CODES = {
    **{"alb": "sqi", "arm": "hye", "baq": "eus", "bur": "mya", "chi": "zho", "cze": "ces", "dut": "nld", "fre": "fra"},
    **{"geo": "kat", "ger": "deu", "gre": "ell", "ice": "isl", "mac": "mkd", "mao": "mri", "may": "msa", "per": "fas"},
    **{"rum": "ron", "slo": "slk", "tib": "bod", "wel": "cym"},
}
"""ISO 639-2 has two codes for some languages; QuickTime knows the bibliographic one, others write either."""
UNNAMED_PROGRAM = "Service01 (FFmpeg)"
"""What FFmpeg calls the program of a transport stream that was given no name."""
ONE_NUMBER = {"mp2": "mp3"}
"""MP4 has one number for both layers of MPEG audio, by which FFmpeg calls each of them the latter."""
HDR_CURE = "use --codec hevc, and .mp4 or .mkv"


@dataclass(frozen=True)
class Property(Generic[Holder]):
    """A row of the table."""

    name: str
    read: Callable[[Holder], Any]
    lost: Callable[[Any, Any], str]
    """From the source's value and the result's: what is lost, or empty."""
    write: Callable[[av.stream.Stream, Any], None] | None = None
    """Gives it to a stream; None where frames, packets, the container or the encoder's options carry it."""
    cure: str | None = None
    """What to do when it is lost; None: take another container, empty: nothing helps."""


def changed(old: Any, new: Any) -> str:
    """Lost where it is another value."""
    return "" if old == new else f"{said(old)} became {said(new)}"


def changed_if_set(old: Any, new: Any) -> str:
    """As ``changed``; what was left open may be filled in."""
    return changed(old, new) if old else ""


def said(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def missing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The names, in the source, of what the result has not, or with another value."""
    kept = {key.lower(): value for key, value in new.items()}
    return ", ".join(sorted(key for key, value in old.items() if kept.get(key.lower()) != value))


def content_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that describe the content."""
    return {key: value for key, value in tags.items() if key.lower().removesuffix("-eng") not in STRUCTURAL_TAGS}


def stream_tags(stream: StreamInfo | VideoInfo) -> dict[str, str]:
    """The tags of a stream; the MP4 family calls its title a name."""
    tags = content_tags(stream.tags)
    if isinstance(stream, StreamInfo) and stream.attached_picture:
        tags = {key: value for key, value in tags.items() if key not in ("filename", "mimetype")}  # of its container
    if "name" in tags:
        tags.setdefault("title", tags.pop("name"))
    return tags


def _roles(stream: StreamInfo | VideoInfo) -> dict[str, bool]:
    """What a stream is for, by FFmpeg's names. Whether it plays by default has a row of its own."""
    flags = Disposition(stream.disposition) & ~(Disposition.default | Disposition.attached_pic)
    return {str(flag.name).replace("_", " "): True for flag in Disposition if flag & flags}


def _other_fields(old: str, new: str) -> str:
    names = {"tff": "top field first", "bff": "bottom field first"}
    return changed(*(names.get(FIRST_SHOWN.get(order, ""), "progressive") for order in (old, new)))


def _boxes(video: VideoInfo) -> dict[str, bytes]:
    return {name: video.extensions[kind] for kind, name in BOX_NAMES.items() if kind in video.extensions}


def _dolby_vision(video: VideoInfo) -> bool:
    return bool({"dvcC", "dvvC", "dvwC"} & set(video.extensions)) or "Dolby Vision" in video.side_data


def _hvc1(video: VideoInfo) -> str:
    return video.codec_tag if video.codec_tag in ("hvc1", "hev1") else ""


def _other_name(old: tuple[str, str], new: tuple[str, str]) -> str:
    """Another name of the same codec, from AVI to AVI."""
    return changed(old[1], new[1]) if old[0] == new[0] and old[1] and new[1] else ""


def _shape(video: VideoInfo) -> str:
    chroma = {(0, 0): "4:4:4", (1, 0): "4:2:2", (1, 1): "4:2:0", (0, 1): "4:4:0", (2, 0): "4:1:1", (2, 2): "4:1:0"}
    name = video.pix_fmt
    if name.startswith(("gray", "ya")):
        return "grey"
    return "RGB" if video.colour.matrix == "rgb" else chroma.get(video.subsampling, name)


def _colour(name: str) -> Property[VideoInfo]:
    unspecified = UNSPECIFIED_TAG.get(name, 2)

    def lost(old: int, new: int) -> str:
        # What was open may be filled in, and limited range is what an absent tag means.
        limited = name == "range" and (old, new) == (1, 0)
        return "" if old == unspecified or limited else changed(old, new)

    attribute = {
        "primaries": "color_primaries",
        "transfer": "color_trc",
        "matrix": "colorspace",
        "range": "color_range",
    }

    def write(stream: av.stream.Stream, value: int) -> None:
        setattr(stream.codec_context, attribute[name], value)

    return Property(f"colour tag {name}", lambda video: getattr(video.colour, f"{name}_tag"), lost, write)


def _side_data(name: str, cure: str = "") -> Property[VideoInfo]:
    def lost(old: str | None, new: str | None) -> str:
        if old is None or old == new:
            return ""
        return "it is gone" if new is None else changed(old, new)

    return Property(name, lambda video: video.side_data.get(name), lost, cure=cure)


def _language(stream: StreamInfo | VideoInfo) -> str:
    code = stream.language or "und"
    return "" if code == "und" else TERMINOLOGY_CODES.get(code, code)


def _give_language(stream: av.stream.Stream, language: str) -> None:
    if language and stream.container.format.name == "mov":
        language = next((old for old, new in TERMINOLOGY_CODES.items() if new == language), language)
    if language:
        stream.metadata["language"] = language


def _give_tags(stream: av.stream.Stream, tags: dict[str, str]) -> None:
    stream.metadata.update(tags)


def _give_rotation(stream: av.stream.Stream, matrix: tuple[int, ...] | None) -> None:
    if matrix:
        stream.set_display_matrix(matrix)


def _give_field_order(stream: av.stream.Stream, order: str) -> None:
    stream.codec_context.field_order = FIELD_ORDERS.index(order)


def _give_aspect(stream: av.stream.Stream, ratio: Fraction) -> None:
    stream.codec_context.sample_aspect_ratio = ratio


VIDEO: tuple[Property[VideoInfo], ...] = (
    Property("size", lambda video: f"{video.width}x{video.height}", changed, cure=""),
    Property("depth", lambda video: video.depth, changed, cure="use --codec ffv1 and .mkv"),
    Property("sampling", _shape, changed, cure="use --codec ffv1 and .mkv"),
    Property(
        "alpha",
        lambda video: video.alpha,
        lambda old, new: "it is gone" * (old and not new),
        cure="use --codec ffv1 and .mkv",
    ),
    Property("rotation", lambda video: video.display_matrix, changed, _give_rotation),
    Property("sample aspect ratio", lambda video: video.sample_aspect_ratio or 1, changed, _give_aspect),
    Property(
        "field order",
        lambda video: video.field_order,
        _other_fields,
        _give_field_order,
        "use --codec libx264 and .mkv, or deinterlace it first",
    ),
    *map(_colour, ("primaries", "transfer", "matrix", "range")),
    Property(
        "chroma location",
        lambda video: video.chroma_location or "left",
        changed,
        cure="use --codec libx264 and .mkv",
    ),
    _side_data("mastering display", HDR_CURE),
    _side_data("content light level", HDR_CURE),
    *map(_side_data, ("ambient viewing environment", "HDR10+", "HDR Vivid", "active format description")),
    *map(
        _side_data, ("pan and scan", "timecode", "timecode of groups of pictures", "ICC profile", "spherical", "stereo")
    ),
    _side_data("closed captions", "use --codec libx264 and .mkv"),
    Property("Dolby Vision", _dolby_vision, lambda old, new: "its base layer is kept" * (old and not new), cure=""),
    Property("sample description", _boxes, missing),
    Property("codec tag", _hvc1, lambda old, new: changed(old, new) if old and new else "", cure=""),
    Property("name of the codec", lambda video: (video.codec, video.fourcc), _other_name, cure=""),
    Property("language", _language, changed_if_set, _give_language),
    Property("video's tags", stream_tags, missing, _give_tags),
    Property("video's roles", _roles, missing, cure=""),
)
"""Rows for the stream that is restored."""


STREAM: tuple[Property[StreamInfo], ...] = (
    Property("codec", lambda stream: ONE_NUMBER.get(stream.codec, stream.codec), changed),
    Property("sample description", lambda stream: stream.description, lambda old, new: "it is another" * (old != new)),
    Property("language", _language, changed_if_set, _give_language),
    Property("tags", stream_tags, missing, _give_tags),
    Property("roles", _roles, missing),
    Property(
        "playing by default",
        lambda stream: stream.default,
        lambda old, new: "" if None in (old, new) else changed(old, new),
    ),
)
"""Rows for each stream that is copied."""


def _programs(info: MediaInfo) -> dict[str, bool]:
    return {name: True for name in info.programs if name != UNNAMED_PROGRAM}


def _chapters(old: tuple[Chapter, ...], new: tuple[Chapter, ...]) -> str:
    if len(old) != len(new):
        return f"{len(old)} became {len(new)}"
    near = Fraction(1, 1000)
    moved = sum(abs(a.start - b.start) > near or abs(a.end - b.end) > near for a, b in zip(old, new, strict=True))
    titles = sum(a.title != b.title for a, b in zip(old, new, strict=True))
    return ", ".join(f"{count} {what}" for count, what in ((moved, "moved"), (titles, "renamed")) if count)


FILE: tuple[Property[MediaInfo], ...] = (
    Property("chapters", lambda info: info.chapters, _chapters),
    Property("tags", lambda info: content_tags(info.tags), missing),
    Property("programs", _programs, missing, cure=""),
)
"""Rows for the file."""


def give(table: tuple[Property[Holder], ...], stream: av.stream.Stream, source: Holder) -> None:
    """Write the properties of ``source`` that a stream can be given."""
    for row in table:
        if row.write:
            row.write(stream, row.read(source))


def lost(
    table: tuple[Property[Holder], ...], source: Holder, result: Holder, muxer: str, cure: str, of: str = ""
) -> list[str]:
    """One line for each property of ``source`` that ``result`` does not have.

    ``cure`` is what to do where the container does not hold it, ``of`` names what has the property.
    """
    lines = []
    for row in table:
        if what := row.lost(row.read(source), row.read(result)):
            advice = cure if row.cure is None else row.cure
            lines.append(advised(f"{row.name}{of} not kept by {muxer}: {what}", advice))
    return lines


def advised(found: str, cure: str) -> str:
    """A line, and what to do about it where something helps."""
    return f"{found}; {cure}" if cure else found
