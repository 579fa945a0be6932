"""The one writer of files: whole or not at all, never over an input, never through a link that was put in its way."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from deblurcli.errors import OutputError, UsageError
from deblurcli.files import OutputFile, check_destination, discard_parts, output_files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_name_appears_when_the_file_is_complete(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "a.bin") as output:
        output.file.write(b"first")
        (part,) = names(tmp_path)
        assert part.startswith(".a.bin.") and part.endswith(".part")
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"first"
    assert (tmp_path / "a.bin").stat().st_nlink == 1
    with pytest.raises(UsageError, match=r"exists; use --overwrite"):
        OutputFile(tmp_path / "a.bin")
    with OutputFile(tmp_path / "a.bin", overwrite=True) as output:
        output.file.write(b"second")
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"second"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(error), OutputFile(tmp_path / "a.bin", overwrite=True) as output:
        output.file.write(b"new")
        raise error
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="appeared while it was made"), OutputFile(tmp_path / "a.bin") as output:
        output.file.write(b"ours")
        (tmp_path / "a.bin").write_bytes(b"another's")
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"another's"


@pytest.mark.parametrize("appears", [False, True])
def test_a_file_system_without_second_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appears: bool) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    output = OutputFile(tmp_path / "a.bin")
    output.file.write(b"ours")
    if appears:
        (tmp_path / "a.bin").symlink_to("nowhere")
        with pytest.raises(UsageError, match="appeared"):
            output.publish()
        output.discard()
        assert (tmp_path / "a.bin").is_symlink()
    else:
        output.publish()
        assert (tmp_path / "a.bin").read_bytes() == b"ours"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_swapped_link_is_neither_followed_nor_named(tmp_path: Path, overwrite: bool) -> None:
    victim = tmp_path / "precious"
    victim.write_bytes(b"precious")
    with (
        pytest.raises(OutputError, match="was replaced by something else"),
        OutputFile(tmp_path / "a.bin", overwrite=overwrite) as output,
    ):
        output.part.unlink()
        output.part.symlink_to(victim)
        output.file.write(b"ours")
    assert names(tmp_path) == ["precious"] and victim.read_bytes() == b"precious"


def test_an_output_is_never_an_input(tmp_path: Path) -> None:
    source = tmp_path / "in.bin"
    source.write_bytes(b"input")
    (tmp_path / "soft.bin").symlink_to(source)
    (tmp_path / "hard.bin").hardlink_to(source)
    other = tmp_path / "other.bin"
    other.write_bytes(b"other")
    for name in ("in.bin", "soft.bin", "hard.bin"):
        with pytest.raises(UsageError, match="is the input"):
            OutputFile(tmp_path / name, inputs=[other, source], overwrite=True)
        with pytest.raises(UsageError, match="is the input"):
            check_destination(tmp_path / name, [other, source], overwrite=True)
    before = names(tmp_path)
    with (
        pytest.raises(UsageError, match="is the input"),
        OutputFile(tmp_path / "late.bin", inputs=[source], overwrite=True) as output,
    ):
        output.file.write(b"ours")
        (tmp_path / "late.bin").hardlink_to(source)
    assert names(tmp_path) == sorted([*before, "late.bin"]) and source.read_bytes() == b"input"


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        for size in (9_000, 20_000):  # one is only noticed when the buffer is emptied
            with (
                pytest.raises(OutputError, match=r"a\.bin cannot be written: file too large; free space"),
                OutputFile(tmp_path / "a.bin") as output,
            ):
                output.file.write(bytes(9_000))
                output.file.write(bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert names(tmp_path) == []


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with OutputFile(tmp_path / "a.bin"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


def test_several_files_appear_together(tmp_path: Path) -> None:
    pair = [tmp_path / "a.bin", tmp_path / "b.bin"]
    with output_files(pair) as outputs:
        for output in outputs:
            output.file.write(output.destination.name.encode())
        assert not any(path.exists() for path in pair)
    assert [path.read_bytes() for path in pair] == [b"a.bin", b"b.bin"] and len(names(tmp_path)) == 2


def test_several_files_or_none(tmp_path: Path) -> None:
    pair = [tmp_path / "a.bin", tmp_path / "b.bin"]
    with pytest.raises(UsageError, match="appeared"), output_files(pair):
        pair[1].write_bytes(b"another's")
    assert names(tmp_path) == ["b.bin"]
    with pytest.raises(UsageError, match=r"b\.bin exists"), output_files(pair):
        raise AssertionError
    assert names(tmp_path) == ["b.bin"]
    with pytest.raises(KeyboardInterrupt), output_files(pair, overwrite=True):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["b.bin"] and pair[1].read_bytes() == b"another's"
    with pytest.raises(UsageError, match="written twice"), output_files([pair[0], tmp_path / "." / "a.bin"]):
        raise AssertionError
    with pytest.raises(UsageError, match="is the input"), output_files(pair, inputs=[pair[1]], overwrite=True):
        raise AssertionError
    assert names(tmp_path) == ["b.bin"]


@pytest.mark.parametrize("name", ["a.mp4", "x" * 255, "é" * 127])
def test_what_a_killed_process_has_left_is_discarded_and_nothing_else(tmp_path, name):
    destination = tmp_path / name
    left = OutputFile(destination)
    left.file.close()
    others = [".b.mp4.01234567.part", ".a.mp4.part", ".a.mp4.0123456x.part", "a.mp4.01234567.part"]
    for other in others:
        (tmp_path / other).touch()
    discard_parts(destination)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
    discard_parts(tmp_path / "gone" / name)
