"""Which encoder, sample layout and options an output gets: candidates from the tables, tried before one is taken."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from deblurcli.errors import OutputError, UsageError
from deblurcli.media import encoders as table
from deblurcli.media.encoders import CONTAINERS, FAMILY, Encoding, exists
from deblurcli.media.fields import FIRST_SHOWN
from deblurcli.media.layout import PlaneLayout, repacks
from deblurcli.media.probe import VideoInfo
from deblurcli.media.trial import LOSSES, Trial, tried
from deblurcli.options.compute import LARGE

RESCUES = ((".mkv", "ffv1"), (".mov", "prores_ks"), (".mov", "png"), (".nut", "ffvhuff"), (".mkv", "libx265"))
"""What may hold that which an output cannot."""


def choose(
    video: VideoInfo, layout: PlaneLayout, destination: Path, codec: str | None, crf: float | None, preset: str | None
) -> Encoding:
    """Decide muxer, encoder, sample layout and options; what is returned was opened, written and read back.

    Without ``codec``: the first encoder that keeps everything, or the one that loses least; the input's own family
    comes first, then the container's. Depth and chroma are always kept.

    Raises:
        OutputError: no encoder keeps the samples, or this build has none of that name.
        UsageError: an option that the encoder lacks, or a value that it does not take.
    """
    suffix = destination.suffix.lower()
    if suffix not in CONTAINERS:
        raise OutputError(f"{destination.name} has no known video suffix", f"use one of {' '.join(CONTAINERS)}")
    # Only what matters to an encoder, so that what was tried for one video holds for all like it.
    video = replace(video, index=0, start=0, duration=None, frames=None, language=None, tags={}, disposition=0)
    names = list(_usual(video, suffix)) if codec is None else [FAMILY.get(codec, codec)]
    chosen, failures = _best(video, layout, suffix, names)
    if chosen is None:
        cure = _cure(video, layout, suffix, alpha=False)
        if codec is None:
            raise OutputError(f"no {suffix} encoder keeps {_shape(video, layout)}", cure)
        raise OutputError(failures.get(names[0]) or _unfit(names[0], video, layout), cure)
    if "alpha" in chosen.losses:
        chosen = replace(chosen, cure=_cure(video, layout, suffix, alpha=True))
    if codec is None:
        chosen = replace(chosen, notes=tuple(_notes(video, layout, suffix, chosen, failures)))
    return _tuned(chosen, video, layout, suffix, crf, preset)


def _usual(video: VideoInfo, suffix: str) -> Iterator[str]:
    """The encoders that may be chosen unasked, the best first."""
    usual = CONTAINERS[suffix].encoders
    wanted = [FAMILY.get(video.codec, video.codec), *(["ffv1"] if video.codec in table.LOSSLESS else []), *usual]
    return (name for name in dict.fromkeys(wanted) if name in usual)


def _best(
    video: VideoInfo, layout: PlaneLayout, suffix: str, names: Sequence[str]
) -> tuple[Encoding | None, dict[str, str]]:
    """The first candidate that loses nothing, or least; and for each that does not keep everything, why."""
    best: Encoding | None = None
    why: dict[str, str] = {}
    for alpha in (True, False) if layout.alpha else (False,):
        for candidate in (each for name in names for each in _candidates(name, video, layout, suffix, alpha)):
            outcome = _outcome(candidate, video, layout)
            if outcome.failure:
                why.setdefault(candidate.codec, outcome.failure)
                continue
            candidate = replace(candidate, losses=outcome.losses)
            if not outcome.losses:
                return candidate, why
            why.setdefault(candidate.codec, f"{candidate.codec} in {suffix} loses {', '.join(outcome.losses)}")
            if best is None or _rank(candidate) < _rank(best):
                best = candidate
    return best, why


def _rank(encoding: Encoding) -> tuple[bool, ...]:
    return tuple(name in encoding.losses for name in LOSSES)


def _outcome(encoding: Encoding, video: VideoInfo, layout: PlaneLayout) -> Trial:
    return tried(replace(encoding, losses=(), cure="", notes=()), video, layout)


def _candidates(codec: str, video: VideoInfo, layout: PlaneLayout, suffix: str, alpha: bool) -> Iterator[Encoding]:
    """Every way to write the samples unchanged with one encoder, with their alpha or without."""
    if not exists(codec):
        return
    container = CONTAINERS[suffix]
    tags = [""]
    if codec == "libx265" and container.muxer in table.HEVC_TAGGED:
        tags = ["hev1" if video.codec_tag == "hev1" else "hvc1"]
    if container.muxer == "avi" and len(video.fourcc) == 4 and av.Codec(codec, "w").canonical_name == video.codec:
        tags = [video.fourcc, ""]  # not every one that is read can be written
    counts = codec in table.RATE_CLOCKED or container.muxer in table.COUNTING_MUXERS
    for tag, (pix_fmt, depth) in itertools.product(tags, _formats(codec, layout, alpha)):
        for options in _options(codec, pix_fmt, video):
            for counted in [True] if counts else [False, True]:  # not every encoder takes every clock
                rate = _rate(video, codec, container.muxer, counted)
                yield Encoding(
                    muxer=container.muxer,
                    codec=codec,
                    pix_fmt=pix_fmt,
                    depth=depth,
                    # Counted frames carry no presentation times, so they must not be reordered.
                    options=options | ({"bf": "0"} if counted else {}),
                    rate=rate,
                    clock=1 / rate if counted else video.time_base,
                    counted=counted,
                    codec_tag=tag,
                    container_options=container.options,
                )


def _unfit(codec: str, video: VideoInfo, layout: PlaneLayout) -> str:
    """Why an encoder has no candidate."""
    return f"{codec} cannot hold {_shape(video, layout)}" if exists(codec) else f"this build has no encoder {codec}"


def _shape(video: VideoInfo, layout: PlaneLayout) -> str:
    return f"{video.width}x{video.height} {layout.pix_fmt}"


def _formats(codec: str, layout: PlaneLayout, alpha: bool) -> list[tuple[str, int]]:
    """The layouts that an encoder takes and that hold these samples exactly, and their depth."""
    offered = [form.name for form in av.Codec(codec, "w").video_formats or []]
    planar, depth = layout.pix_fmt, layout.depth
    if layout.alpha and not alpha:
        planar = planar.replace("yuva", "yuv").replace("gbrap", "gbrp").replace("ya8", "gray").replace("ya16", "gray16")
    if codec == "prores_ks" and depth == 12 and "444" in planar:
        # ProRes 4444 is decoded to 12 bits, and its encoder takes 10 of them.
        planar, depth = planar.replace("12le", "10le"), 10
    wanted = repacks(planar)
    if layout.colour.full_range and "yuvj" in wanted[1] and codec == "mjpeg":
        wanted = [wanted[1], *wanted]
    return [(name, depth) for name in dict.fromkeys(wanted) if name in offered or not offered]


def _rate(video: VideoInfo, codec: str, muxer: str, counted: bool) -> Fraction:
    """The frame rate that an encoder is told: the input's own or, where it must count in it, the nearest legal one."""
    rate = video.rate or Fraction(25)
    if codec in table.MOST_RATE:
        rate = min(rate, Fraction(table.MOST_RATE[codec]))
    if not counted:
        return rate
    legal = table.RATES.get(codec) or table.RATES.get(muxer)
    if legal:
        return min(legal, key=lambda each: abs(each - rate))
    most = table.MOST_TERM
    return rate.limit_denominator(max(1, min(most, int(most / rate)))) or Fraction(1, most)


