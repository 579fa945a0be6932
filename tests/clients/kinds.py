"""Kinds of differences: which words announce each. What is left out of the comparison, and why, as literal tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS: dict[str, str] = {
    "frame count": r"frame|picture",
    "times": r"time|moved|rounded",
    "start": r"time|start|begin|moved",
    "length": r"length|duration|\blong\b|\blasts?\b|longer|shorter",
    "sync": r"time|sync|moved|rounded|nudged|priming",
    "stream lost": r"stream|dropped|track",
    "stream added": r"stream|added|track",
    "stream codec": r"stream|converted|codec",
    "packets": r"packet|sample|stream",
    "sound": r"audio|channel|sound",
    "size": r"width|height|size",
    "sample aspect ratio": r"aspect",
    "rotation": r"rotat|mirror|display matrix|orientation",
    "clean aperture": r"aperture|clap",
    "codec tag": r"hvc1|hev1|codec tag|sample entry|tagged",
    "depth": r"depth|bit",
    "chroma": r"chroma|subsampl|4:[240]{1}:[240]{1}",
    "alpha": r"alpha",
    "samples": r"grey|gray|rgb|samples|palette|layout",
    "range": r"range",
    "primaries": r"primaries",
    "transfer": r"transfer",
    "matrix": r"matrix",
    "chroma location": r"chroma|siting|location",
    "field order": r"field|interlac|progressive|scan",
    "rate": r"rate",
    "side data": r"side data",
    "captions": r"caption|a53|608|708",
    "hdr": r"hdr|mastering|light level|side data|dolby vision",
    "spherical": r"spherical|360|projection|side data|side_data",
    "stereo": r"stereo",
    "dolby vision": r"dolby|dovi|side data",
    "ambient": r"ambient|amve",
    "tag": r"tag",
    "title": r"title",
    "language": r"language",
    "disposition": r"disposition|default|forced|marked|comment|impaired|flag",
    "chapters": r"chapter",
    "timecode": r"timecode|tmcd",
    "programs": r"program|service",
    "id": r"\bids?\b|\bpids?\b",
    "decoder warnings": r"decod|complain|warning",
    # Pictures.
    "exif": r"exif|gps|metadata",
    "xmp": r"xmp|metadata",
    "iptc": r"iptc|metadata|photoshop",
    "icc": r"icc|colou?r profile|profile",
    "comment": r"comment",
    "text": r"text",
    "resolution": r"resolution|dpi|density",
    "orientation": r"orientation|turned|rotat",
    "thumbnail": r"thumbnail|preview|exif",
    "gamma": r"gamma|chromaticit|chrm|gama",
    "pages": r"page|frame|first",
    "trailer": r"trailer|behind|gain map|second picture|mpf",
    "other metadata": r"metadata",
}
"""Kind of difference -> an expression that the line announcing it matches, whatever its case."""
BY_SUBJECT = frozenset({"tag", "stream lost"})
"""Kinds whose line must also name which one."""

SAME_KIND_OF_FILE = {"mp4": "iso", "mov": "iso", "m4v": "iso", "3gp": "iso", "mkv": "matroska", "webm": "matroska"}
SAME_KIND_OF_FILE |= {"ts": "mpegts", "m2ts": "mpegts"}

EXCLUDED_TAGS: dict[str, str] = {
    "encoder": "who wrote the file: another program now",
    "software": "AVI's name for the same",
    "major_brand": "the muxer's own",
    "minor_version": "the muxer's own",
    "compatible_brands": "the muxer's own",
    "vendor_id": "who wrote the track",
    "duration": "Matroska's tag of a length; lengths are compared as times",
    "bps": "a statistic of the packets",
    "number_of_frames": "a statistic of the packets",
    "number_of_bytes": "a statistic of the packets",
    "_statistics_writing_app": "a statistic of the packets",
    "_statistics_writing_date_utc": "a statistic of the packets",
    "_statistics_tags": "a statistic of the packets",
    "operational_pattern_ul": "the form of an MXF file",
    "product_name": "who wrote an MXF file",
    "product_uid": "who wrote an MXF file",
    "product_version": "who wrote an MXF file",
    "company_name": "who wrote an MXF file",
    "application_platform": "who wrote an MXF file",
    "toolkit_version": "who wrote an MXF file",
    "toolkit_version_num": "who wrote an MXF file",
    "product_version_num": "who wrote an MXF file",
    "modification_date": "when an MXF file was written",
    "uid": "an identity of an MXF file",
    "generation_uid": "an identity of an MXF file",
    "material_package_umid": "an identity of an MXF file",
    "file_package_umid": "an identity of an MXF file",
    "file_package_name": "MXF's own structure",
    "track_name": "MXF's own structure",
    "reel_umid": "an identity of an MXF file",
    "data_type": "MXF's own structure",
    "metadatacreator": "who wrote an FLV or ASF file",
    "wmfsdkversion": "who wrote an ASF file",
    "wmfsdkneeded": "who wrote an ASF file",
    "isvbr": "a statistic of an ASF file",
    "devicconformancetemplate": "the form of an ASF file",
}
"""Tags that say how a file is written, not what it holds."""
DEFAULT_NAMES = frozenset(
    {"", "VideoHandler", "SoundHandler", "SubtitleHandler", "DataHandler", "TimeCodeHandler", "Core Media Video"}
    | {"\x0cVideoHandler", "\x0cSoundHandler"}
)
"""Names that muxers give to tracks without one."""
EXCLUDED_SIDE_DATA: dict[str, str] = {
    "CPB properties": "the encoder's buffer",
    "H.26[45] User Data Unregistered SEI message": "the encoder's signature",
    "GOP timecode": "counted anew by every MPEG-2 encoder",
    "Skip Samples": "priming; compared as times",
    "MPEGTS Stream ID": "part of how a transport stream is cut into packets",
    "QP table data": "the encoder's",
    "QP table properties": "the encoder's",
    "Video encoding parameters": "the encoder's",
}
EXCLUDED_WARNINGS: dict[str, str] = {
    "Guessed Channel Layout": "Matroska has no place for the layout of PCM, and one channel is one channel",
    "Last message repeated": "counts the line before it",
}
"""Complaints of ``ffmpeg`` that say nothing of what was decoded, by how they begin."""
MEDIAINFO: dict[str, dict[str, str]] = {
    "Video": {
        "PixelAspectRatio": "sample aspect ratio",
        "Rotation": "rotation",
        "BitDepth": "depth",
        "ChromaSubsampling": "chroma",
        "ColorSpace": "samples",
        "ScanType": "field order",
        "ScanOrder": "field order",
        "colour_primaries": "primaries",
        "transfer_characteristics": "transfer",
        "matrix_coefficients": "matrix",
        "HDR_Format": "hdr",
        "MasteringDisplay_ColorPrimaries": "hdr",
        "MasteringDisplay_Luminance": "hdr",
        "MaxCLL": "hdr",
        "MaxFALL": "hdr",
        "MultiView_Layout": "stereo",
        "Title": "title",
        "Language": "language",
        "Default": "disposition",
        "Forced": "disposition",
        "TimeCode_FirstFrame": "timecode",
    },
    "Audio": {"Title": "title", "Language": "language", "Default": "disposition"},
    "Text": {"Title": "title", "Language": "language", "Default": "disposition", "Forced": "disposition"},
    "Other": {"TimeCode_FirstFrame": "timecode", "Title": "title", "Language": "language"},
}
"""Kind of track -> MediaInfo's field -> kind of difference. Its other fields describe the coding, or are computed: its
FrameCount is a length times a rate."""
MEDIAINFO_UNTOLD = frozenset({"BitDepth", "ChromaSubsampling", "ColorSpace"})
"""Fields that MediaInfo leaves out or guesses unless it parses the codec."""
MEDIAINFO_PARSED = frozenset({"AVC", "HEVC"})
MEDIAINFO_DECODED = frozenset({"colour_primaries", "transfer_characteristics", "matrix_coefficients"})
"""Fields that only the decoder tells for some codecs: ``ffprobe`` judges whether they were filled in."""
MEDIAINFO_SAME_FAMILY = frozenset({"Default", "Forced"})
"""Fields that MediaInfo knows in one kind of container only."""
EXIFTOOL_VIDEO: dict[str, str] = {
    "MatrixStructure": "rotation",
    "CleanAperture": "clean aperture",
    "CleanApertureDimensions": "clean aperture",
    "PixelAspectRatio": "sample aspect ratio",
    "ColorPrimaries": "primaries",
    "TransferCharacteristics": "transfer",
    "MatrixCoefficients": "matrix",
    "VideoFullRangeFlag": "range",
    "TrackDuration": "length",
    "Duration": "length",
    "MediaLanguageCode": "language",
    "Title": "title",
    "Artist": "tag",
    "Comment": "tag",
    "CreateDate": "tag",
    "TrackCreateDate": "tag",
    "MediaCreateDate": "tag",
    "GPSCoordinates": "tag",
    "TimeCode": "timecode",
    "Spherical": "spherical",
    "ProjectionType": "spherical",
    "Stitched": "spherical",
    "HandlerDescription": "title",
}
"""ExifTool's field of a movie or track -> kind of difference. Others are structure, or computed."""
BOX_KINDS: dict[str, str] = {
    "clap": "clean aperture",
    "mdcv": "hdr",
    "clli": "hdr",
    "amve": "ambient",
    "st3d": "stereo",
    "sv3d": "spherical",
    "uuid": "spherical",
    "dvcC": "dolby vision",
    "dvvC": "dolby vision",
    "tapt": "clean aperture",
    "tmcd": "timecode",
    "chap": "chapters",
    "elng": "language",
    "kind": "disposition",
    "chpl": "chapters",
    "name": "title",
}


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was."""

    kind: str
    subject: str
    before: object
    after: object
    tolerated: bool = False
    """Within what the container can tell; may be announced, need not be."""
    judge: str = "ffprobe"

    def announced_by(self, line: str) -> bool:
        """Whether a line of the product speaks of it."""
        if not re.search(KINDS[self.kind], line, re.IGNORECASE):
            return self.kind == "tag" and bool(self.subject) and self.subject.lower() in line.lower()
        if self.kind not in BY_SUBJECT:
            return True
        words = [word for word in re.split(r"\W+", self.subject.lower()) if word]
        return any(word in line.lower() for word in words)

    def __str__(self) -> str:
        before, after = (str(value) if len(str(value)) < 90 else f"{str(value)[:87]}..." for value in self.values)
        return f"{self.kind} [{self.subject}]: {before} became {after} ({self.judge})"

    @property
    def values(self) -> tuple[object, object]:
        return self.before, self.after
