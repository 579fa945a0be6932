"""Opening video files: local ones only, and nothing else is followed from inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from deblurcli.errors import InputError
from deblurcli.files import reason

REFUSED = {"tty": "text", "image2": "a picture", "sdp": "a session description"}
REFUSED |= dict.fromkeys(("hls", "dash", "concat"), "a playlist")
"""Demuxers that read text or pictures as video, or that follow references to other files and addresses."""
BY_SUFFIX = {".mjpeg": "mjpeg", ".mjpg": "mjpeg"}
"""Demuxers of bare JPEGs one after the other, which by their content could be one picture."""


def open_input(path: Path) -> av.container.InputContainer:
    """Open a local file for reading; nothing else is followed from inside it. Raises InputError."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder", "give a video file")
        if not path.exists():
            raise InputError(f"{path} does not exist", "check the path")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file", "save it as a file first")
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}", "check its permissions") from error
    if not head:
        raise InputError(f"{path.name} is empty (0 bytes)", "copy or record it again")
    try:
        # An absolute name: a colon in a relative one would be taken for a protocol.
        container = av.open(
            str(path.absolute()),
            format=BY_SUFFIX.get(path.suffix.lower()),
            metadata_errors="surrogateescape",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _not_opened(path, head, error) from error
    names = container.format.name.split(",")
    kind = next((REFUSED[name] for name in names if name in REFUSED), None)
    if kind is None and container.format.name.endswith("_pipe"):
        kind = "a picture"
    if kind:
        container.close()
        raise InputError(f"{path.name} is {kind}, not a video", "give a video file")
    return container


def open_y4m(file: Any) -> av.container.InputContainer:
    """Open a stream of YUV4MPEG2 that is read once, from an object with a method ``read``. Raises InputError."""
    try:
        return av.open(file, format="yuv4mpegpipe", container_options={"protocol_whitelist": ""})
    except (av.FFmpegError, OSError, ValueError) as error:
        found = "stdin begins like y4m, but no frame can be read as its header says"
        raise InputError(found, "check the command before the pipe") from error


def _not_opened(path: Path, head: bytes, error: Exception) -> InputError:
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return InputError(f"{path.name} is a truncated mp4: its index (moov) is missing", "recover it from the camera")
    if b"\0" not in head:
        return InputError(f"{path.name} is text or not a video", "give a video file")
    return InputError(f"{path.name} is not a video that can be read: {reason(error)}", "give a video file")
