"""Output files: refused before anything is opened, made under a `.part` name, named when complete."""

import contextlib
import os
import secrets
from pathlib import Path

from deblurcli.errors import OutputError, UsageError


def reason(error: BaseException) -> str:
    """The short text of a library or system error, without the file name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def check_destination(source: Path | None, destination: Path, overwrite: bool) -> None:
    """Refuse what must never be written to, before anything is opened. Raises UsageError and OutputError."""
    folder = destination.parent
    if source and destination.exists() and destination.samefile(source):
        raise UsageError(f"{destination} is the input", "choose another output name")
    if destination.is_dir():
        raise OutputError(f"{destination} is a folder", "give a file name")
    if destination.exists() or destination.is_symlink():
        if not overwrite:
            raise UsageError(f"{destination} exists", "use --overwrite or another name")
    elif not folder.is_dir():
        raise OutputError(f"folder {folder} does not exist", "create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"folder {folder} is not writable", "choose another folder")


def create_part(destination: Path) -> Path:
    """Create `.NAME.<id>.part` beside the output, the name shortened to fit 255 bytes. Raises OutputError."""
    for _ in range(100):
        tail = f".{secrets.token_hex(4)}.part"
        name = os.fsencode(destination.name)[: 255 - 1 - len(tail)]
        # A cut in the middle of a character must not leave an invalid name.
        stem = os.fsdecode(name) if len(name) == len(os.fsencode(destination.name)) else name.decode(errors="ignore")
        part = destination.with_name(f".{stem}{tail}")
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        except OSError as error:
            found = f"{destination.name} cannot be created in {destination.parent}: {reason(error)}"
            raise OutputError(found, "choose another folder or name") from error
        return part
    raise OutputError(f"{destination.parent} holds too many .part files", "remove them")


def commit(part: Path, destination: Path, overwrite: bool) -> None:
    """Give a complete file its name. Raises UsageError if that name appeared meanwhile."""
    if not overwrite and destination.exists():
        raise UsageError(f"{destination} appeared while it was made", "use --overwrite or another name")
    part.replace(destination)
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):  # some network drives cannot sync a folder
            folder = os.open(destination.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
