"""A video that is finished by several runs: what is kept, when it is used, refused or done again, and what is said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from clips import packet_hashes, read_planes, read_times
from end_to_end import contents, deblur, small_network
from interrupted import FRAMES, eventful, killed, short_segments

from deblurcli.errors import OutputError
from deblurcli.files import Part, PartFolder
from deblurcli.jobs.journal import PIECE_BYTES, PIECES, identity
from deblurcli.media.segments import read_segment
from deblurcli.weights.load import load_network

PLAIN = ["--method", "none", "--tile", "off"]
PER_SHOT = ["--adapt-per", "shot", "--steps", "1", "--patches", "2", "--patch-size", "64", "--guard", "off"]


def facts(path: Path) -> tuple[object, ...]:
    """What must be the same: frames, their times, and the packets of the other streams."""
    return read_planes(path), read_times(path), packet_hashes(path, "audio"), packet_hashes(path, "subtitle")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video, a network that changes it, and the result of an undisturbed run."""
    folder = tmp_path_factory.mktemp("made")
    eventful(folder / "in.mkv")
    small_network(folder / "small.safetensors", 0.02)
    with short_segments():
        assert deblur(*command(folder, folder / "whole.mkv"), "-q") == 0
    return folder


def command(made: Path, out: Path, *words: object) -> list[object]:
    return ["video", made / "in.mkv", "-o", out, "--network", made / "small.safetensors", *PLAIN, *words]


def again(*words: object) -> int:
    with short_segments():
        return deblur(*words)


def part(out: Path) -> Path:
    return out.with_name(f".{out.name}.part")


def left(out: Path) -> dict[str, str]:
    """What an interrupted run has left that is complete, and its content."""
    return {name: content for name, content in contents(part(out)).items() if not name.startswith(".")}


@pytest.fixture
def stopped(made: Path, tmp_path: Path) -> Path:
    """The name of an output whose run was killed in its third segment."""
    out = tmp_path / "out.mkv"
    assert killed(*command(made, out, "-q"), stage="encoding", number=2 * FRAMES + 2)
    assert list(left(out)) == ["journal.json", "segment-00000", "segment-00001"]
    return out


# Going on


@pytest.mark.parametrize(("stage", "number"), [("encoding", 1), ("encoding", 11), ("muxing", 4)])
def test_the_same_command_goes_on(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, number: int
) -> None:
    out = tmp_path / "out.mkv"
    assert killed(*command(made, out, "-q"), stage=stage, number=number)
    assert not out.exists()
    assert again(*command(made, out, "-v")) == 0
    assert facts(out) == facts(made / "whole.mkv") and list(contents(tmp_path)) == ["out.mkv"]
    done = {"encoding": number // FRAMES * FRAMES, "muxing": 17}[stage]
    said = capsys.readouterr().err
    assert (f"a run was interrupted; going on behind frame {done}\n" in said) == bool(done)
    assert ("restored 17 frames (" in said) == bool(done)


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        pytest.param("adaptation", 2, marks=pytest.mark.slow),
        ("restoring", 14),
        pytest.param("muxing", 4, marks=pytest.mark.slow),
    ],
)
def test_finished_adaptations_are_kept(made: Path, tmp_path: Path, stage: str, number: int) -> None:
    """Of the first shot in any case; its weights go when its frames are in segments."""
    words = [
        "video",
        made / "in.mkv",
        "--network",
        made / "small.safetensors",
        *PER_SHOT,
        "--tile",
        "off",
        "--log",
        "json",
        "--lucky-frames",  # a frame that waits for others keeps its segment from being complete
        "0",
    ]
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert again(*words, "-o", whole) == 0
    assert killed(*words, "-o", out, stage=stage, number=number)
    found = set(left(out))
    shots = 1 if stage == "adaptation" else 2
    assert {name for name in found if name.startswith("adapted") and name.endswith(".json")} == {
        f"adapted-{number:05}.json" for number in range(shots)
    }
    assert ("adapted-00000.safetensors" in found) == (stage == "adaptation")
    adapted: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        import deblurcli.jobs.video as job

        prepare = job.prepare
        patch.setattr(job, "prepare", lambda *given: adapted.append(given[1][0].name) or prepare(*given))
        assert again(*words, "-o", out) == 0
    assert adapted == ["shot 2 of in.mkv"][: 2 - shots]
    assert facts(out) == facts(whole) and facts(out) != facts(made / "whole.mkv")


