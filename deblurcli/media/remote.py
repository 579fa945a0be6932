"""Addresses of object stores and other file systems, such as ``s3://bucket/clip.mp4``, through fsspec.

What lies there is listed, fetched to a local file and, when it is complete, put back whole. fsspec and the package of
the file system (``s3fs`` for s3, ``gcsfs`` for gs, ...) are the user's own; the latter finds keys as it always does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
from collections.abc import Collection, Iterator
from pathlib import Path, PosixPath
from typing import Any

from deblurcli.errors import DeblurError, InputError, OfflineError, OutputError, UsageError
from deblurcli.files import reason

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://.", re.IGNORECASE)
LOCAL = frozenset({"file", "local"})
"""Schemes whose paths begin at the root of this machine."""
WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"})
"""Schemes where an object is there when all of it is, so that nothing is written under another name first."""
SIGNS = frozenset("*?[")
CURES = {PermissionError: "check the keys and what they allow", FileNotFoundError: "check the address"}


def is_remote(text: object) -> bool:
    """Whether a path is an address with a scheme."""
    return isinstance(text, Address) or bool(_ADDRESS.match(str(text)))


def path_of(text: str | Path) -> Path:
    """The path or the address that an input or output on the command line names."""
    return Address(text) if is_remote(text) else Path(text)


class Address(PosixPath):
    """A path behind a scheme. It has the names of a path, asks its own file system what is there, and opens nothing."""

    def __str__(self) -> str:
        scheme, *rest = self.parts
        return f"{scheme}//{'/' * (self.scheme in LOCAL)}{'/'.join(rest)}"

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"Address('{self}')"

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return self.parts[0].removesuffix(":").lower()

    def is_dir(self, **_: Any) -> bool:
        """Whether something lies below it. Raises DeblurError."""
        with told(self):
            return bool(file_system(self).isdir(str(self)))
        return False

    def is_file(self, **_: Any) -> bool:
        """Whether it is an object. Raises DeblurError."""
        with told(self):
            return bool(file_system(self).isfile(str(self)))
        return False

    def exists(self, **_: Any) -> bool:
        """Whether there is anything. Raises DeblurError."""
        with told(self):
            return bool(file_system(self).exists(str(self)))
        return False

    def resolve(self, strict: bool = False) -> Address:
        """Itself: what links there are is not known here."""
        return self


def file_system(address: Address) -> Any:
    """The file system of an address. Raises UsageError: fsspec, or its package for the scheme, is not there."""
    try:
        import fsspec
    except ImportError as error:
        found = f"{address}: fsspec, which reads such addresses, is not installed"
        raise UsageError(found, "pip install 'deblurcli[remote]', or give local files") from error
    try:
        return fsspec.core.url_to_fs(str(address))[0]
    except ImportError as error:
        found = f"{address}: the package of {address.scheme}:// is not installed ({reason(error)})"
        raise UsageError(found, "install it, or give local files") from error
    except ValueError as error:
        raise UsageError(f"{address}: {reason(error)}", "check the address, or give local files") from error


@contextlib.contextmanager
def told(address: Address, writing: bool = False) -> Iterator[None]:
    """Errors of a file system as ours, a line each: InputError or, when ``writing``, OutputError; OfflineError."""
    kind: type[DeblurError] = OutputError if writing else InputError
    what = "cannot be written" if writing else "cannot be read"
    try:
        yield
    except DeblurError:
        raise
    except FileNotFoundError as error:
        raise kind(f"{address} does not exist", CURES[FileNotFoundError]) from error
    except PermissionError as error:
        raise kind(f"{address} {what}: permission denied", CURES[PermissionError]) from error
    except (ConnectionError, TimeoutError) as error:
        raise OfflineError(f"{address} {what}: {reason(error)}", "check the connection, and try again") from error
    except NotImplementedError as error:
        raise kind(f"{address} {what}: {address.scheme}:// does not allow that", "give another place") from error
    except Exception as error:  # every file system has its own
        first = (str(error) or type(error).__name__).splitlines()[0]
        if _may_pass(error):
            raise OfflineError(f"{address} {what}: {first}", "check the connection, and try again") from error
        raise kind(f"{address} {what}: {first}", "check the address and the keys") from error


def _may_pass(error: BaseException | None) -> bool:
    """Whether the same may succeed later: there is no connection, or the store is busy, or fails at present."""
    passing = False
    while error is not None:
        status = getattr(error, "status", None)
        if isinstance(status, int):  # of an answer: there is a connection
            return status >= 500 or status in (408, 429)
        passing = passing or isinstance(error, ConnectionError | TimeoutError | socket.gaierror)
        passing = passing or getattr(error, "errno", None) in (errno.EBUSY, errno.EAGAIN)
        error = error.__cause__ or error.__context__
    return passing


def listed(given: Address, suffixes: Collection[str], recursive: bool) -> dict[Path, Path]:
    """The objects that an input stands for, and the path of each below the folder that was given, or its name.

    Folders give the media files in them, patterns what they match; hidden ones are none. What stands for nothing is
    itself in the list, so that it fails as one item. Raises DeblurError.
    """
    system = file_system(given)
    with told(given):
        if SIGNS & set(str(given)) and not system.exists(str(given)):
            names = [name for name in system.glob(str(given)) if system.isfile(name)]
            matched = sorted(Address(system.unstrip_protocol(name)) for name in names)
            return {each: Path(each.name) for each in matched if _is_media(Path(each.name), suffixes)} or {
                given: Path(given.name)
            }
        if not system.isdir(str(given)):
            return {given: Path(given.name)}
        names = system.find(str(given)) if recursive else system.ls(str(given), detail=False)
        found: dict[Path, Path] = {}
        for name in sorted(names):
            each = Address(system.unstrip_protocol(name))
            below = Path(os.path.relpath(each, given))
            if _is_media(below, suffixes) and (recursive or system.isfile(name)):
                found[each] = below
        return found or {given: Path(given.name)}
    return {}


def _is_media(below: Path, suffixes: Collection[str]) -> bool:
    return below.suffix.lower() in suffixes and not any(part.startswith(".") for part in below.parts)


def require_object(address: Address, word: str) -> None:
    """Refuse an address where no object is. Raises DeblurError."""
    if address.is_file():
        return
    if SIGNS & set(str(address)) and not address.exists():
        raise InputError(f"the pattern {address} matches no {word}", "check the pattern, and the folder it starts from")
    if address.is_dir():
        raise InputError(f"folder {address} has no {word}s to restore", "give files, or another folder")
    raise InputError(f"{address} does not exist", "check the address")


def state_of(address: Address) -> dict[str, str]:
    """What tells one state of an object from another, as far as its file system says: size, time, tag."""
    with told(address):
        facts = file_system(address).info(str(address))
        names = ("size", "mtime", "created", "LastModified", "last_modified", "updated", "ETag", "etag", "md5Hash")
        return {name: str(facts[name]) for name in names if facts.get(name) is not None}
    return {}


def fetch(address: Address, path: Path) -> None:
    """Bring an object to a local file, which is there when all of it is. Raises DeblurError."""
    part = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        with told(address):
            file_system(address).get_file(str(address), str(part))
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}", "set TMPDIR to another folder") from error
    finally:
        part.unlink(missing_ok=True)


def put(path: Path, address: Address, overwrite: bool) -> None:
    """Bring a complete local file to an address, which holds all of it or nothing. Raises DeblurError."""
    system = file_system(address)
    with told(address, writing=True):
        if not overwrite and system.exists(str(address)):
            raise UsageError(f"{address} appeared while it was made", "use --overwrite or another name")
        with contextlib.suppress(NotImplementedError, PermissionError):  # stores have no folders; putting tells
            system.makedirs(str(address.parent), exist_ok=True)
        if address.scheme in WHOLE:
            system.put_file(str(path), str(address))
        else:
            part = address.with_name(f".{address.name}.{secrets.token_hex(4)}.part")
            try:
                system.put_file(str(path), str(part))
                system.mv(str(part), str(address))
            finally:
                with contextlib.suppress(Exception):
                    if system.exists(str(part)):
                        system.rm_file(str(part))
        system.invalidate_cache()
        size = system.info(str(address)).get("size")
        if size is not None and size != path.stat().st_size:
            raise OutputError(f"{address} holds {size} bytes of {path.stat().st_size}", "try again")
