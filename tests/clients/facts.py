"""What the programs say of one file, as plain data."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.clients.boxes import inventory

QUICKTIME = {".mp4", ".mov", ".3gp", ".m4v"}
PROBE = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", "-show_chapters", "-show_programs"]
PROBE += ["-show_packets", "-show_data_hash", "md5"]
FRAME_FIELDS = "pts,best_effort_timestamp,pkt_duration,interlaced_frame,top_field_first,repeat_pict"
FRAME_FIELDS += ",pix_fmt,color_range,color_space,color_primaries,color_transfer,chroma_location,sample_aspect_ratio"
FRAMES = ["ffprobe", "-v", "error", "-of", "json", "-select_streams", "V:0", "-show_frames"]
NUMBERS = re.compile(r"0x[0-9a-fA-F]+|[-+]?\d+(\.\d+)?")

Facts = dict[str, Any]


def facts(path: Path) -> Facts:
    """Everything that the suite knows of a file. Kept in a file beside it."""
    kept = path.with_name(f"{path.name}.facts.json")
    if kept.exists() and kept.stat().st_mtime >= path.stat().st_mtime:
        return _loaded(kept)
    found = {
        "probe": said(*PROBE, path),
        "frames": said(*FRAMES, path).get("frames", []),
        "mediainfo": (said("mediainfo", "--Output=JSON", path).get("media") or {}).get("track", []),
        "warnings": warnings(path),
        "sound": sound(path),
    }
    if path.suffix in QUICKTIME:
        found["exiftool"] = said("exiftool", "-j", "-G1", "-a", "-ee0", path)
        if shutil.which("MP4Box"):
            found["boxes"] = inventory(output("MP4Box", "-diso", "-std", path))
    kept.write_text(json.dumps(found))
    return _loaded(kept)


def _loaded(kept: Path) -> Facts:
    """As read from the file, so that what is fresh and what is kept never differ in type."""
    found: Facts = json.loads(kept.read_text())
    return found


def output(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, timeout=60)
    return done.stdout.decode("utf-8", "replace")


def said(*words: object) -> dict[str, Any]:
    """The JSON that a program prints; a list of one is that one."""
    try:
        found = json.loads(output(*words) or "{}")
    except json.JSONDecodeError:
        return {}
    return found[0] if isinstance(found, list) else found


def warnings(path: Path) -> list[str]:
    """What ``ffmpeg`` complains of when it decodes everything; numbers and addresses are left out."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "warning", "-i", path, "-map", "0:v?", "-map", "0:a?"]
    # Timestamps of the null muxer are its own matter: passthrough keeps it from making and dropping frames.
    command += ["-fps_mode", "passthrough", "-f", "null", "-"]
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=60)
    lines = done.stderr.decode("utf-8", "replace").replace(str(path), "FILE").splitlines()
    return sorted({NUMBERS.sub("#", line).strip() for line in lines if line.strip()})


def sound(path: Path) -> list[str]:
    """A hash of what each audio stream decodes to."""
    words = ["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a", "-c:a", "pcm_s16le", "-f", "streamhash"]
    return sorted(line.rpartition("=")[2] for line in output(*words, "-hash", "md5", "-").splitlines())


def frame_hashes(path: Path, layout: str) -> list[str]:
    """A hash of every picture as ``ffmpeg`` decodes it, in a given sample layout."""
    words = ["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:V:0", "-fps_mode", "passthrough"]
    words += ["-sws_flags", "+accurate_rnd+full_chroma_int+bitexact", "-pix_fmt", layout, "-f", "framemd5", "-"]
    return [line.rpartition(",")[2].strip() for line in output(*words).splitlines() if not line.startswith("#")]


@functools.cache
def pixel_formats() -> dict[str, dict[str, Any]]:
    """Name of a sample layout -> what ``ffprobe`` knows of it."""
    listed = said("ffprobe", "-v", "error", "-of", "json", "-show_pixel_formats")
    return {form["name"]: form for form in listed["pixel_formats"]}


def seconds(ticks: object, clock: str) -> Fraction | None:
    """A time in seconds, exactly."""
    return None if ticks in (None, "N/A") else int(str(ticks)) * Fraction(clock)


def counted(items: list[str]) -> dict[str, int]:
    return dict(sorted(Counter(items).items()))
