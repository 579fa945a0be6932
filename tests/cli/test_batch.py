"""Several inputs: which files are read and written, what a failure does, and how it ends."""

import json
import os
from pathlib import Path

import pytest
from fake_jobs import result

from deblurcli import errors
from deblurcli.cli.app import run
from deblurcli.jobs.plan import plan
from deblurcli.media.inputs import Medium, expand

SUFFIXES = {".mp4", ".mov"}
MEDIUM = Medium("video", "video", frozenset(SUFFIXES), ".mkv")


@pytest.fixture
def clips(folder):
    for name in ("clips/2.mp4", "clips/1.mp4", "clips/3.MP4", "clips/notes.txt", "clips/inner/4.mp4", "more/1.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    Path("empty").mkdir()
    return folder


@pytest.fixture
def failing(jobs):
    """The jobs with a list of what goes wrong, by the name of the input."""
    works, errors_by_name = jobs.run, {}

    def restore(job, worker):
        if error := errors_by_name.get(job.source.name):
            raise error
        return works(job, worker)

    jobs.run = restore
    jobs.errors = errors_by_name
    return jobs


def names(paths):
    return [path.as_posix() for path in paths]


def test_inputs_are_files_folders_and_patterns(clips):
    assert names(expand(["clips"], SUFFIXES)) == ["clips/1.mp4", "clips/2.mp4", "clips/3.MP4"]
    assert names(expand(["c*/?.mp4", "b.MOV"], SUFFIXES)) == ["clips/1.mp4", "clips/2.mp4", "b.MOV"]
    assert names(expand(["clips/**/4.mp4", "clips/inner"], SUFFIXES)) == ["clips/inner/4.mp4"]
    assert names(expand([str(clips / "cl*" / "1.mp4")], SUFFIXES)) == [(clips / "clips/1.mp4").as_posix()]


def test_what_matches_nothing_stays_to_fail(clips):
    assert names(expand(["gone.mp4", "x*.mp4", "empty"], SUFFIXES)) == ["gone.mp4", "x*.mp4", "empty"]


@pytest.mark.skipif(os.name != "posix", reason="limits as on POSIX")
def test_a_path_that_cannot_be_is_an_unusable_input(clips, jobs, capsys):
    assert run(["video", "x" * 300, "a.mp4", "-o", "out/"]) == 4
    assert "too long" in capsys.readouterr().err


def test_a_name_with_brackets_is_a_name(clips):
    Path("clip[1].mp4").touch()
    assert names(expand(["clip[1].mp4"], SUFFIXES)) == ["clip[1].mp4"]


@pytest.mark.parametrize(
    ("inputs", "output", "written"),
    [
        ("a.mp4", "o.mkv", ["o.mkv"]),
        ("clips/1*", "o.mp4", ["o.mp4"]),
        ("a.mp4", "new/", ["new/a.mp4"]),
        ("a.mp4", "empty", ["empty/a.mp4"]),
        ("a.mp4 b.MOV", "new", ["new/a.mp4", "new/b.MOV"]),
        ("clips", "new.v2", ["new.v2/1.mp4", "new.v2/2.mp4", "new.v2/3.MP4"]),
        ("clips/inner", "new", ["new/4.mp4"]),
    ],
)
def test_outputs_get_their_names(clips, inputs, output, written):
    assert names(destination for _, destination in plan(inputs.split(), output, MEDIUM, SUFFIXES).pairs) == written


@pytest.mark.parametrize(
    ("inputs", "written", "batch"),
    [
        ("a.mp4", ["a.deblurred.mp4"], False),
        ("b.MOV", ["b.deblurred.MOV"], False),
        ("a.mp4 b.MOV", ["a.deblurred.mp4", "b.deblurred.MOV"], True),
        ("clips/inner", ["clips/inner/4.deblurred.mp4"], True),
        ("old/film.wtv", ["old/film.deblurred.mkv"], False),
    ],
)
def test_outputs_without_a_name_lie_beside_their_inputs(clips, inputs, written, batch):
    planned = plan(inputs.split(), None, MEDIUM, SUFFIXES)
    assert names(destination for _, destination in planned.pairs) == written
    assert planned.batch is batch


def test_what_was_made_of_a_folder_is_not_restored_again(clips):
    Path("clips/1.deblurred.mp4").touch()
    planned = plan(["clips"], None, MEDIUM, SUFFIXES)
    assert names(source for source, _ in planned.pairs) == ["clips/1.mp4", "clips/2.mp4", "clips/3.MP4"]
    assert "1 earlier output left alone" in planned.left
    again = plan(["clips/1.deblurred.mp4"], None, MEDIUM, SUFFIXES)
    assert names(out for _, out in again.pairs) == ["clips/1.deblurred.deblurred.mp4"]


@pytest.mark.parametrize(
    ("inputs", "output", "written"),
    [
        (["clips/1.mp4"], ".", ["1.mp4"]),
        (["{}/clips/1.mp4"], "{}", ["{}/1.mp4"]),
        (["../clips/1.mp4"], "../", ["../1.mp4"]),
        (["clips/inner/4.mp4", "a.mp4"], "clips", ["clips/4.mp4", "clips/a.mp4"]),
        (["clips/inner"], ".", ["4.mp4"]),
        (["clips/"], ".", ["1.mp4", "2.mp4", "3.MP4"]),
        (["clips/?.mp4"], ".", ["1.mp4", "2.mp4"]),
        (["clips/**/4.mp4"], "clips", ["clips/4.mp4"]),
        (["clips/./inner/4.mp4"], "clips", ["clips/inner/4.mp4"]),
        (["a.mp4"], ".", ["a.mp4"]),
    ],
)
def test_what_is_named_is_an_input_wherever_it_lies(clips, monkeypatch, inputs, output, written):
    if ".." in output:
        monkeypatch.chdir("more")
    planned = plan([text.format(clips) for text in inputs], output.format(clips), MEDIUM, SUFFIXES)
    assert names(out for _, out in planned.pairs) == [Path(text.format(clips)).as_posix() for text in written]
    assert len(planned.pairs) == len(written) and not any("output folder" in line for line in planned.left)


def test_what_a_search_finds_in_the_output_folder_is_left_alone_and_said(clips):
    planned = plan(["clips"], "clips/inner", MEDIUM, SUFFIXES, recursive=True)
    assert names(source for source, _ in planned.pairs) == ["clips/1.mp4", "clips/2.mp4", "clips/3.MP4"]
    assert "1 video in the output folder left alone" in planned.left
    planned = plan(["*/?.mp4"], "more", MEDIUM, SUFFIXES)
    assert names(source for source, _ in planned.pairs) == ["clips/1.mp4", "clips/2.mp4"]
    assert "1 video in the output folder left alone" in planned.left
    # One that is named, too, is an input.
    planned = plan(["clips", "clips/inner/4.mp4"], "clips/inner", MEDIUM, SUFFIXES, recursive=True)
    assert names(source for source, _ in planned.pairs)[-1] == "clips/inner/4.mp4"
    assert not any("output folder" in line for line in planned.left)
    # Without --recursive it would not be found; so it is no folder that --recursive takes.
    assert not plan(["clips"], "clips/inner", MEDIUM, SUFFIXES).left[1:]
    with pytest.raises(errors.InputError, match=r"every video of m\*/\*\.mp4 lies in the output folder more; give"):
        plan(["m*/*.mp4"], "more", MEDIUM, SUFFIXES)


def test_two_inputs_never_share_an_output_without_a_name(clips):
    with pytest.raises(errors.UsageError, match=r"would both be written as x\.deblurred\.mkv"):
        plan(["x.wtv", "x.mxf"], None, MEDIUM, SUFFIXES)


@pytest.mark.parametrize("output", ["o.mp4", "notes.txt", "new.mov"])
def test_several_inputs_do_not_go_into_a_file(clips, capsys, output):
    assert run(["video", "a.mp4", "b.MOV", "-o", output]) == 2
    assert "one file for several inputs" in capsys.readouterr().err


def test_two_inputs_of_one_name_are_refused_before_any_work(clips, jobs, capsys):
    assert run(["video", "clips", "more/1.mp4", "-o", "out/"]) == 2
    assert "would both be written as" in capsys.readouterr().err
    assert not jobs.calls and not Path("out").exists()


def test_all_done(clips, jobs, capsys):
    assert run(["video", "clips", "-o", "out/deep/"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(Path("out/deep", name)) for name in ("1.mp4", "2.mp4", "3.MP4")]
    assert err.splitlines()[-1] == "3 files done"


def test_one_failure_does_not_stop_the_rest(clips, failing, capsys):
    failing.errors["2.mp4"] = errors.InputError("clips/2.mp4 has no frames", "give another")
    assert run(["video", "-q", "clips", "-o", "out/"]) == 3
    out, err = capsys.readouterr()
    assert [Path(line).name for line in out.splitlines()] == ["1.mp4", "3.MP4"]
    assert err.splitlines() == [
        "deblur: clips/2.mp4 has no frames; give another",
        "deblur: of 3 files 1 failed; the lines above say why",
    ]


def test_a_message_without_the_name_gets_it(clips, failing, capsys):
    failing.errors["2.mp4"] = ValueError("odd")
    assert run(["video", "clips", "-q", "-o", "out/"]) == 3
    assert capsys.readouterr().err.startswith("deblur: 2.mp4: unexpected error: ValueError: odd;")


def test_all_failed_for_one_reason_is_that_code_and_9_says_that_another_run_may_help(clips, failing):
    for name in ("1.mp4", "2.mp4", "3.MP4"):
        failing.errors[name] = errors.DeviceError("no memory")
    assert run(["video", "clips", "-o", "out/"]) == 8
    failing.errors["2.mp4"] = errors.InputError("bad")
    assert run(["video", "clips", "-o", "out/"]) == 9
    failing.errors |= {"1.mp4": errors.OutputError("full"), "3.MP4": errors.WeightsError("gone")}
    assert run(["video", "clips", "-o", "out/"]) == 3


def test_differences_of_some_are_3(clips, jobs, capsys):
    jobs.run = lambda job, worker: result(job.destination, differences=["1 stream lost"])
    assert run(["video", "-q", "clips", "-o", "out/"]) == 3
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err.splitlines()[-1] == "deblur: of 3 files 3 with differences; the lines above say why"


def test_an_empty_folder_is_a_failure_and_the_rest_goes_on(clips, jobs, capsys):
    assert run(["video", "-q", "empty", "a.mp4", "-o", "out/"]) == 3
    assert "folder empty has no videos to restore" in capsys.readouterr().err
    assert run(["video", "-q", "empty", "-o", "out/"]) == 4


def test_skipped_files_are_not_results(clips, jobs, capsys):
    jobs.run = lambda job, worker: result(job.destination, lines=["exists, skipped"], facts={"skipped": True})
    assert run(["video", "clips", "-o", "out/", "--skip-existing"]) == 0
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_made_is_5(clips, jobs, capsys):
    assert run(["video", "clips", "-o", "notes.txt/inside/"]) == 5
    assert not jobs.calls


def test_an_interrupt_stops_the_batch(clips, failing):
    failing.errors["2.mp4"] = KeyboardInterrupt()
    assert run(["video", "clips", "-o", "out/"]) == 130
    assert [path.name for path in Path("out").iterdir()] == ["1.mp4"]


def test_images_go_the_same_way(clips, jobs, capsys):
    for name in ("p/1.png", "p/2.jpg", "p/3.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert run(["image", "p", "-o", "out/", "--log", "json"]) == 0
    out, err = capsys.readouterr()
    assert [Path(line).name for line in out.splitlines()] == ["1.png", "2.jpg"]
    assert json.loads(err.splitlines()[-1]) == {"type": "exit", "code": 0, "message": "done"}
