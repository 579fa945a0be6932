"""Damaged by a number: whatever videos, pictures, weights and journals hold, the end is a code and a line of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fuzzing
import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits of memory, and what a process holds, as on Linux"
)

CASES = {"video": 1200, "picture": 800, "weights": 600, "journal": 400}
TOGETHER = 200
"""Cases that one process does."""
MAX_SILENT = 2
"""Videos of 1,200: where the end of one picture and the begin of the next are wiped, what is left may fit together."""


def outcomes(kind: str, cases: int, seed: int, folder: Path) -> list[dict[str, object]]:
    """What became of each case. One that brings its process down is a fault, and the others are done all the same."""
    found: list[dict[str, object]] = []
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "VIPS_CONCURRENCY": "1",
    }
    while len(found) < cases:
        first = len(found)
        words = [kind, seed, first, min(first + TOGETHER, cases), folder]
        done = subprocess.run(
            [sys.executable, fuzzing.__file__, *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TOGETHER * fuzzing.BLOCKED_SECONDS,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found += [line for line in lines if "case" in line]
        if done.returncode:
            assert lines and "begins" in lines[-1], done.stderr
            verdict = f"FAULT ended with {done.returncode}: {done.stderr[-2000:]}"
            found.append({"case": lines[-1]["begins"], "verdict": verdict, "seconds": 0.0, "memory": 0})
    return found


def summary(found: list[dict[str, object]]) -> str:
    """How often each verdict was, and the most time and memory."""
    counts = Counter(str(line["verdict"])[:80] for line in found)
    most = {name: max(float(str(line[name])) for line in found) for name in ("seconds", "memory")}
    text = ", ".join(f"{verdict}: {count}" for verdict, count in counts.most_common())
    return f"{len(found)} cases, {most['seconds']:.1f} s and {most['memory'] / 1e6:.0f} MB at most; {text}"


def check(kind: str, found: list[dict[str, object]]) -> None:
    faults = [line for line in found if "FAULT" in str(line["verdict"])]
    assert not faults, faults[:10]
    silent = sum("silent" in str(line["verdict"]) for line in found)
    assert silent <= (MAX_SILENT if kind == "video" else 0), summary(found)
    assert max(float(str(line["memory"])) for line in found) < fuzzing.MEMORY, summary(found)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", CASES)
def test_thousands_of_cases(tmp_path: Path, kind: str) -> None:
    found = outcomes(kind, CASES[kind], 24, tmp_path)
    print(f"{kind}: {summary(found)}")
    check(kind, found)


def test_a_process_that_is_brought_down_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a crash of a library; and what lasts too long, with the place where it was."""
    for code, said in (
        ("os.abort()", "ended with -6"),
        ("time.sleep(9)", "ended with 1: Timeout"),
        ("while True: pass", "ended with -27: Current thread"),
    ):
        program = tmp_path / "program.py"
        program.write_text(
            "import fuzzing, os, sys, time\n"
            "class Kind:\n"
            "    def __init__(self, *_): pass\n"
            "    def case(self, draw, folder):\n"
            "        if folder.name == 'x-1':\n"
            f"            {code}\n"
            "        return 'code 0'\n"
            "fuzzing.SECONDS, fuzzing.BLOCKED_SECONDS, fuzzing.kinds = 0.2, 4.0, lambda: {'x': Kind}\n"
            "name, *numbers, folder = sys.argv[1:]\n"
            "fuzzing.main(name, *map(int, numbers), fuzzing.Path(folder))\n"
        )
        monkeypatch.setattr(fuzzing, "__file__", str(program))
        folder = tmp_path / said[-3:]
        folder.mkdir()
        found = outcomes("x", 3, 0, folder)
        assert [line["case"] for line in found] == [0, 1, 2] and said in str(found[1]["verdict"])
        assert [line["verdict"] for line in found[::2]] == ["code 0", "code 0"]