def _options(codec: str, pix_fmt: str, video: VideoInfo) -> Iterator[dict[str, str]]:
    """Options for one layout; more than one set where only trying tells which opens."""
    options = dict(table.QUALITY.get(codec, {}))
    if codec == "prores_ks" and video.codec == "prores" and video.profile in table.PRORES:
        options["profile"] = table.PRORES[video.profile]
    first = FIRST_SHOWN.get(video.field_order)
    if first and codec in table.INTERLACED:
        options["flags"] = options.get("flags", "") + "+ildct+ilme"
    if first and codec == "libx264":
        options["x264-params"] = f"{first}=1"
    if first and codec == "libx265":
        options["x265-params"] += f":pic-struct={table.PIC_STRUCT[first]}"
    if video.hdr10 and (name := table.HDR_OPTION.get(codec)):
        options[name] = ":".join(filter(None, (options.get(name), _hdr(codec, video.hdr10))))
    if video.width * video.height > LARGE and codec in table.FRUGAL:
        name, value = table.FRUGAL[codec]
        options[name] = ":".join(filter(None, (options.get(name), value)))
    if codec != "dnxhd":
        yield options
        return
    fixed = [options | {"profile": "dnxhd", "b": rate} for rate in table.DNXHD_RATES]
    free = [options | {"profile": table.DNXHR_DEEP[pix_fmt]}]
    if pix_fmt == "yuv422p" and video.profile in table.DNXHR:
        free = [options | {"profile": table.DNXHR[video.profile]}]
    # DNxHD knows fields, DNxHR any size.
    yield from fixed + free if video.profile == "DNXHD" or first else free + fixed


