"""The command ``deblur`` on one file, in this process, with a network that changes nothing."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

LIMIT_SECONDS = 40
"""A clip of a dozen small pictures that takes longer hangs."""

sys.path.append(str(Path(__file__).parents[1] / "support"))


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it announced."""

    code: int
    differences: list[str] = field(default_factory=list)
    message: str = ""


def identity_network(folder: Path) -> Path:
    """A file with a network that changes nothing. What every run imports is loaded for copies of this process."""
    import av  # noqa: F401
    from end_to_end import small_network

    return small_network(folder / "identity.safetensors")


def restored(command: str, source: Path, result: Path, network: Path, *options: object) -> Outcome:
    """Run ``deblur video`` or ``deblur image`` in a copy of this process, which may crash or hang alone."""
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe()
    child = context.Process(target=_send, args=(far, command, source, result, network, *options))
    child.start()
    far.close()
    try:
        if near.poll(LIMIT_SECONDS):
            outcome: Outcome = near.recv()
        else:
            outcome = Outcome(-1, message=f"hangs: nothing after {LIMIT_SECONDS} s")
    except EOFError:
        child.join()
        outcome = Outcome(-1, message=f"crashed, code {child.exitcode}")
    child.kill()
    child.join()
    return outcome


def _send(far: Connection, *words: object) -> None:
    far.send(_restored(*words))  # type: ignore[arg-type]


def _restored(command: str, source: Path, result: Path, network: Path, *options: object) -> Outcome:
    from end_to_end import deblur

    words = [command, source, "-o", result, "--network", network, "--log", "json", *options]
    words += ["--method", "none"] if command == "video" else []
    written, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(said):
        code = deblur(*words)
    events = []
    for line in said.getvalue().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    announced = [line for event in events if event.get("type") == "summary" for line in event.get("differences", [])]
    ends = [event.get("message", "") for event in events if event.get("type") == "exit"]
    return Outcome(code, announced, ends[-1] if ends else said.getvalue().strip()[-300:])
