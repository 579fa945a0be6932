"""Addresses as inputs and outputs: listed, fetched, restored here, and put back whole or not at all."""

from __future__ import annotations

import errno
import functools
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip

from deblurcli import errors
from deblurcli.cli.app import run
from deblurcli.jobs.remote import workplace
from deblurcli.media.images import Image, read_image, write_image
from deblurcli.media.remote import Address, file_system, path_of, told

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three small pictures in a tree, and a temporary folder that shows what is left behind."""
    (tmp_path / "left").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "left"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    for name in ("in/1.png", "in/2.png", "in/day/3.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_image(Path(name), Image(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)))
    return tmp_path


@pytest.fixture
def memory(photos: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """The same in memory://, emptied afterwards."""
    found = fsspec.filesystem("memory")
    found.put(str(photos / "in") + "/", "/b/in/", recursive=True)
    yield found
    found.store.clear()
    found.pseudo_dirs[:] = [""]


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "left").iterdir())


def test_an_address_keeps_its_slashes_and_has_the_names_of_a_path() -> None:
    for text in ("s3://bucket/a/c.mp4", "file:///tmp/c.mp4", "memory://b/c.mp4", "http://localhost:80/a%20b/c.mp4"):
        address = path_of(text)
        assert isinstance(address, Address) and str(address) == os.fspath(address) == text
        assert (address.name, address.suffix, address.stem) == ("c.mp4", ".mp4", "c")
        assert str(address.with_name("d.mkv")) == text.replace("c.mp4", "d.mkv")
        assert str(address.parent / "day" / "e.mp4") == text.replace("c.mp4", "day/e.mp4")
    assert not isinstance(path_of("a/b.mp4"), Address) and not isinstance(path_of("C:/x.mp4"), Address)


def test_a_folder_behind_an_address_is_restored_into_another(photos: Path, memory, capfd) -> None:
    assert run(["image", "memory://b/in", "-o", "memory://b/out/", "--recursive", "--report", "r.jsonl"]) == 0
    assert capfd.readouterr().out.split() == [f"memory://b/out/{name}" for name in ("1.png", "2.png", "day/3.png")]
    assert run(["image", "in", "-o", "here/", "--recursive", "-q"]) == 0
    for name in ("1.png", "2.png", "day/3.png"):
        (photos / "one.png").write_bytes(memory.cat(f"/b/out/{name}"))
        assert (read_image(photos / "one.png").samples == read_image(photos / "here" / name).samples).all()
    assert [json.loads(line)["source"] for line in Path("r.jsonl").read_text().splitlines()] == [
        f"memory://b/in/{name}" for name in ("1.png", "2.png", "day/3.png")
    ]
    assert left(photos) == []


def test_lists_shards_and_what_is_not_done_have_addresses(photos: Path, memory, capfd) -> None:
    memory.pipe("/b/in/broken.png", b"no picture")
    Path("list.txt").write_text("memory://b/in/1.png\nmemory://b/in/broken.png\nmemory://b/in/./day/3.png\n")
    assert run(["image", "--files-from", "list.txt", "-o", "out/", "--failed", "failed.txt", "-q"]) == 3
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == ["out/1.png", "out/day/3.png"]
    assert Path("failed.txt").read_text() == "memory://b/in/broken.png\n"
    assert "broken.png" in capfd.readouterr().err
    done: list[str] = []
    for index in (1, 2):
        run(["image", "memory://b/in", "--recursive", "-o", "s/", "--shard", f"{index}/2", "-q"])
        done += capfd.readouterr().out.split()
    assert sorted(done) == ["s/1.png", "s/2.png", "s/day/3.png"]


def test_an_output_that_is_there_is_kept(photos: Path, memory, capfd) -> None:
    memory.pipe("/b/out.png", b"old")
    command = ["image", "in/1.png", "-o", "memory://b/out.png"]
    assert run(command) == 2 and "exists; use --overwrite" in capfd.readouterr().err
    assert run([*command, "--skip-existing"]) == 0 and memory.cat("/b/out.png") == b"old"
    assert run([*command, "--overwrite"]) == 0 and memory.cat("/b/out.png")[1:4] == b"PNG"
    assert left(photos) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["memory://b/gone.png", "-o", "x.png"], 4, "memory://b/gone.png does not exist; check the address"),
        (["memory://b/none*.png", "-o", "x/"], 4, "the pattern memory://b/none*.png matches no image"),
        (["nosuch://b/1.png", "-o", "x.png"], 2, "nosuch://b/1.png: protocol not known"),
        (["memory://b/f/%06d.png", "-o", "x.png"], 2, "is an image sequence behind an address"),
        (["-", "-o", "memory://b/x.png"], 2, "a pipe and an address together"),
    ],
)
def test_what_cannot_be_is_one_line(photos: Path, memory, capfd, arguments: list[str], code: int, said: str) -> None:
    assert run(["image", *arguments]) == code
    err = capfd.readouterr().err
    assert said in err.replace("Protocol", "protocol") and "Traceback" not in err
    assert left(photos) == [] and not Path("x.png").exists()


