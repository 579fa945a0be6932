"""One property after the other of a clip and of what was made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.clients.facts import Facts, pixel_formats, seconds
from tests.clients.kinds import DEFAULT_NAMES, EXCLUDED_SIDE_DATA, EXCLUDED_TAGS, Difference

Stream = dict[str, Any]
MILLISECOND = Fraction(1, 1000)
UNKNOWN = {None, "unknown", "unspecified", "reserved", "N/A", ""}
SIDE_DATA_KINDS = {
    "Mastering display metadata": "hdr",
    "Content light level metadata": "hdr",
    "Spherical Mapping": "spherical",
    "Stereo 3D": "stereo",
    "DOVI configuration record": "dolby vision",
    "ATSC A53 Part 4 Closed Captions": "captions",
}


def differences(before: Facts, after: Facts, same_family: bool) -> list[Difference]:
    """Everything that ``ffprobe`` shows to differ; ``same_family``: both files are of one kind of container."""
    return [*_video(before, after, same_family), *_others(before, after, same_family), *_whole(before, after)]


def main_video(facts: Facts) -> Stream:
    """The first stream of moving pictures."""
    return next(s for s in facts["probe"]["streams"] if s["codec_type"] == "video" and not _attached(s))


def _attached(stream: Stream) -> bool:
    return bool(stream["disposition"].get("attached_pic"))


def _tick(stream: Stream) -> Fraction:
    return Fraction(stream["time_base"])


def _frame_times(facts: Facts) -> list[Fraction]:
    clock = main_video(facts)["time_base"]
    times = (seconds(f.get("pts", f.get("best_effort_timestamp")), clock) for f in facts["frames"])
    return [time for time in times if time is not None]


def _packets(facts: Facts, stream: Stream) -> list[dict[str, Any]]:
    return [p for p in facts["probe"].get("packets", []) if p["stream_index"] == stream["index"]]


def _end(facts: Facts, stream: Stream) -> Fraction | None:
    """When the last packet ends, if the file tells."""
    ends = []
    for packet in _packets(facts, stream):
        pts, duration = (seconds(packet.get(name), stream["time_base"]) for name in ("pts", "duration"))
        if pts is not None:
            ends.append((pts, duration))
    if not ends or max(ends, key=lambda pair: pair[0])[1] is None:
        return None
    pts, duration = max(ends, key=lambda pair: pair[0])
    return pts + (duration or 0)


def _near(kind: str, subject: str, old: Fraction | None, new: Fraction | None, tick: Fraction) -> Iterator[Difference]:
    if old is None or new is None or old == new:
        return
    values = f"{float(old):.6f} s", f"{float(new):.6f} s"
    yield Difference(kind, subject, *values, tolerated=abs(old - new) <= tick)


def _same(kind: str, subject: str, old: object, new: object) -> Iterator[Difference]:
    if old != new:
        yield Difference(kind, subject, old, new)


def _video(before: Facts, after: Facts, same_family: bool) -> Iterator[Difference]:
    old, new = main_video(before), main_video(after)
    yield from _times(before, after, same_family)
    yield from _same("size", "video", (old["width"], old["height"]), (new["width"], new["height"]))
    yield from _same("sample aspect ratio", "video", _aspect(old), _aspect(new))
    yield from _same("rotation", "video", _rotation(old), _rotation(new))
    if same_family and old["codec_name"] == new["codec_name"] and old["codec_tag_string"] in ("hvc1", "hev1"):
        yield from _same("codec tag", "video", old["codec_tag_string"], new["codec_tag_string"])
    yield from _samples(old, new)
    yield from _colour(old, new)
    yield from _same("field order", "stream", _fields(old), _fields(new))
    fields = list(zip(_frame_fields(before), _frame_fields(after), strict=False))
    if fields:
        yield from _same("field order", "frames", *(dict(Counter(kinds)) for kinds in zip(*fields, strict=True)))
    yield from _side_data(before, after)
    yield from _tags("video", old, new)
    yield from _same("disposition", "video", _dispositions(before, old), _dispositions(after, new))


def _times(before: Facts, after: Facts, same_family: bool) -> Iterator[Difference]:
    old, new = main_video(before), main_video(after)
    yield from _same("frame count", "video", len(before["frames"]), len(after["frames"]))
    times, new_times = _frame_times(before), _frame_times(after)
    tick = _tick(new)
    if times and new_times:
        yield from _near("start", "video", times[0], new_times[0], tick)
        pairs = zip(times, new_times, strict=False)
        worst = max(pairs, key=lambda pair: abs((pair[1] - new_times[0]) - (pair[0] - times[0])))
        yield from _near("times", "video", worst[0] - times[0], worst[1] - new_times[0], tick)
        ends = [_end(facts, stream) for facts, stream in ((before, old), (after, new))]
        if ends[0] is not None and ends[1] is not None:
            yield from _near("length", "last picture", ends[0] - times[0], ends[1] - new_times[0], tick)
    if not same_family:
        return
    lengths = [seconds(stream.get("duration_ts"), stream["time_base"]) for stream in (old, new)]
    # A header that contradicts its own packets is no measure.
    shown = _end(before, old)
    if not times or shown is None or lengths[0] is None or abs(shown - times[0] - lengths[0]) <= _tick(old):
        yield from _near("length", "video", *lengths, tick)
    whole = [
        Fraction(f["probe"]["format"]["duration"]) if "duration" in f["probe"]["format"] else None
        for f in (before, after)
    ]
    # The whole is told in milliseconds by some containers, so that both ends may be rounded.
    yield from _near("length", "file", *whole, max(tick, MILLISECOND))
    if old["r_frame_rate"] != new["r_frame_rate"] and _constant(times):
        yield Difference("rate", "video", old["r_frame_rate"], new["r_frame_rate"])


def _constant(times: list[Fraction]) -> bool:
    steps = [b - a for a, b in pairwise(times)]
    return bool(steps) and max(steps) - min(steps) <= MILLISECOND


def _aspect(stream: Stream) -> str:
    found = stream.get("sample_aspect_ratio", "1:1")
    return "1:1" if found in ("0:1", "N/A") else found


def _rotation(stream: Stream) -> str:
    for data in stream.get("side_data_list", []):
        if data["side_data_type"] == "Display Matrix":
            return " ".join(data["displaymatrix"].split())
    return "none"


def _samples(old: Stream, new: Stream) -> Iterator[Difference]:
    forms = [pixel_formats().get(s.get("pix_fmt", "")) for s in (old, new)]
    if forms[0] is None or forms[1] is None:
        yield from _same("samples", "video", old.get("pix_fmt"), new.get("pix_fmt"))
        return
    for kind, value in (("depth", _depth), ("chroma", _chroma), ("samples", _model), ("alpha", _alpha)):
        yield from _same(kind, "video", value(forms[0]), value(forms[1]))


def _depth(form: dict[str, Any]) -> int:
    return 8 if form["flags"]["palette"] else max(part["bit_depth"] for part in form["components"])


def _chroma(form: dict[str, Any]) -> tuple[int, int]:
    return form.get("log2_chroma_w", 0), form.get("log2_chroma_h", 0)


def _model(form: dict[str, Any]) -> str:
    if form["flags"]["rgb"] or form["flags"]["palette"]:
        return "RGB"
    return "grey" if form["nb_components"] <= 2 else "YCbCr"


def _alpha(form: dict[str, Any]) -> bool:
    return bool(form["flags"]["alpha"]) and form["name"] not in ("bgr0", "rgb0", "0rgb", "0bgr")


def _colour(old: Stream, new: Stream) -> Iterator[Difference]:
    rgb = _model(pixel_formats()[old["pix_fmt"]]) == "RGB" if old.get("pix_fmt") in pixel_formats() else False
    meant = {"range": "pc" if rgb else "tv", "matrix": "gbr" if rgb else ""}  # what an absent tag says
    fields = {"range": "color_range", "primaries": "color_primaries", "transfer": "color_transfer"}
    for kind, field in (fields | {"matrix": "color_space"}).items():
        values = ["unknown" if s.get(field) in UNKNOWN else s[field] for s in (old, new)]
        if kind == "range" and any(s.get("pix_fmt", "").startswith("yuvj") for s in (old, new)):
            values = [_full_by_name(stream) or value for stream, value in zip((old, new), values, strict=True)]
        meaning = [meant.get(kind, "") if value == "unknown" and meant.get(kind) else value for value in values]
        if values[0] != values[1]:
            yield Difference(kind, "video", *values, tolerated=meaning[0] == meaning[1])
    if "420" in old.get("pix_fmt", "") and "420" in new.get("pix_fmt", ""):
        sites = ["left" if s.get("chroma_location") in UNKNOWN else s["chroma_location"] for s in (old, new)]
        yield from _same("chroma location", "video", *sites)


def _full_by_name(stream: Stream) -> str:
    return "pc" if stream.get("pix_fmt", "").startswith("yuvj") else ""


def _fields(stream: Stream) -> str:
    found = stream.get("field_order", "unknown")
    return "progressive" if found == "unknown" else found


def _frame_fields(facts: Facts) -> list[str]:
    return [
        ("top" if f.get("top_field_first") else "bottom") if f.get("interlaced_frame") else "progressive"
        for f in facts["frames"]
    ]


def _side_data(before: Facts, after: Facts) -> Iterator[Difference]:
    old, new = _all_side_data(before), _all_side_data(after)
    for name in sorted(old.keys() | new.keys()):
        kind = SIDE_DATA_KINDS.get(name, "side data")
        yield from _same(kind, name, old.get(name, "none"), new.get(name, "none"))


def _all_side_data(facts: Facts) -> dict[str, str]:
    """Side data of the stream or its pictures: kind -> what it says."""
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for place in (main_video(facts), *facts["frames"]):
        for data in place.get("side_data_list", []):
            name = data["side_data_type"]
            if name in EXCLUDED_SIDE_DATA or name in ("Display Matrix", "3x3 displaymatrix"):
                continue
            counts[name] += place is not main_video(facts)
            rest = {key: value for key, value in data.items() if key != "side_data_type"}
            found.setdefault(name, ", ".join(f"{key} {value}" for key, value in rest.items()) or "there")
    captions = "ATSC A53 Part 4 Closed Captions"
    if captions in found:
        found[captions] = f"in {counts[captions]} pictures"
    return found


def _content_tags(holder: Stream) -> dict[str, str]:
    tags = {key.lower().removesuffix("-eng"): value for key, value in holder.get("tags", {}).items()}
    if tags.get("handler_name", "") in DEFAULT_NAMES:
        tags.pop("handler_name", None)
    if tags.get("language") == "und":
        del tags["language"]
    return {key: value for key, value in tags.items() if key not in EXCLUDED_TAGS}


def _tags(subject: str, old: Stream, new: Stream) -> Iterator[Difference]:
    before, after = _content_tags(old), _content_tags(new)
    for name in sorted(before.keys() | after.keys()):
        kind = name if name in ("title", "language", "timecode") and subject != "file" else "tag"
        kind = "stereo" if name == "stereo_mode" else "alpha" if name == "alpha_mode" else kind
        where = name if kind == "tag" else subject
        yield from _same(kind, where, before.get(name, "none"), after.get(name, "none"))


def _dispositions(facts: Facts, stream: Stream) -> list[str]:
    """What a stream is for. That it plays by default says nothing of the only one of its kind, which plays anyway."""
    kin = [other for other in facts["probe"]["streams"] if other["codec_type"] == stream["codec_type"]]
    alone = len(kin) == 1
    return sorted(name for name, value in stream["disposition"].items() if value and not (alone and name == "default"))


def _carrier(stream: Stream) -> bool:
    """Whether a track only holds the names of chapters, which are compared as chapters."""
    return stream["codec_type"] == "data" and stream.get("codec_tag_string") == "text"


def _name(stream: Stream) -> str:
    return f"{stream['codec_type']} {stream.get('codec_name') or stream.get('codec_tag_string')}"


def _paired(before: Facts, after: Facts) -> tuple[list[tuple[Stream, Stream]], list[Stream], list[Stream]]:
    """Streams beside the first video: pairs, what has no partner in the output, and what has none in the input."""
    old, new = (
        [s for s in f["probe"]["streams"] if s["index"] != main_video(f)["index"] and not _carrier(s)]
        for f in (before, after)
    )
    pairs: list[tuple[Stream, Stream]] = []
    for same in (
        lambda a, b: _name(a) == _name(b) and _attached(a) == _attached(b),
        lambda a, b: _name(a) == _name(b),
        lambda a, b: a["codec_type"] == b["codec_type"] and a["codec_type"] in ("audio", "subtitle"),
    ):
        for stream in list(old):
            partner = next((other for other in new if same(stream, other)), None)
            if partner is not None:
                pairs.append((stream, partner))
                old.remove(stream)
                new.remove(partner)
    return sorted(pairs, key=lambda pair: pair[0]["index"]), old, new


def _others(before: Facts, after: Facts, same_family: bool) -> Iterator[Difference]:
    pairs, lost, added = _paired(before, after)
    for stream in lost:
        yield Difference("stream lost", _name(stream), "there", "gone")
    for stream in added:
        yield Difference("stream added", _name(stream), "none", "there")
    order = [new["index"] for _, new in pairs]
    if order != sorted(order):
        yield Difference("stream lost", "order of streams", sorted(order), order)
    for old, new in pairs:
        subject = f"{old['codec_type']} {old['index']}"
        yield from _same("stream codec", subject, _name(old), _name(new))
        yield from _same("disposition", subject, _dispositions(before, old), _dispositions(after, new))
        yield from _tags(subject, old, new)
        if old["codec_type"] == "audio":
            for field in ("sample_rate", "channels"):
                yield from _same("sound", f"{subject} {field}", old.get(field), new.get(field))
        if _name(old) == _name(new) and not _attached(old):
            yield from _copied(before, after, old, new, subject)


def _copied(before: Facts, after: Facts, old: Stream, new: Stream, subject: str) -> Iterator[Difference]:
    held, kept = ([p for p in _packets(f, s) if not _filler(p, s)] for f, s in ((before, old), (after, new)))
    hashes = [[p.get("data_hash") for p in packets] for packets in (held, kept)]
    # Some containers wrap each packet of AAC; what it decodes to is the same then.
    same_sound = old["codec_type"] == "audio" and before["sound"] == after["sound"]
    if hashes[0] != hashes[1] and not (same_sound and len(held) == len(kept)):
        yield Difference("packets", subject, f"{len(held)} packets", f"{len(kept)} packets, other bytes or number")
        return
    zero, new_zero = _frame_times(before)[:1], _frame_times(after)[:1]
    if not zero or not new_zero:
        return
    tick = max(_tick(new), _tick(main_video(after)))
    moves = []
    for one, other in zip(held, kept, strict=True):
        pts, new_pts = seconds(one.get("pts"), old["time_base"]), seconds(other.get("pts"), new["time_base"])
        if pts is not None and new_pts is not None:
            moves.append((pts - zero[0], new_pts - new_zero[0]))
    if moves:
        yield from _near("sync", subject, *max(moves, key=lambda pair: abs(pair[1] - pair[0])), tick)


def _filler(packet: dict[str, Any], stream: Stream) -> bool:
    """An empty text between two others, of which every muxer writes its own."""
    return stream.get("codec_name") == "mov_text" and packet["size"] == "2"


def _whole(before: Facts, after: Facts) -> Iterator[Difference]:
    yield from _tags("file", before["probe"]["format"], after["probe"]["format"])
    old, new = _chapters(before), _chapters(after)
    titles = [[chapter[2] for chapter in chapters] for chapters in (old, new)]
    if titles[0] != titles[1]:
        yield Difference("chapters", "file", *titles)
    elif any(abs(a[i] - b[i]) > MILLISECOND for a, b in zip(old, new, strict=True) for i in (0, 1)):
        times = [[f"{float(start):g}-{float(end):g}" for start, end, _ in chapters] for chapters in (old, new)]
        yield Difference("chapters", "times", *times)
    if gone := _programs(before) - _programs(after):
        yield Difference("programs", "file", sorted(gone), sorted(_programs(after)))


def _chapters(facts: Facts) -> list[tuple[Fraction, Fraction, str | None]]:
    chapters = facts["probe"].get("chapters", [])
    return [(Fraction(c["start_time"]), Fraction(c["end_time"]), c.get("tags", {}).get("title")) for c in chapters]


def _programs(facts: Facts) -> set[tuple[str, str]]:
    """Names and providers. A transport stream has a program always; FFmpeg's own name for it says nothing."""
    tags = [program.get("tags", {}) for program in facts["probe"].get("programs", [])]
    named = {(tag.get("service_name", ""), tag.get("service_provider", "")) for tag in tags}
    return named - {("Service01", "FFmpeg"), ("", "")}
