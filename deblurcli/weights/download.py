"""Downloads: from the addresses of a published file to verified bytes on disk.

An address is ``https://...``, or ``hf://OWNER/NAME@REVISION/FILE`` for a file on the Hugging Face Hub or on the mirror
of it that HF_ENDPOINT names. Addresses are tried in their order, each a few times where trying again may help. A file
is used only if its size and SHA-256 are as stated. Proxies are taken from the environment.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from deblurcli.console import Reporter
from deblurcli.errors import OfflineError, OutputError, WeightsError
from deblurcli.files import OutputFile
from deblurcli.version import __version__
from deblurcli.weights.registry import PublishedFile

ATTEMPTS = 3
"""How often one address is tried."""

PAUSE_SECONDS = 1.0
"""Wait before the second attempt; doubled before each further one."""

TIMEOUT_SECONDS = 30.0
"""Silence after which a server counts as gone."""

MAX_BYTES = 2 << 30
"""Limit for a file whose size nobody states."""

SPARE_BYTES = 64 << 20
"""Space that is left free on the disk."""

CHUNK_BYTES = 1 << 18

TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which the same question may get another one."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_HUB = re.compile(r"hf://([^/]+/[^/@]+)@([^/]+)/(.+)")


@dataclass(frozen=True)
class Fetched:
    """A verified file on disk."""

    path: Path
    size: int
    """Bytes."""
    sha256: str
    source: str
    """The address it came from."""


class Unusable(Exception):
    """An address does not give the file."""

    def __init__(self, reason: str, wrong: bool = False) -> None:
        super().__init__(reason)
        self.wrong = wrong
        """It gave something else, rather than nothing."""


class TryAgain(Exception):
    """An address did not give the file this time."""


@dataclass
class Partial:
    """What has been received so far, into ``file``."""

    file: IO[bytes]
    digest: Any
    size: int = 0
    resumed: bool = False

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.size, self.resumed = hashlib.sha256(), 0, False

    def add(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)


def fetch(wanted: PublishedFile, path: Path, report: Reporter, otherwise: str) -> Fetched:
    """Receive a file from the first of its addresses that has it; ``path`` gets it when it is complete and verified.

    Args:
        otherwise: what a user can do where no address has it.

    Raises:
        OfflineError: no address could be reached or had the file.
        WeightsError: an address gave another file.
        OutputError: the file cannot be written, or the disk is too full for it.
    """
    failures: list[tuple[str, Unusable]] = []
    with OutputFile(path, overwrite=True) as output:
        for source in wanted.sources:
            partial = Partial(output.file, hashlib.sha256())
            try:
                sha256 = _from(source, wanted, partial, report)
                break
            except Unusable as failure:
                failures.append((source, failure))
                partial.restart()
        else:
            reasons = "; ".join(f"{_host(source)}: {failure}" for source, failure in failures)
            kind = WeightsError if any(failure.wrong for _, failure in failures) else OfflineError
            raise kind(f"{wanted.file} cannot be downloaded ({reasons})", f"try again later, or {otherwise}")
    return Fetched(path, partial.size, sha256, source)


def _from(source: str, wanted: PublishedFile, partial: Partial, report: Reporter) -> str:
    """Receive the file from one address; its sha256. Raises Unusable, OutputError."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            report.note(f"{_host(source)}: {reason}; trying again")
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            url, headers, stated = _resolved(source)
            _receive(url, headers, wanted, partial, report)
            found, expected = partial.digest.hexdigest(), wanted.sha256 or stated
            if expected and found != expected:
                if partial.resumed:
                    # Two halves of two files: the address had another one the second time.
                    partial.restart()
                    raise TryAgain("the file changed while it was received")
                raise Unusable(f"sha256 is {found[:12]}…, not {expected[:12]}…", wrong=True)
            return found
        except TryAgain as again:
            reason = str(again)
    raise Unusable(reason)


