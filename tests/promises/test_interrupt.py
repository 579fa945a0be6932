"""Promise 4: after an interrupt, a kill or a power cut the same command loses a segment at most, and gives the same.

Of a batch, the files before the interrupted one stay.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import product
from pathlib import Path

import pytest
from clips import packet_hashes, read_planes, read_times
from end_to_end import QUICK, command, contents, pan, small_network, write_video
from interrupted import FRAMES, STAGES, eventful, in_a_process

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
        large = any(size_of(path) > 20_000 for path in folder.glob(".*.part/.segment-*.part"))
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
    assert {name.split("/")[0] for name in contents(tmp_path)} == {".out.mkv.part"}
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


PLACES = {
    "survey": (2, 6, 11),
    "adaptation": (1, 2, 3),
    "restoring": (3, 9, 14),
    "encoding": (1, 6, 12),
    "muxing": (1, 7, 19),
}
"""Of each stage: after how many frames, steps or packets the process is stopped."""
RUNS = [*product(STAGES, range(3), ("SIGKILL", "SIGTERM", "SIGINT"), (True,))]
RUNS += [*product(STAGES, range(1), ("SIGKILL", "SIGTERM", "SIGINT"), (False,))]
ADAPTING = ["--steps", "2", *QUICK, "--guard", "off"]


def facts(path: Path) -> tuple[object, ...]:
    return read_planes(path), read_times(path), *(packet_hashes(path, kind) for kind in ("audio", "subtitle"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two shots at a variable rate, with sound and subtitles, and their undisturbed results."""
    folder = tmp_path_factory.mktemp("made")
    eventful(folder / "in.mkv")
    small_network(folder / "small.safetensors", 0.02)
    return folder


def words_for(made: Path, out: Path, per_shot: bool) -> list[object]:
    per, codec = ("shot", "libx264") if per_shot else ("video", "ffv1")
    network = ["--network", made / "small.safetensors"]
    return ["video", made / "in.mkv", "-o", out, *network, *ADAPTING, "--adapt-per", per, "--codec", codec]


def whole(made: Path, per_shot: bool) -> tuple[object, ...]:
    """The result of an undisturbed run."""
    out = made / f"whole-{per_shot}.mkv"
    if not out.exists():
        assert in_a_process(made / "log", *words_for(made, out, per_shot), "-q") == 0
    return facts(out)


def interrupt(made: Path, folder: Path, stage: str, number: int, how: str, per_shot: bool) -> None:
    """Stop a run; the same command must then lose a segment at most and end with the undisturbed result."""
    (folder / "out").mkdir()
    out, log = folder / "out" / "out.mkv", folder / "log"
    words = words_for(made, out, per_shot)
    code = in_a_process(log, *words, "--log", "json", place=(stage, number, how))
    assert code == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[how], log.read_text()
    assert not out.exists() and "Traceback" not in log.read_text()
    segments = len(list(out.parent.glob(".out.mkv.part/segment-?????")))
    restored = {"encoding": number - 1, "restoring": number - 1 - 2 * 4, "muxing": 17}.get(stage, 0)
    assert segments >= restored // FRAMES
    assert in_a_process(log, *words, "-q") == 0, log.read_text()
    assert facts(out) == whole(made, per_shot) and list(contents(out.parent)) == ["out.mkv"]


def test_the_same_command_ends_with_the_same_frames(made: Path, tmp_path: Path) -> None:
    """As the power cut; jobs/test_journal.py has more of it, in one process."""
    interrupt(made, tmp_path, "encoding", 7, "SIGKILL", per_shot=False)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "place", "how", "per_shot"), RUNS)
def test_sixty_interrupts(made: Path, tmp_path: Path, stage: str, place: int, how: str, per_shot: bool) -> None:
    interrupt(made, tmp_path, stage, PLACES[stage][place], how, per_shot)
