"""Promise 4, as far as it holds without --resume: an interrupt leaves nothing half written.

Segments are not built yet: the file that was being restored is lost, and the files before it stay.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from clips import read_planes
from end_to_end import command, contents, pan, write_video

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")

OPTIONS = ["--method", "none", "--codec", "ffv1", "-q"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be interrupted."""
    return write_video(tmp_path_factory.mktemp("in") / "in.mkv", pan(1, 40, 160, 192))


def size_of(path: Path) -> int:
    """In bytes; 0 where the file has just got its final name."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def until_writing(run: subprocess.Popen[str], folder: Path, beside: tuple[str, ...] = ()) -> None:
    """Wait until frames are in the unfinished file; ``beside`` names files that are complete by then."""
    end = time.monotonic() + 60
    while time.monotonic() < end and run.poll() is None:
        large = any(size_of(path) > 20_000 for path in folder.glob(".*.part"))
        if large and all((folder / name).exists() for name in beside):
            return
        time.sleep(0.01)
    raise AssertionError(f"it ended before it could be interrupted: {run.communicate()}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_nothing(source: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    run = command("video", source, "-o", tmp_path / "out.mkv", *OPTIONS)
    until_writing(run, tmp_path)
    run.send_signal(number)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err.count("\n")) == (code, "", 1), err
    assert contents(tmp_path) == {}


def test_after_a_kill_the_same_command_gives_the_same_frames(source: Path, tmp_path: Path) -> None:
    run = command("video", source, "-o", tmp_path / "out.mkv", *OPTIONS)
    until_writing(run, tmp_path)
    run.kill()
    run.communicate()
    (left,) = contents(tmp_path)
    assert left.endswith(".part")
    again = command("video", source, "-o", tmp_path / "out.mkv", *OPTIONS)
    assert again.communicate(timeout=200)[0] == f"{tmp_path / 'out.mkv'}\n" and again.returncode == 0
    (tmp_path / "never").mkdir()
    undisturbed = command("video", source, "-o", tmp_path / "never" / "out.mkv", *OPTIONS)
    assert undisturbed.wait(timeout=200) == 0
    assert read_planes(tmp_path / "out.mkv") == read_planes(tmp_path / "never" / "out.mkv")


def test_a_batch_goes_on_where_it_stopped(source: Path, tmp_path: Path) -> None:
    first, out = write_video(tmp_path / "a.mkv", pan(2, 3)), tmp_path / "out"
    words = ["video", first, source, "-o", f"{out}/", *OPTIONS]
    run = command(*words)
    out.mkdir(exist_ok=True)
    until_writing(run, out, beside=("a.mkv",))
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode == 130 and list(contents(out)) == ["a.mkv"]
    finished = (out / "a.mkv").stat().st_mtime_ns
    again = command(*words, "--skip-existing")
    assert again.communicate(timeout=200)[0].splitlines() == [f"{out}/in.mkv"] and again.returncode == 0
    assert (out / "a.mkv").stat().st_mtime_ns == finished and sorted(contents(out)) == ["a.mkv", "in.mkv"]
