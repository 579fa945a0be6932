"""A web server on this machine that serves files as the Hugging Face Hub and plain sites do, and fails on demand."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAGE = b"<!DOCTYPE html><html><body>Please log in to the hotel's network</body></html>"


class Site(ThreadingHTTPServer):
    """Files by path, and for some paths what goes wrong with the next answers.

    ``faults[path]`` is a list, one item for each answer to a GET in turn: an integer is a status; ``html``,
    ``corrupt``, ``longer``, ``endless``, ``ignore-range`` and ``stall`` speak for themselves; ``cut:N`` ends after N
    bytes; ``to:URL`` redirects. A path of the form OWNER/NAME/resolve/REVISION/FILE answers as the hub does: HEAD with
    the file's facts, GET with a redirect to ``/cdn/...`` on another host, where ``faults`` are looked up.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, path: str, method: str = "GET") -> list[dict[str, str]]:
        """The headers of the requests for a path so far."""
        return [headers for m, p, headers in self.requests if (m, p) == (method, path)]

    def handle_error(self, request, client_address) -> None:
        """Clients of these tests hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.lstrip("/")
        self.server.requests.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        content = self.server.files.get(path)
        faults = self.server.faults.get(path, []) if self.command == "GET" or "resolve" in path else []
        fault = faults.pop(0) if faults else ""
        if isinstance(fault, int):
            return self.send([("Content-Length", "0")], b"", fault)
        if content is None:
            return self.send([("Content-Length", "0")], b"", 404)
        if "/resolve/" in path:
            return self.as_hub(path, content)
        if fault.startswith("to:"):
            return self.send([("Location", fault[3:]), ("Content-Length", "0")], b"", 302)
        if fault == "html":
            return self.send([("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))], PAGE)
        if fault == "endless":
            self.send([], b"")
            while True:
                self.wfile.write(b"\0" * 65536)
        self.as_site(content, fault)

    def as_hub(self, path: str, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        facts = [("X-Repo-Commit", COMMIT), ("X-Linked-Etag", f'"{sha256}"'), ("X-Linked-Size", str(len(content)))]
        cdn = f"cdn/{path.rpartition('/')[2]}"
        self.server.files[cdn] = content
        place = f"http://localhost:{self.server.server_port}/{cdn}"
        self.send([*facts, ("Location", place), ("Content-Length", "0")], b"", 302)

    def as_site(self, content: bytes, fault: str) -> None:
        if fault == "corrupt":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "longer":
            content += b"\0"
        start = 0
        if (wanted := self.headers.get("Range")) and fault != "ignore-range":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        headers = [("Content-Length", str(len(content) - start)), ("Content-Type", "application/octet-stream")]
        if start:
            headers.append(("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"))
        body = content[start:]
        if fault.startswith("cut:"):
            body = body[: int(fault[4:])]
        if fault == "stall":
            self.send(headers, body[: len(body) // 2], 206 if start else 200)
            self.wfile.flush()
            self.server.release.wait(30)
            return
        self.send(headers, body, 206 if start else 200)

    def send(self, headers: list[tuple[str, str]], body: bytes, status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def site() -> Iterator[Site]:
    """A running server; it stops at the end."""
    server = Site()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
