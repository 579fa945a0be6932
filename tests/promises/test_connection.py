"""Promise 7: what is on this machine is used without a connection, and --offline means none at all.

tests/weights/test_pull.py has the rest, with a server of its own: verified files in the cache open no socket.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from end_to_end import QUICK, pan, write_video

WATCHED = textwrap.dedent(
    """
    import json, sys
    tried = []

    def watch(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"):
            tried.append(event)
            raise OSError("no connections in this test")

    sys.addaudithook(watch)
    from deblurcli.cli.app import run
    for words in json.loads(sys.argv[1]):
        tried.clear()
        code = run(words)
        print("watched", code, json.dumps(tried), flush=True)
    """
)


def watched(folder: Path, *commands: list[str]) -> list[tuple[int, list[str]]]:
    """Exit code and tried connections of each command, one process for all."""
    settings = os.environ | {"DEBLUR_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    settings = {k: v for k, v in settings.items() if "OFFLINE" not in k and "proxy" not in k.lower()}
    command = [sys.executable, "-c", WATCHED, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=settings, cwd=folder)
    lines = [line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("watched ")]
    assert len(lines) == len(commands), done.stderr
    return [(int(code), json.loads(tried)) for _, code, tried in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_video(tmp_path / "in.mkv", pan(1, 4, 64, 80))
    cv2.imwrite(str(tmp_path / "in.png"), np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8))
    return tmp_path


def test_the_bundled_networks_need_no_connection(folder: Path) -> None:
    commands = [
        *(["video", "in.mkv", "-o", f"{name}.mkv", "--method", name, "-q"] for name in ("none", "tta")),
        ["video", "in.mkv", "-o", "meta.mkv", *QUICK, "-q"],
        ["image", "in.png", "-o", "out.png", "--tta-steps", "1", "-q"],
        ["metrics", "out.png", "in.png", "-q"],
        ["compare", "in.mkv", "none.mkv", "-o", "page.html", "-q"],
        ["inspect", "in.mkv", "--patches", "2", "--patch-size", "64", "-q"],
        ["weights", "list"],
        ["weights", "verify"],
        ["weights", "path"],
        ["doctor"],
    ]
    assert watched(folder, *commands) == [(0, [])] * len(commands)


def test_offline_means_no_connection_and_has_its_code(folder: Path) -> None:
    needs = ["image", "in.png", "-o", "out.png", "--network", "nafnet-w32", "-q"]
    (offline, nothing), (online, tried) = watched(folder, [*needs, "--offline"], needs)
    assert (offline, nothing) == (7, [])
    assert online in (6, 7), "the test would not notice a connection" if not tried else ""
    assert not (folder / "out.png").exists()


def test_the_watch_can_fail(folder: Path) -> None:
    code = WATCHED.replace("from deblurcli.cli.app import run", "import socket\nrun = lambda words: try_it()")
    code = code.replace("tried = []", "tried = []\ndef try_it():\n try: socket.create_connection(('localhost', 9))\n"
                        " except OSError: return 7\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, "[[]]"], capture_output=True, text=True, timeout=60)
    assert done.stdout == 'watched 7 ["socket.getaddrinfo"]\n'