def _resolved(source: str) -> tuple[str, dict[str, str], str]:
    """The URL of an address, the headers it needs, and the sha256 that the hub states for it, or "".

    Raises Unusable, TryAgain.
    """
    hub = _HUB.fullmatch(source)
    if hub is None:
        return source, {}, ""
    # Read when the library is imported: it would describe this machine to the hub, and ask it for more than the file.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import HfHubHTTPError, build_hf_headers

    repository, revision, file = hub.groups()
    url = hf_hub_url(repository, file, revision=revision, endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        facts = get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS)
    except HfHubHTTPError as error:
        code = error.response.status_code
        raise (TryAgain if code in TEMPORARY else Unusable)(_answer(code)) from error
    except Exception as error:  # each version of the hub's library has another HTTP library below it
        raise TryAgain(_first_line(error)) from error
    headers = {}
    if urlsplit(facts.location).scheme not in ("https", urlsplit(url).scheme):
        raise Unusable(f"leads to an address that is not https ({_host(facts.location)})")
    if urlsplit(facts.location).netloc == urlsplit(url).netloc:
        # A token is for the hub alone; what lies elsewhere has it in its address.
        headers = {k: v for k, v in build_hf_headers().items() if k.lower() == "authorization"}
    return facts.location, headers, facts.etag if facts.etag and _SHA256.fullmatch(facts.etag) else ""


def _receive(url: str, headers: Mapping[str, str], wanted: PublishedFile, partial: Partial, report: Reporter) -> None:
    """Add the content of a URL to what has been received of it. Raises Unusable, TryAgain, OutputError."""
    request = Request(url, headers={"User-Agent": f"deblurcli/{__version__}", **headers})
    if partial.size and wanted.sha256:
        request.add_header("Range", f"bytes={partial.size}-")
    else:
        partial.restart()
    try:
        response = _opener().open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            partial.restart()
        raise (TryAgain if error.code in TEMPORARY | {416} else Unusable)(_answer(error.code)) from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Unusable(f"its certificate is not valid ({cause.verify_message})") from error
        raise TryAgain(_first_line(cause)) from error
    with response:
        if partial.size:
            partial.resumed = response.status == 206 and _starts_at(response.headers, partial.size)
            if not partial.resumed:
                partial.restart()
        _check_is_file(response.headers)
        length = _length(response.headers)
        total = wanted.size or (length is not None and partial.size + length) or None
        if wanted.size and length is not None and partial.size + length != wanted.size:
            raise Unusable(f"has {partial.size + length} bytes, not {wanted.size}", wrong=True)
        _check_space(Path(partial.file.name), (total or 0) - partial.size)
        _copy(response, partial, wanted, total, report)
    if total is not None and partial.size < total:
        raise TryAgain(f"ended after {partial.size} of {total} bytes")


def _copy(response: Any, partial: Partial, wanted: PublishedFile, total: int | None, report: Reporter) -> None:
    most = wanted.size or min(total or MAX_BYTES, MAX_BYTES)
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise TryAgain(f"broke off after {partial.size} bytes: {_first_line(error)}") from error
        if not chunk:
            return
        if not partial.size and chunk[:256].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise Unusable("sent a web page instead of the file")
        if partial.size + len(chunk) > most:
            raise Unusable(f"sends more than {most} bytes", wrong=True)
        partial.add(chunk)
        report.progress(f"pulling {wanted.file}", partial.size, total, MB=round(partial.size / 1e6, 1))


class _Redirects(HTTPRedirectHandler):
    """Never from https to http, and credentials stay with the host they are for."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise Unusable(f"leads to an address that is not https ({_host(newurl)})")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and following.host != req.host:
            following.remove_header("Authorization")
        return following


def _opener() -> OpenerDirector:
    return build_opener(_Redirects)  # with the environment's proxies


def _check_is_file(headers: Any) -> None:
    if headers.get_content_type() == "text/html":
        raise Unusable("sent a web page instead of the file")


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed + SPARE_BYTES:
        raise OutputError(
            f"{path.parent}: {free / 1e6:.0f} MB are free, the download needs {(needed + SPARE_BYTES) / 1e6:.0f} MB",
            "make room, or set DEBLUR_CACHE to a folder on another disk",
        )


def _length(headers: Any) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _starts_at(headers: Any, offset: int) -> bool:
    return headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _answer(code: int) -> str:
    said = http.client.responses.get(code, "")
    hint = {401: ", is HF_TOKEN set?", 403: ", the file may need a licence accepted there"}.get(code, "")
    return f"{code} {said}".strip() + hint


def _first_line(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return _ERRNO.sub("", (text.strip().splitlines() or [type(error).__name__])[0])[:200]


def _host(source: str) -> str:
    hub = _HUB.fullmatch(source)
    return f"hf://{hub[1]}" if hub else urlsplit(source).hostname or source