def test_an_exception_keeps_what_is_done_and_says_so(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deblurcli.media.writer import VideoWriter

    write, out, written = VideoWriter.write, tmp_path / "out.mkv", []

    def interrupted(writer: VideoWriter, item: object) -> None:
        written.append(item)
        if writer.frames == 2 * FRAMES:
            raise KeyboardInterrupt
        write(writer, item)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write", interrupted)
        assert again(*command(made, out)) == 130
    said = capsys.readouterr().err
    assert f"kept in {part(out)}: 8 restored frames; the same command goes on from there" in said
    assert sorted(path.name for path in part(out).iterdir()) == ["journal.json", "segment-00000", "segment-00001"]
    assert again(*command(made, out, "--resume", "-q")) == 0 and facts(out) == facts(made / "whole.mkv")


def test_frames_that_were_replaced_before_the_interrupt_are_told(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mkv"
    with monkeypatch.context() as patch:
        patch.setattr("deblurcli.restore.pipeline.ABSURD_CHANGE", 0.001)
        assert killed(*command(made, out, "-q"), stage="encoding", number=FRAMES + 2)
    assert again(*command(made, out, "-q")) == 3
    assert f"{FRAMES} frames came out broken" in capsys.readouterr().err
    assert facts(out)[1:] == facts(made / "whole.mkv")[1:]


# Starting anew, or not at all


def test_no_resume_starts_anew(made: Path, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert again(*command(made, stopped, "--no-resume")) == 0
    assert "interrupted" not in capsys.readouterr().err and facts(stopped) == facts(made / "whole.mkv")


def test_resume_needs_something_to_go_on_from(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mkv"
    assert again(*command(made, out, "--resume")) == 2
    said = f"{out} has nothing to resume: no interrupted run has left anything; leave out --resume to begin it"
    assert said in capsys.readouterr().err
    assert contents(tmp_path) == {}
    assert again(*command(made, out, "--resume", "--save-residual", tmp_path / "a.png")) == 2
    assert "--resume with --save-residual, whose map is of all frames; leave one out" in capsys.readouterr().err


def test_a_run_that_was_killed_before_anything_was_finished_is_told_as_that(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    assert killed(*command(made, out, "-q"), stage="encoding", number=1)
    before = left(out)
    assert list(before) == ["journal.json"]
    said = (
        f"{out} has nothing to resume: the interrupted run had finished nothing yet; leave out --resume to begin it\n"
    )
    for more in ([], [], ["--dry-run"]):
        assert again(*command(made, out, "--resume", "-q", *more)) == 2
        assert capsys.readouterr().err == f"deblur: {said}"
        assert left(out) == before
    # The cure works.
    assert again(*command(made, out)) == 0
    assert "interrupted" not in capsys.readouterr().err
    assert facts(out) == facts(made / "whole.mkv") and list(contents(tmp_path)) == ["out.mkv"]


def test_a_damaged_journal_is_told_as_that(made: Path, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (part(stopped) / "journal.json").write_text("{")
    before = left(stopped)
    for more in ([], ["--dry-run"]):
        assert again(*command(made, stopped, "--resume", "-q", *more)) == 2
        said = (
            f"{stopped} cannot be resumed: the journal in {part(stopped)} is damaged; leave out --resume to start anew"
        )
        assert capsys.readouterr().err == f"deblur: {said}\n"
    assert left(stopped) == before
    assert again(*command(made, stopped, "-q")) == 0 and facts(stopped) == facts(made / "whole.mkv")


def test_a_map_of_all_frames_needs_all_frames(
    made: Path, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = ["--save-residual", tmp_path / "map.png"]
    assert again(*command(made, stopped, *drawn)) == 2
    assert "had --save-residual none, now given; run it as before" in capsys.readouterr().err


@pytest.mark.slow
def test_a_map_is_drawn_anew(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, drawn = tmp_path / "drawn.mkv", ["--save-residual", tmp_path / "map.png"]
    assert killed(*command(made, out, *drawn, "-q"), stage="encoding", number=FRAMES + 2)
    assert again(*command(made, out, *drawn)) == 0
    said = capsys.readouterr().err
    assert f"starting {out} anew: the map of --save-residual is of all frames\n" in said and "interrupted" not in said
    assert facts(out) == facts(made / "whole.mkv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--codec", "ffv1"], "had --codec usual, now ffv1; run it as before to go on, or give --no-resume"),
        (["--crf", "3", "--codec", "libx264"], "had --codec usual, now libx264; --crf usual, now 3.0; run it as"),
        (["--tile", "64"], "had --tile off, now 64; run"),
        (["--method", "tta"], "had --method none, now tta; --steps none, now "),
    ],
)
def test_changed_options_are_refused(
    made: Path, stopped: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    before = left(stopped)
    assert again(*command(made, stopped, *words)) == 2
    err = capsys.readouterr().err
    assert f"an interrupted run of {stopped} {said}" in err and err.count("\n") == 1
    assert left(stopped) == before


def test_a_changed_input_network_or_version_is_refused(
    made: Path, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(made, other)
    content = bytearray((other / "in.mkv").read_bytes())
    content[len(content) // 2] ^= 1
    (other / "in.mkv").write_bytes(content)
    small_network(other / "small.safetensors", 0.03)
    monkeypatch.setattr("deblurcli.jobs.journal.__version__", "9.9")
    assert again(*command(other, stopped)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    for word in (
        f"input {identity(made / 'in.mkv')}, now {len(content)} bytes (",
        "version ",
        ", now 9.9 (",
        "weights small (",
    ):
        assert word in err, word


def test_a_copy_of_the_input_elsewhere_is_the_same(made: Path, stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in.mkv", "small.safetensors"):
        shutil.copy(made / name, tmp_path / "in" / name)
    assert again(*command(tmp_path / "in", stopped, "--resume", "-q")) == 0
    assert facts(stopped) == facts(made / "whole.mkv")


def test_other_threads_and_tiles_are_said(made: Path, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noted = json.loads((part(stopped) / "journal.json").read_text())
    (part(stopped) / "journal.json").write_text(json.dumps(noted | {"computed": {"threads": 77, "tile": 640}}))
    assert again(*command(made, stopped)) == 0
    said = capsys.readouterr().err
    assert (
        "begun with threads 77, goes on with " in said and "begun with tile 640, goes on with None: frames may" in said
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"made_of": 3}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_journal_is_not_gone_by(
    made: Path, stopped: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (part(stopped) / "journal.json").write_bytes(content)
    assert again(*command(made, stopped)) == 0
    assert "the journal in" in (said := capsys.readouterr().err) and "is damaged; starting anew" in said
    assert facts(stopped) == facts(made / "whole.mkv")


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "missing"])
def test_a_damaged_segment_is_restored_again(
    made: Path, stopped: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = part(stopped) / "segment-00000"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-9], "changed": bytes(content), "empty": b""}[damage])
        with pytest.raises(OutputError, match="segment-00000 is damaged; run the same command again"):
            read_segment(path)
    assert again(*command(made, stopped)) == 0
    assert "damaged segments are left out, their frames restored again" in capsys.readouterr().err
    assert facts(stopped) == facts(made / "whole.mkv")


@pytest.mark.slow
def test_an_adaptation_is_kept_and_if_damaged_made_again(made: Path, tmp_path: Path) -> None:
    words = ["video", made / "in.mkv", "--network", made / "small.safetensors", *PER_SHOT[2:], "--tile", "off", "-q"]
    whole, out, saved = tmp_path / "whole.mkv", tmp_path / "out.mkv", [tmp_path / f"{n}.safetensors" for n in range(2)]
    assert again(*words, "-o", whole, "--save-adapted", saved[0]) == 0
    for damage in (False, True):
        assert killed(*words, "-o", out, "--save-adapted", saved[1], stage="encoding", number=2)
        weights = part(out) / "adapted-00000.safetensors"
        weights.write_bytes(weights.read_bytes()[: -1 if damage else None])
        assert again(*words, "-o", out, "--save-adapted", saved[1]) == 0 and facts(out) == facts(whole)
        one, other = (load_network(path, role="deblur").module.state_dict() for path in saved)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        out.unlink()
        saved[1].unlink()


# One at a time, and room enough


def test_a_second_run_on_the_same_output_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    first = PartFolder(out)
    assert again(*command(made, out)) == 2
    refused = f"deblur: another run is writing {out}; wait for it, or give another name\n"
    assert capsys.readouterr().err == refused
    first.close()
    assert not part(out).exists() and again(*command(made, out, "-q")) == 0


def test_a_folder_of_somebody_else_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    part(tmp_path / "out.mkv").symlink_to(tmp_path / "elsewhere")
    assert again(*command(made, tmp_path / "out.mkv", "-q")) == 5
    assert "is not a folder of yours; remove it" in capsys.readouterr().err
    monkeypatch.setattr(PartFolder, "_owner", lambda folder: os.geteuid() + 1)
    assert again(*command(made, tmp_path / "other.mkv", "-q")) == 5
    assert "is not a folder of yours; remove it" in capsys.readouterr().err


def test_long_names_have_folders_of_their_own(tmp_path: Path) -> None:
    names = [tmp_path / ("é" * 120 + f"{end}.mkv") for end in ("one", "two")]
    folders = [PartFolder(name) for name in names]
    assert len({folder.path for folder in folders}) == 2
    assert all(folder.path.name.endswith(".part") and folder.path.is_dir() for folder in folders)
    for folder in folders:
        folder.close()
    assert list(tmp_path.iterdir()) == []


def test_room_is_stated_and_required_before_the_first_frame(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mkv"
    assert again(*command(made, out, "--overwrite", "--no-resume")) == 0
    line = next(line for line in capsys.readouterr().err.splitlines() if "needs about" in line)
    about, unit = line.partition("needs about ")[2].split()[:2]
    sound = 17 * 1920 * 4
    taken = 2 * (out.stat().st_size - sound) + sound
    assert unit == "kB" and 0.7 < float(about) * 1000 / taken < 1.5
    out.unlink()
    monkeypatch.setattr("deblurcli.media.writer.free_bytes", lambda folder: 100_000)
    assert again(*command(made, out)) == 5
    said = capsys.readouterr().err
    assert f"in {tmp_path}, 100 kB are free; make room, or give another place\n" in said
    assert contents(tmp_path) == {}
    monkeypatch.setattr("deblurcli.media.writer.free_bytes", lambda folder: None)
    assert again(*command(made, out)) == 0 and "free" not in capsys.readouterr().err


@contextmanager
def disk(size: int) -> Iterator[Callable[[], int]]:
    """A disk that is full when so many bytes have been written to it; tells how many have."""
    written, write = 0, Part.write

    def limited(file: Part, content: bytes) -> int:
        nonlocal written
        given = memoryview(content).cast("B")
        room = max(0, size - written)
        written += min(len(given), room)
        write(file, given[:room])
        if room < len(given):
            raise OSError(28, "No space left on device")
        return len(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Part, "write", limited)
        yield lambda: written


def fill(made: Path, out: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The disk becomes full at a byte; then there is room."""
    with disk(size):
        assert again(*command(made, out, "-q")) == 5
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1 and f"{out.name} cannot be written: no space left on device; make room for about" in said
    )
    assert f" more in {out.parent}, and run the same command again" in said and not out.exists()
    assert again(*command(made, out, "-q")) == 0
    assert facts(out) == facts(made / "whole.mkv") and list(contents(out.parent)) == [out.name]


def total(made: Path, out: Path) -> int:
    """Bytes that a run writes in all."""
    with disk(1 << 40) as written:
        assert again(*command(made, out, "-q")) == 0
        return written()


def test_a_disk_that_is_full_at_some_bytes(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = total(made, tmp_path / "first.mkv")
    (tmp_path / "first.mkv").unlink()
    for share in (0.02, 0.4, 0.9):
        fill(made, tmp_path / "out.mkv", int(share * size), capsys)
        (tmp_path / "out.mkv").unlink()


@pytest.mark.slow
def test_a_disk_that_is_full_at_30_bytes(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = total(made, tmp_path / "first.mkv")
    (tmp_path / "first.mkv").unlink()
    for number in range(30):
        fill(made, tmp_path / "out.mkv", number * size // 30 + 1, capsys)
        (tmp_path / "out.mkv").unlink()


# Identity


def test_the_identity_of_a_file_is_its_content(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(range(256)) * 10)
    first = identity(small)
    assert first.startswith("2560 bytes (")
    for at in (0, 1300, 2559):
        changed = bytearray(bytes(range(256)) * 10)
        changed[at] ^= 1
        small.write_bytes(changed)
        assert identity(small) != first
    content = bytearray(3 * PIECES * PIECE_BYTES)
    large.write_bytes(content)
    before = identity(large)
    for at in (0, len(content) - 1, (len(content) - PIECE_BYTES) * 20 // (PIECES - 1) + 5):
        content[at] = 1
        large.write_bytes(content)
        assert identity(large) != before
        content[at] = 0
    (tmp_path / "empty").touch()
    assert identity(tmp_path / "empty").startswith("0 bytes (")
