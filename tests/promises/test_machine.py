"""Promises 2, 3 and 8 where the machine fails: memory, cards, drives, something that is stuck, a bare shell."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip
from end_to_end import contents, deblur, small_network, usual_signals

from deblurcli.errors import described
from deblurcli.files import Part
from deblurcli.jobs.video import VideoJob
from deblurcli.media.footage import VideoFootage
from deblurcli.networks.plain_unet import PlainUNet

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits as on POSIX")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, a picture, and a network that changes nothing."""
    folder = tmp_path_factory.mktemp("work")
    make_clip(folder / "clip.mkv", size=(160, 96), frames=8, audio=True)
    cv2.imwrite(str(folder / "picture.png"), np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8))
    small_network(folder / "w.safetensors")
    return folder


Restore = Callable[..., int]


@pytest.fixture
def restore(work: Path, tmp_path: Path) -> Restore:
    """The exit code of `deblur video` on the clip; other words come behind."""

    def run(*words: object) -> int:
        options = ["--method", "none", "--network", work / "w.safetensors", "--device", "cpu", "--dtype", "fp32"]
        return deblur("video", work / "clip.mkv", "-o", tmp_path / "out.mkv", *options, *words)

    return run


FAILURES = {
    "memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "memory ran out"),
    "python": (MemoryError(), "memory ran out (MemoryError)"),
    "system": (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory ran out"),
    "card": (RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be"), "the device failed"),
}
"""What is raised while a frame is read or restored, and what is said of it."""


@pytest.mark.parametrize("name", FAILURES)
def test_memory_and_cards_have_a_code_that_asks_for_another_try(
    restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Code 8, one line, and the journal of what is done."""
    error, said = FAILURES[name]

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(
            "deblurcli.media.reader.Frame.rgb" if name != "card" else f"{PlainUNet.__module__}.PlainUNet.forward", fails
        )
        assert restore("-q") == 8
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err and "unexpected" not in err
    assert not (tmp_path / "out.mkv").exists()
    assert restore("--resume") == 0 or restore() == 0


def test_smaller_tiles_are_said(
    restore: Restore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = PlainUNet.forward

    def limited(self: PlainUNet, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] > 128:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return forward(self, x)

    monkeypatch.setattr(PlainUNet, "forward", limited)
    assert restore("--tile", "off") == 0
    err = capsys.readouterr().err
    assert err.count("memory ran out on cpu; tiles are 80 pixels wide from here on") == 1


@pytest.mark.parametrize("method", ["meta", "tta", "reblur2deblur", "blur2blur"])
def test_a_survey_without_memory_leaves_the_network_unadapted(
    restore: Restore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(VideoFootage, "previews", fails)
    monkeypatch.setattr(VideoFootage, "pictures", fails)
    assert restore("--method", method) == 3
    err = capsys.readouterr().err
    assert "memory ran out while adapting; the unadapted network was used" in err


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_quota_or_a_failing_drive_is_one_line(
    restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """At any write; what is done is gone on from."""
    written, write = 0, Part.write

    def limited(file: Part, content: bytes) -> int:
        nonlocal written
        written += memoryview(content).nbytes
        if written > 20_000:
            raise OSError(number, os.strerror(number))
        return write(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(Part, "write", limited)
        assert restore("-q") == 5
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"out.mkv cannot be written: {os.strerror(number).lower()}" in err.lower()
    assert not (tmp_path / "out.mkv").exists()
    assert restore("-q") == 0


def test_an_input_that_changes_while_it_is_read_is_a_difference(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether something is added, or another file takes its name."""
    for number, change in enumerate(("grows", "is replaced")):
        source = tmp_path / f"{number}.mkv"
        source.write_bytes((work / "clip.mkv").read_bytes())
        journal = VideoJob._journal

        def changed(job: VideoJob, *given: object, journal: Callable = journal, change: str = change) -> object:
            if change == "grows":
                with job.source.open("ab") as file:
                    file.write(b"more")
            else:
                os.utime(job.source, (1, 1))
            return journal(job, *given)

        with monkeypatch.context() as patch:
            patch.setattr(VideoJob, "_journal", changed)
            options = ["--method", "none", "--network", work / "w.safetensors", "-q"]
            assert deblur("video", source, "-o", tmp_path / f"{number}-out.mkv", *options) == 3
        assert "was changed, replaced or removed while it was read" in capsys.readouterr().err


def test_an_empty_file_is_no_result(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, source, out in (("video", "clip.mkv", "out.mkv"), ("image", "picture.png", "out.png")):
        options = ["--network", work / "w.safetensors", "--skip-existing", "-q"]
        options += ["--method", "none"] if command == "video" else []
        (tmp_path / out).touch()
        assert deblur(command, work / source, "-o", tmp_path / out, *options) == 2
        assert f"{out} exists, but is empty; remove it" in capsys.readouterr().err
        (tmp_path / out).unlink()
        assert deblur(command, work / source, "-o", tmp_path / out, *options) == 0
        written = contents(tmp_path)[out]
        assert deblur(command, work / source, "-o", tmp_path / out, *options) == 0
        assert contents(tmp_path)[out] == written


STUCK = textwrap.dedent(
    """
    import sys, time
    from deblurcli import cli
    from deblurcli.media.writer import VideoWriter

    def stuck(writer, item):
        print("stuck", flush=True)
        time.sleep(600)

    cli.GRACE_SECONDS = 1.0
    VideoWriter.write = stuck
    cli.main()
    """
)


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_program_though_an_encoder_is_stuck(
    work: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out.mkv"
    words = ["video", work / "clip.mkv", "-o", out, "--method", "none", "--network", work / "w.safetensors"]
    run = subprocess.Popen(
        [sys.executable, "-c", STUCK, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=usual_signals,
    )
    assert run.stdout is not None and run.stdout.readline() == "stuck\n"
    sent = time.monotonic()
    run.send_signal(number)
    run.communicate(timeout=60)
    assert run.returncode == code and time.monotonic() - sent < 10 and not out.exists()
    assert deblur(*words, "-q") == 0 and sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv"]


@POSIX
def test_a_bare_shell_is_enough(work: Path, tmp_path: Path) -> None:
    """The C locale, no home, no folder for temporary files, a name that is not ASCII, none of the usual variables."""
    source = tmp_path / "Übung \U0001f3a5.mkv"
    source.write_bytes((work / "clip.mkv").read_bytes())
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TMPDIR": str(tmp_path / "none"), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    network = ["--network", work / "w.safetensors"]

    def run(*words: object, **others: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "deblurcli", *map(str, words)]
        return subprocess.run(command, env=environment | others, capture_output=True, timeout=120)

    for words, found in (
        (["video", source, "-o", f"{tmp_path}/out/", "--method", "none", *network], f"out/{source.name}"),
        (["image", work / "picture.png", "-o", tmp_path / "ü.png", *network], "ü.png"),
    ):
        done = run(*words)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
        assert os.fsdecode(done.stdout) == f"{tmp_path / found}\n" and (tmp_path / found).stat().st_size > 1000
    for home in ({}, {"HOME": "/proc"}):
        done = run("weights", "pull", "nafnet-w32", DEBLUR_OFFLINE="1", **home)
        assert done.returncode in (6, 7) and done.stderr.count(b"\n") == 1 and b"Traceback" not in done.stderr


def test_an_error_without_words_is_described() -> None:
    assert str(described(ValueError())).startswith("unexpected error: ValueError;")
    assert described(RuntimeError("shapes do not match")).code == 1