def _hdr(codec: str, hdr10: str) -> str:
    """Mastering display and light level from x265's notation in that of an encoder."""
    if codec == "libx265":
        return hdr10
    if codec == "libx264":
        return hdr10.replace("master-display", "mastering-display").replace("max-cll", "cll")

    def plain(match: re.Match[str]) -> str:
        unit = 10000 if match[1] == "L" else 50000
        return f"{match[1]}({int(match[2]) / unit:.6g},{int(match[3]) / unit:.6g})"

    text = re.sub(r"(G|B|R|WP|L)\((\d+),(\d+)\)", plain, hdr10)
    return text.replace("master-display", "mastering-display").replace("max-cll", "content-light")


def _tuned(
    encoding: Encoding, video: VideoInfo, layout: PlaneLayout, suffix: str, crf: float | None, preset: str | None
) -> Encoding:
    """With the user's quality and speed; tried again, since only the encoder knows what it takes."""
    if crf is None and preset is None:
        return encoding
    codec, options = encoding.codec, dict(encoding.options)
    known = {option.name for option in av.CodecContext.create(codec, "w").supported_options.private}
    if crf is not None:
        least, most = table.CRF_RANGE.get(codec, (float("-inf"), float("inf")))
        if not (least <= crf <= most or (crf == 0 and "crf" in options)):
            raise UsageError(f"--crf {crf:g} is out of range for {codec}", f"use {least} to {most}")
        if crf == 0 and codec in table.LOSSLESS_AT_ZERO:
            name, value = table.LOSSLESS_AT_ZERO[codec]
            options[name] = f"{options[name]}:{value}" if name in options else value
            options.pop("crf")
        elif "crf" in known:
            options["crf"] = f"{crf:g}"
        elif "qscale" in options.get("flags", ""):
            options["global_quality"] = str(round(crf * table.LAMBDA))
        else:
            raise UsageError(f"{codec} has no --crf", _without(video, layout, suffix))
    if preset is not None:
        name = "preset" if "preset" in known else "cpu-used"
        if name not in known:
            raise UsageError(f"{codec} has no --preset", _without(video, layout, suffix))
        allowed = table.PRESET_RANGE.get(codec, (preset,))
        if preset not in allowed:
            named = " ".join(allowed) if not allowed[0].lstrip("-").isdigit() else f"{allowed[0]} to {allowed[-1]}"
            raise UsageError(f"--preset {preset} is none of {codec}", f"use {named}")
        options[name] = preset
    tuned = replace(encoding, options=options)
    if failure := _outcome(tuned, video, layout).failure:
        raise UsageError(failure, "check --crf and --preset")
    return tuned


def _without(video: VideoInfo, layout: PlaneLayout, suffix: str) -> str:
    """What to do about an option that an encoder has not; the one that has it was tried."""
    found, _ = _best(video, layout, suffix, ["libx264"])
    return "leave it out" if found is None else "leave it out, or use --codec libx264"


def _notes(
    video: VideoInfo, layout: PlaneLayout, suffix: str, chosen: Encoding, failures: dict[str, str]
) -> Iterator[str]:
    """What the input's own codec was given up for."""
    own = FAMILY.get(video.codec, video.codec)
    written = av.Codec(chosen.codec, "w").canonical_name
    if written == video.codec:
        if chosen.depth < video.depth:
            yield f"{chosen.codec} takes {chosen.depth} bits of the {video.depth} that {video.codec} is decoded to"
        return
    if own == chosen.codec or not exists(own):
        why = f"this build has no encoder for {video.codec}"
    elif own in CONTAINERS[suffix].encoders:
        why = failures.get(own) or _unfit(own, video, layout)
    else:
        why = f"{video.codec} is not usual in {suffix}"
    yield f"video encoded as {written} instead of {video.codec}: {why}"


def _cure(video: VideoInfo, layout: PlaneLayout, suffix: str, alpha: bool) -> str:
    """What holds the samples, and their alpha if that is asked for: tried, not believed."""
    here = [(suffix, name) for name in _usual(video, suffix)] if not alpha else []
    for where, name in (*here, *RESCUES):
        found, _ = _best(video, layout, where, [name])
        if found is not None and not (alpha and "alpha" in found.losses):
            return f"use --codec {name}" if where == suffix else f"use --codec {name} and {where}"
    return "convert it to yuv420p first"
