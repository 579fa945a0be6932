"""A folder as an output: it appears under its name when all files in it are complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from deblurcli.errors import OutputError, UsageError
from deblurcli.files import reason, sync_folder


def check_folder(
    folder: Path, belongs: Callable[[str], bool], inputs: Iterable[Path] = (), overwrite: bool = False
) -> None:
    """Refuse, before any work, a folder that cannot become the output.

    Args:
        belongs: whether a file of this name is one of those that the folder is made of: with ``overwrite``, these may
            be replaced, and nothing else.
        inputs: folders that it must never be.

    Raises:
        UsageError: it holds something, or is an input.
        OutputError: it cannot be made.
    """
    parent = folder.parent
    try:
        if not os.path.lexists(folder):
            if not parent.is_dir():
                raise OutputError(f"folder {parent} does not exist", "create it first")
        elif folder.is_symlink() or not folder.is_dir():
            raise OutputError(f"{folder} is a link or a file, not a folder", "give another name")
        elif any(path.exists() and folder.samefile(path) for path in inputs):
            raise UsageError(f"{folder} is the input's folder", "choose another one")
        elif folder.samefile(Path()):
            raise UsageError(f"{folder} is the folder that you are in", "give one for the pictures alone")
        else:
            _check_content(folder, belongs, overwrite)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {reason(error)}", "choose another name") from error
    if not os.access(parent, os.W_OK):
        raise OutputError(f"folder {parent} is not writable", "choose another folder")


def _check_content(folder: Path, belongs: Callable[[str], bool], overwrite: bool) -> None:
    names = sorted(path.name for path in folder.iterdir())
    if names and not overwrite:
        raise UsageError(f"{folder} holds {names[0]} already", "give an empty or a new folder, or use --overwrite")
    if other := next((name for name in names if not belongs(name)), None):
        found = f"{folder} holds {other}, which is none of the pictures to replace"
        raise UsageError(found, "take it away, or give another folder")


def publish_folder(made: Path, folder: Path, *, overwrite: bool = False) -> None:
    """Give a complete folder its name, in one step. What it replaces goes to where it was made, to be removed.

    ``made``: on the same file system.

    Raises:
        UsageError: something has the name meanwhile.
        OutputError: the folder cannot be renamed.
    """
    replaced = made.with_name(f"{made.name}.replaced")
    try:
        sync_folder(made)
        if overwrite and folder.is_dir():
            folder.rename(replaced)
        elif folder.is_dir():
            with contextlib.suppress(OSError):  # renaming says what is wrong
                folder.rmdir()
        if os.path.lexists(folder):
            raise UsageError(f"{folder} appeared while it was made", "use --overwrite or another name")
        made.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        if replaced.is_dir() and not folder.exists():
            with contextlib.suppress(OSError):
                replaced.rename(folder)
        raise OutputError(f"{folder} cannot be written: {reason(error)}", "choose another folder") from error


def temporary_place() -> Path:
    """Where what has no other place lies: ``$TMPDIR`` or, without that, /var/tmp; /tmp is memory on many machines."""
    usual = "/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir()
    return Path(os.environ.get("TMPDIR") or usual)
