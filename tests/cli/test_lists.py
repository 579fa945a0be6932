"""Lists of inputs, the list of what is not done, and the report: what goes in, what is written, how it ends."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_jobs import result

from deblurcli import errors
from deblurcli.cli.app import run
from deblurcli.jobs.lists import listed, read_list, write_list


@pytest.fixture
def clips(folder):
    for name in ("clips/1.mp4", "clips/day/1.mp4", "clips/day/2.mp4", "clips/odd\nname.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return folder


@pytest.fixture
def broken(jobs):
    """Jobs that fail for the sources with these names, by the errors that they are given here."""
    works, found = jobs.run, {}

    def restore(job, worker):
        if error := found.get(job.source.name):
            raise error
        return works(job, worker)

    jobs.run = restore
    return found


def written() -> list[str]:
    return sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a.mp4\n\nb c.mp4 \n", ["a.mp4", "b c.mp4 "]),
        (b"\xef\xbb\xbfa.mp4\r\nb.mp4", ["a.mp4", "b.mp4"]),
        (b"a\nb.mp4\0c.mp4\0", ["a\nb.mp4", "c.mp4"]),
        (b"", []),
        (b"\n \n"[:1], []),
        (b"caf\xe9.mp4\n", [os.fsdecode(b"caf\xe9.mp4")]),
    ],
)
def test_a_list_has_a_path_on_each_line_or_nul_between_them(tmp_path, content, names):
    (tmp_path / "list").write_bytes(content)
    assert read_list(tmp_path / "list") == names


@pytest.mark.parametrize("names", [[], ["a.mp4", "b c.mp4 "], ["a\nb.mp4", "c.mp4"], ["a\nb.mp4"], ["x\r", "y"]])
def test_what_is_written_is_read_again(tmp_path, names):
    write_list(tmp_path / "list", names)
    assert read_list(tmp_path / "list") == names


@pytest.mark.parametrize("source", ["clips/day/2.mp4", "/data/clips/day/2.mp4", "./clips/day/2.mp4"])
def test_a_listed_path_keeps_its_place_below_the_output(source):
    marked = listed(Path(source), Path("day/2.mp4"))
    assert Path(marked) == Path(source) and marked.endswith("clips/./day/2.mp4")
    assert listed(Path("day/2.mp4"), Path("day/2.mp4")) == "././day/2.mp4"
    assert listed(Path("/2.mp4"), Path("2.mp4")) == "/2.mp4"


def test_the_inputs_of_a_list_are_done_with_those_of_the_command_line(clips, jobs):
    Path("list").write_text("clips/./day/1.mp4\nclips/day/2.mp4\n")
    assert run(["video", "a.mp4", "--files-from", "list", "-o", "out/"]) == 0
    assert written() == ["2.mp4", "a.mp4", "day/1.mp4"]


def test_a_list_comes_from_stdin(clips, jobs, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a.mp4\0clips/odd\nname.mp4\0")))
    assert run(["video", "--files-from", "-", "-o", "out/"]) == 0
    assert written() == ["a.mp4", "odd\nname.mp4"]


def test_a_missing_file_of_a_list_is_named_and_the_rest_is_done(clips, jobs, capsys):
    Path("list").write_text("gone.mp4\na.mp4\n")
    assert run(["video", "--files-from", "list", "-o", "out/", "-q", "--failed", "failed"]) == 3
    assert capsys.readouterr().err.splitlines()[0] == "deblur: gone.mp4 does not exist; check the path"
    assert written() == ["a.mp4"] and read_list(Path("failed")) == ["gone.mp4"]


def test_an_empty_list_is_nothing_to_do(clips, jobs, capsys):
    Path("list").touch()
    assert run(["video", "--files-from", "list", "-o", "out/", "--failed", "failed"]) == 0
    assert capsys.readouterr().err.splitlines() == ["the list of inputs is empty", "0 files done"]
    assert read_list(Path("failed")) == [] and not jobs.calls and not jobs.workers


@pytest.mark.parametrize(
    ("content", "said"), [(None, "the list list cannot be read: no such file"), (b"x" * 5000, "list is not a list of")]
)
def test_what_is_no_list_is_4(clips, jobs, capsys, content, said):
    if content is not None:
        Path("list").write_bytes(content)
    assert run(["video", "--files-from", "list", "-o", "out/"]) == 4
    assert said in capsys.readouterr().err


def test_two_listed_inputs_of_one_name_are_refused_before_any_work(clips, jobs, capsys):
    Path("list").write_text("clips/1.mp4\nclips/day/1.mp4\n")
    assert run(["video", "--files-from", "list", "-o", "out/"]) == 2
    assert "clips/1.mp4 and clips/day/1.mp4 would both be written as out/1.mp4" in capsys.readouterr().err
    assert not jobs.calls and not Path("out").exists()


def test_what_leads_out_of_the_output_is_no_mark(clips, jobs):
    Path("list").write_text("clips/day/./../1.mp4\n")
    assert run(["video", "--files-from", "list", "-o", "out/in/"]) == 0
    assert written() == ["in/1.mp4"]


def test_another_run_does_what_has_failed_and_gives_it_its_place(clips, jobs, broken, capsys):
    """With the list that the first has written, under which the second writes its own."""
    broken["2.mp4"] = errors.InputError("2.mp4 is damaged")
    line = ["video", "-o", "out/", "--failed", "failed.txt"]
    assert run([*line, "clips", "--recursive"]) == 3
    assert read_list(Path("failed.txt")) == ["clips/./day/2.mp4"] and "day/2.mp4" not in written()
    err = capsys.readouterr().err.splitlines()
    assert err[-3:] == [
        "failed: clips/day/2.mp4",
        "what is not done: --files-from failed.txt",
        "deblur: of 4 files 1 failed; the lines above say why",
    ]
    del broken["2.mp4"]
    assert run([*line, "--files-from", "failed.txt"]) == 0
    assert read_list(Path("failed.txt")) == [] and written() == ["1.mp4", "day/1.mp4", "day/2.mp4", "odd\nname.mp4"]


def test_after_an_interrupt_the_list_has_what_was_not_reached(clips, jobs, broken):
    broken["b.MOV"] = KeyboardInterrupt()
    Path("c.mp4").touch()
    assert run(["video", "a.mp4", "b.MOV", "c.mp4", "-o", "out/", "--failed", "failed"]) == 130
    assert read_list(Path("failed")) == ["b.MOV", "c.mp4"]


def test_a_batch_stops_at_a_failure_where_that_is_asked_for(clips, jobs, broken, capsys):
    broken["a.mp4"] = errors.OutputError("disk full")
    assert run(["video", "a.mp4", "b.MOV", "-o", "out/", "--stop-on-error", "--failed", "failed"]) == 5
    assert read_list(Path("failed")) == ["a.mp4", "b.MOV"] and written() == []
    assert "stopped after a failure, 1 of 2 files not begun" in capsys.readouterr().err
    assert run(["video", "a.mp4", "b.MOV", "-o", "out/", "--keep-going"]) == 3


def test_the_report_has_a_line_for_each_file(clips, jobs, broken, capsys):
    works = jobs.run
    jobs.run = lambda job, worker: (
        result(job.destination, differences=["1 stream lost"], facts={"frames": 7})
        if job.source.name == "b.MOV"
        else works(job, worker)
    )
    broken["1.mp4"] = errors.OfflineError("no connection", "connect")
    line = ["video", "a.mp4", "b.MOV", "clips/1.mp4", "-o", "out/", "--report", "report.jsonl"]
    assert run(line) == 9
    lines = [json.loads(text) for text in Path("report.jsonl").read_text().splitlines()]
    assert all(line.pop("seconds") >= 0 for line in lines)
    assert lines == [
        {"source": "a.mp4", "destination": "out/a.mp4", "status": "done", "code": 0, "tries": 1}
        | {"differences": [], "frames": 3},
        {"source": "b.MOV", "destination": "out/b.MOV", "status": "done", "code": 3, "tries": 1}
        | {"differences": ["1 stream lost"], "frames": 7, "retry": False}
        | {"message": "out/b.MOV is written, but: 1 stream lost"},
        {"source": "clips/1.mp4", "destination": "out/1.mp4", "status": "failed", "code": 7, "tries": 1}
        | {"differences": [], "message": "no connection; connect", "retry": True},
    ]
    jobs.run = lambda job, worker: result(job.destination, facts={"skipped": True})
    assert run(line) == 0, "another run adds its lines"
    assert [json.loads(text)["status"] for text in Path("report.jsonl").read_text().splitlines()[3:]] == ["skipped"] * 3


def test_a_single_file_has_a_report_and_its_own_code(clips, jobs, broken, capsys):
    broken["a.mp4"] = errors.DeviceError("no memory")
    assert run(["video", "a.mp4", "-o", "o.mp4", "--report", "r", "--failed", "f", "--log", "json"]) == 8
    assert json.loads(Path("r").read_text())["code"] == 8 and read_list(Path("f")) == ["a.mp4"]
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (error,) = (event for event in said if event["type"] == "error")
    assert error == {"type": "error", "source": "a.mp4", "message": "no memory", "code": 8}
    assert run(["video", "a.mp4", "-o", "out/"]) == 8, "in a folder, too"
    jobs.run = lambda job, worker: result(job.destination, differences=["1 stream lost"])
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == run(["video", "a.mp4", "-o", "out/"]) == 3


def test_a_torn_line_of_a_report_stays_by_itself(clips, jobs):
    Path("r").write_text('{"source": "x", "code": 0}\n{"sour')
    assert run(["video", "a.mp4", "-o", "o.mp4", "--report", "r"]) == 0
    assert Path("r").read_text().splitlines()[1] == '{"sour' and Path("r").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--report notes.txt", "notes.txt exists and is not a report"),
        ("--report a.mp4", "a.mp4 is an input"),
        ("--failed a.mp4", "is the name of a video or image"),
        ("--failed x --report x", "would be both report and list"),
        ("--report gone/r", "folder gone does not exist"),
        ("--failed gone/f", "folder gone does not exist"),
    ],
)
def test_report_and_list_replace_nothing_else(clips, jobs, capsys, words, said):
    Path("notes.txt").write_text("mine")
    assert run(["video", "a.mp4", "b.MOV", "-o", "out/", *words.split()]) in (2, 5)
    assert said in capsys.readouterr().err
    assert Path("notes.txt").read_text() == "mine" and not jobs.calls


def test_a_full_disk_behind_stdout_stops_no_work(clips, jobs, monkeypatch, capsys):
    def full(self, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deblurcli.console.PlainLines.result", full)
    monkeypatch.setattr("deblurcli.console.abandon_stdout", lambda: None)
    assert run(["video", "a.mp4", "b.MOV", "-o", "out/", "--log", "text"]) == 5
    assert written() == ["a.mp4", "b.MOV"] and capsys.readouterr().err.count("stdout cannot be written") == 2


def test_a_full_disk_behind_the_report_stops_no_work(clips, jobs, monkeypatch, capsys):
    from deblurcli.files import LineFile

    def full(self, line):
        raise errors.OutputError("report.jsonl cannot be written: no space left on device")

    monkeypatch.setattr(LineFile, "add", full)
    assert run(["video", "a.mp4", "b.MOV", "-o", "out/", "--report", "report.jsonl"]) == 3
    assert written() == ["a.mp4", "b.MOV"] and capsys.readouterr().err.count("no space left") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--workers 0", "--workers 0 is not a number of processes"),
        ("--workers many", "is not a number of processes"),
        ("--shard 3", "--shard 3 is not a share"),
        ("--adapt-together --workers 2", "--adapt-together with --workers"),
        ("--adapt-together --shard 1/2", "--adapt-together with --shard"),
        ("--save-adapted w.safetensors --shard 1/2", "--save-adapted with several videos"),
        ("--method blur2blur --save-translator w.safetensors --shard 1/2", "--save-translator with several videos"),
        ("--method blur2blur --save-translated w.mkv --workers 2", "--save-translated with several videos"),
        ("--method blur2blur --adapt-together --workers 2", "or learn once with --save-translator FILE and give"),
    ],
)
def test_what_makes_no_sense_is_refused(clips, jobs, capsys, words, said):
    assert run(["video", "a.mp4", "b.MOV", "-o", "out/", *words.split()]) == 2
    assert said in capsys.readouterr().err and not jobs.calls