def test_without_fsspec_it_is_said_how_to_get_it(photos: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    assert run(["image", "s3://bucket/1.png", "-o", "x.png"]) == 2
    assert "pip install 'deblurcli[remote]'" in capfd.readouterr().err


def test_a_file_system_that_refuses_is_told(photos: Path, memory, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    def refuse(*about: object, **more: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "put_file", refuse)
    assert run(["image", "in/1.png", "-o", "memory://b/x.png"]) == errors.OutputError.code
    err = capfd.readouterr().err
    assert "memory://b/x.png cannot be written: permission denied" in err and "the finished file is " in err
    assert not memory.exists("/b/x.png")
    (finished,) = Path("left").rglob("x.png")  # what was restored is not lost
    assert read_image(finished).samples.shape == (32, 48, 3)
    monkeypatch.undo()


def test_only_whole_files_get_the_name(photos: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    system = file_system(Address("file:///"))
    put = type(system).put_file

    def cut(self: object, local: str, remote: str, **more: object) -> None:
        put(self, local, remote, **more)
        with Path(remote.removeprefix("file://")).open("r+b") as file:
            file.truncate(10)
        raise ConnectionError("reset")

    monkeypatch.setattr(type(system), "put_file", cut)
    assert run(["image", "in/1.png", "-o", f"file://{photos}/far/x.png"]) == errors.OfflineError.code
    assert list((photos / "far").iterdir()) == []


def test_workers_and_files_behind_addresses(photos: Path, capfd) -> None:
    command = ["image", f"file://{photos}/in", "-o", f"file://{photos}/far/", "--recursive", "--workers", "2", "-q"]
    assert run(command) == 0
    assert sorted(str(path.relative_to("far")) for path in Path("far").rglob("*.png")) == [
        "1.png",
        "2.png",
        "day/3.png",
    ]
    assert left(photos) == []


def test_a_web_server_is_read_from(photos: Path, capfd) -> None:
    pytest.importorskip("aiohttp")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(photos / "in"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_address[1]}"
        assert run(["image", f"{place}/1.png", "-o", "web.png", "-q"]) == 0
        assert run(["image", f"{place}/9.png", "-o", "no.png", "-q"]) == 4
        server.shutdown()
    assert read_image(Path("web.png")).samples.shape == (32, 48, 3) and not Path("no.png").exists()


def test_an_interrupted_video_goes_on_from_its_segments(
    photos: Path, memory, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """Journal and segments stay on this machine, and so does what was fetched."""
    from deblurcli.media import segments, writer

    monkeypatch.setattr(writer, "SEGMENT_FRAMES", 4)
    memory.put_file(str(make_clip(photos / "clip.mp4", frames=12)), "/b/clip.mp4")
    finished = segments.SegmentWriter.complete
    count: list[int] = []

    def stop(self: segments.SegmentWriter) -> segments.Segment:
        found = finished(self)
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(segments.SegmentWriter, "complete", stop)
    command = ["video", "memory://b/clip.mp4", "-o", "memory://b/out.mp4", "--method", "none"]
    assert run(command) == 130
    assert not memory.exists("/b/out.mp4") and len(left(photos)) == 1
    fetched: list[str] = []
    get = type(memory).get_file
    monkeypatch.setattr(
        type(memory), "get_file", lambda self, *about, **more: fetched.append("") or get(self, *about, **more)
    )
    assert run(command) == 0
    assert "a run was interrupted; going on behind frame" in capfd.readouterr().err and not fetched
    assert memory.info("/b/out.mp4")["size"] > 1000 and left(photos) == []


def test_one_run_at_a_time_has_the_folder_of_a_job(photos: Path, memory, capfd) -> None:
    one = workplace(Address("memory://b/in/1.png"), Path("out.png"))
    assert one.path.stat().st_mode & 0o077 == 0
    assert run(["image", "memory://b/in/1.png", "-o", "out.png"]) == 2
    assert "another run is writing out.png" in capfd.readouterr().err
    one.close()
    assert run(["image", "memory://b/in/1.png", "-o", "out.png"]) == 0
    assert left(photos) == []


class StoreError(Exception):
    """What the package of a store makes of an error beneath it."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__("the store says no")
        self.status = status


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionRefusedError(111, "refused"), 7),
        (socket.gaierror(-2, "Name or service not known"), 7),
        (TimeoutError(), 7),
        (OSError(errno.EBUSY, "Please reduce your request rate."), 7),
        (StoreError(503), 7),
        (StoreError(429), 7),
        (StoreError(403), 4),
        (StoreError(), 4),
        (KeyError("x"), 4),
    ],
)
def test_only_what_may_pass_is_worth_another_try(error: Exception, code: int) -> None:
    """Packages of stores wrap what has happened, sometimes twice."""
    for depth in range(3):
        with pytest.raises(errors.DeblurError) as found, told(Address("s3://b/c.mp4")):
            try:
                try:
                    raise error
                except Exception as inner:
                    if depth < 1:
                        raise
                    raise StoreError from inner
            except Exception as outer:
                if depth < 2:
                    raise
                raise ValueError("not read") from outer
        assert found.value.code == code and str(found.value).startswith("s3://b/c.mp4 ")
