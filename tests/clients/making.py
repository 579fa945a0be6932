"""Clips made by the ``ffmpeg`` program and kept in a folder, so that a second run of the suite makes none."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.clients.matrix import CODECS, FRAMES, PARTS, SIZE, Clip, Part
from tests.clients.patches import PATCHES

PROGRAMS = {"ffmpeg": "ffmpeg", "ffprobe": "ffmpeg", "mediainfo": "mediainfo", "exiftool": "libimage-exiftool-perl"}
"""Programs that the suite cannot do without, and Debian's packages of them."""
OPTIONAL = {"MP4Box": "gpac"}
"""Looked at where it is installed: not every Debian release has it."""
MUXER = {"m2ts": "-f mpegts -mpegts_m2ts_mode 1", "ogv": "-f ogg", "mpg": "-f mpeg"}
CHAPTERS = """;FFMETADATA1
[CHAPTER]
TIMEBASE=1/1000
START=0
END=200
title=One
[CHAPTER]
TIMEBASE=1/1000
START=200
END=480
title=Zwei ü
"""
WORDS = "1\n00:00:00,040 --> 00:00:00,160\nHello\n\n2\n00:00:00,240 --> 00:00:00,360\n“Mot”\n"


class Unmakeable(Exception):
    """This ``ffmpeg`` does not make such a clip; the text says why."""


def missing() -> list[str]:
    """Packages of the programs that are not installed."""
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})


def clips_folder() -> Path:
    """Where clips are kept: ``DEBLUR_CLIPS``, or a folder of the temporary one."""
    folder = Path(os.environ.get("DEBLUR_CLIPS") or Path(tempfile.gettempdir()) / "deblur-clips")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make(clip: Clip, folder: Path) -> Path:
    """The clip, made unless it is there.

    Raises:
        Unmakeable: the program refused, now or in an earlier run.
    """
    path, refusal = folder / clip.name, folder / f"{clip.name}.refused"
    if path.exists():
        return path
    if refusal.exists():
        raise Unmakeable(refusal.read_text())
    part_path = folder / f"part{os.getpid()}.{clip.suffix}"
    try:
        _run(command(clip, part_path, small_files(folder)))
        if clip.codec == "rawvideo":
            _check_layout(part_path, clip.layout)
        for name in clip.parts:
            if PARTS[name].patch:
                PATCHES[PARTS[name].patch](part_path)
    except (Unmakeable, LookupError, subprocess.CalledProcessError) as error:
        part_path.unlink(missing_ok=True)
        refusal.write_text(str(error))
        raise Unmakeable(str(error)) from error
    part_path.rename(path)
    return path


def command(clip: Clip, path: Path, files: Path) -> list[str]:
    """The command line that makes a clip."""
    source = f"testsrc2=size={SIZE}:rate=25,trim=end_frame={FRAMES}"
    words, output, filters = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source], "", []
    number = 1
    for part in map(_part, clip.parts):
        fill = {"a": number, "b": number + 1, "files": files}
        inputs = shlex.split(part.inputs.format(**fill)) if part.inputs else []
        words += inputs
        number += inputs.count("-i")
        output += " " + part.output.format(**fill)
        filters += [part.filters] if part.filters else []
    words += ["-map", "0:v", "-filter:v:0", ",".join([*filters, f"format={clip.layout}"])]
    words += [*shlex.split(CODECS[clip.codec]), "-frames:v:0", str(FRAMES), "-threads", "1", *shlex.split(output)]
    return [*words, *shlex.split(MUXER.get(clip.suffix, "")), str(path)]


def _part(name: str) -> Part:
    return PARTS[name]


def small_files(folder: Path) -> Path:
    """Subtitles, chapters, a cover, a font: what command lines refer to."""
    files = folder / "files"
    if not (files / "cover.png").exists():
        files.mkdir(exist_ok=True)
        (files / "words.srt").write_text(WORDS)
        (files / "chapters.txt").write_text(CHAPTERS)
        (files / "font.ttf").write_bytes(b"not really a font" * 20)
        (files / "data.bin").write_bytes(bytes(range(200)) * 2)
        for name in ("cover.jpg", "cover.png"):
            picture = "mandelbrot=size=32x32,format=rgb24"
            _run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-frames:v", "1", str(files / name)])
    return files


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60)
    if done.returncode:
        raise Unmakeable((done.stderr.strip().splitlines() or ["no reason given"])[0])


def _check_layout(path: Path, layout: str) -> None:
    """Some containers take raw samples of any layout and tell only a few of them apart. Raises Unmakeable."""
    words = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=pix_fmt", "-of", "csv=p=0"]
    found = subprocess.run([*words, path], capture_output=True, text=True, timeout=60).stdout.strip()
    if found != layout:
        raise Unmakeable(f"{path.suffix} holds no raw {layout}: it reads back as {found or 'nothing'}")
