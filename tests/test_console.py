"""What goes to stdout and stderr in each mode; when there are bars; how often there is progress."""

import io
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from deblurcli import console as report
from deblurcli.console import JsonLines, Reporter, sink_for
from deblurcli.errors import InputError, OutputError


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only pass when told."""
    now = [100.0]
    monkeypatch.setattr(report.time, "monotonic", lambda: now[0])
    return now


def test_text_puts_results_on_stdout_and_the_rest_on_stderr(capsys):
    r = Reporter()
    r.note("a note")
    r.warn("a warning")
    r.error("found; cure")
    r.detail("hidden")
    r.event("summary", frames=3)
    r.result("out.mp4")
    out, err = capsys.readouterr()
    assert out == "out.mp4\n"
    assert err == "a note\ndeblur: warning: a warning\ndeblur: found; cure\n"


def test_detail_is_for_the_verbose(capsys):
    Reporter(verbose=True).detail("two\nlines\n")
    assert capsys.readouterr().err == "two\nlines\n"


def test_a_message_is_one_line_without_escapes(capsys):
    Reporter().error("cannot read a\nb\x1b[31m.mp4")
    assert capsys.readouterr().err == "deblur: cannot read a b [31m.mp4\n"


HOSTILE = "a\nb\x1b[31m\u202egpj\u2028c\u2069.mp4"
"""A line end, a terminal escape, letters from right to left, a line separator."""


def test_no_output_but_an_exact_result_has_what_a_hostile_name_holds(capsys, clock):
    for r in (Reporter(verbose=True), Reporter(JsonLines(), verbose=True)):
        r.note(HOSTILE)
        r.warn(HOSTILE)
        r.failure(InputError(f"{HOSTILE} is odd", "give another"), about=HOSTILE)
        r.detail(f"one\n  {HOSTILE}")
        r.progress(HOSTILE, 1, 9)
        clock[0] += 11
        r.progress(HOSTILE, 2, 9, file=HOSTILE)
    out, err = capsys.readouterr()
    assert out == "" and not any(sign in err for sign in "\x1b\u202e\u2028\u2069")
    text = [line for line in err.splitlines() if not line.startswith("{")]
    assert text[0] == "a b [31m gpj c .mp4" and len(text) == 7
    assert text[3:6] == ["one", "  a", "b [31m gpj c .mp4"]
    Reporter().result(HOSTILE)
    assert capsys.readouterr().out == HOSTILE + "\n"


def test_a_terminal_does_not_get_the_characters_of_a_result(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    Reporter().result(HOSTILE)
    assert capsys.readouterr().out == "a b [31m gpj c .mp4\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_an_output_error():
    script = "from deblurcli.console import Reporter; from deblurcli.errors import OutputError\n"
    script += "try: Reporter().result('out.mp4')\nexcept OutputError as error: raise SystemExit(error.code)"
    with Path("/dev/full").open("w") as full:
        run = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (run.returncode, run.stderr) == (OutputError.code, b"")


def test_a_failure_is_one_line_and_its_code(capsys):
    assert Reporter().failure(InputError("a.mp4 is\nodd", "do better"), about="a.mp4") == 4
    assert Reporter(verbose=True).failure(OSError(36, "File name too long", "x" * 300)) == 4
    assert Reporter().failure(ValueError("odd"), about="a.mp4") == 1
    long = f"deblur: {'x' * 300}: File name too long; give a shorter name"
    odd = "deblur: a.mp4: unexpected error: ValueError: odd; run again with --verbose for the traceback"
    assert capsys.readouterr().err.splitlines() == ["deblur: a.mp4 is odd; do better", long, odd]


def test_quiet_leaves_errors_and_results(capsys):
    r = Reporter(quiet=True)
    r.note("n")
    r.warn("w")
    r.progress("t", 1, 2)
    r.error("e")
    r.result("out")
    assert capsys.readouterr() == ("out\n", "deblur: e\n")


def test_silent_says_nothing(capsys):
    r = Reporter.silent()
    r.verbose = True
    r.warn("w")
    r.detail("d")
    r.note("n")
    r.error("e")
    r.result("out")
    r.event("exit", code=0)
    r.progress("t", 1, 1)
    assert capsys.readouterr() == ("", "")


def test_json_has_one_object_per_line(capsys, clock):
    r = Reporter(JsonLines())
    r.note("n")
    r.warn("w")
    r.progress("restoring", 0, 4)
    clock[0] += 2
    r.progress("restoring", 1, 4, fps=0.5, loss=float("nan"))
    r.event("summary", path=Path("a\udcffb"), curve=[(1, float("inf"))])
    r.event("exit", code=0, message="done")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["type"] for line in lines] == ["note", "warning", "progress", "progress", "summary", "exit"]
    facts = {"task": "restoring", "done": 1, "total": 4, "elapsed": 2.0, "eta": 6.0, "fps": 0.5, "loss": None}
    assert lines[3] == {"type": "progress"} | facts
    assert lines[4]["curve"] == [[1, None]]
    assert lines[5] == {"type": "exit", "code": 0, "message": "done"}


def test_quiet_json_still_tells_how_it_ended(capsys):
    r = Reporter(JsonLines(), quiet=True)
    r.note("n")
    r.event("summary")
    r.error("e")
    r.event("exit", code=4, message="e")
    assert [json.loads(line)["type"] for line in capsys.readouterr().err.splitlines()] == ["error", "exit"]


def test_plain_progress_is_at_most_a_line_in_five_seconds(capsys, clock):
    r = Reporter()
    for frame in range(1, 1001):
        r.progress("restoring", frame, 1000, fps=33.333)
        clock[0] += 0.03
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "restoring: 17 % · 0:05 elapsed, 0:25 left · fps 33.33",
        "restoring: 34 % · 0:10 elapsed, 0:20 left · fps 33.33",
        "restoring: 50 % · 0:15 elapsed, 0:15 left · fps 33.33",
        "restoring: 67 % · 0:20 elapsed, 0:10 left · fps 33.33",
        "restoring: 84 % · 0:25 elapsed, 0:05 left · fps 33.33",
        "restoring: 100 % · 0:30 elapsed, 0:00 left · fps 33.33",
    ]


def test_short_tasks_need_no_line_each_but_together_they_are_not_silent(capsys, clock):
    r = Reporter()
    for task in ("surveying", "adapting"):
        for i in range(1, 3):
            r.progress(task, i, 2)
            clock[0] += 1
    assert capsys.readouterr().err == ""
    for task in ("restoring", "comparing"):
        r.progress(task, 1, 100)
        clock[0] += 11
        r.progress(task, 2, 100)
    assert capsys.readouterr().err.splitlines() == [
        "restoring: 2 % · 0:11 elapsed, 17:58 left",
        "comparing: 2 % · 0:11 elapsed, 17:58 left",
    ]


def test_going_back_starts_anew(capsys, clock):
    """Two videos of a batch have a task of one name."""
    r = Reporter()
    r.progress("restoring", 90, 100)
    clock[0] += 9
    r.progress("restoring", 1, 100)
    clock[0] += 9
    r.progress("restoring", 2, 100)
    assert capsys.readouterr().err.splitlines() == [
        "restoring: 1 % · 0:00 elapsed, ? left",
        "restoring: 2 % · 0:09 elapsed, 14:42 left",
    ]


def test_unknown_total_is_a_question_mark(capsys, clock):
    r = Reporter()
    r.progress("restoring", 1, None)
    clock[0] += 3700
    r.progress("restoring", 500, None, iteration=7)
    assert capsys.readouterr().err == "restoring: 500 of ? · 1:01:40 elapsed, ? left · iteration 7\n"


def test_eta_of_a_resumed_task_counts_only_what_this_run_did(capsys, clock):
    r = Reporter(JsonLines())
    r.progress("training", 0.5, 1.0)
    clock[0] += 10
    r.progress("training", 0.6, 1.0)
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["eta"] == pytest.approx(40)


RUN = {"surveying": None, "adapting": 100.0, "restoring": 50.0, "finishing": 0.0}


def test_a_run_tells_stage_and_what_is_left_of_all(capsys, clock):
    r = Reporter(JsonLines())

    def told(*now):
        r.progress(*now)
        found = json.loads(capsys.readouterr().err.splitlines()[-1])
        return [found[name] for name in ("stage", "stages", "run_elapsed", "run_eta")]

    with r.run(RUN):
        assert told("surveying", 1, 10) == [1, 4, 0, None]
        clock[0] += 5
        assert told("adapting", 0, 20) == [2, 4, 5, None]
        clock[0] += 10
        # 5 of 20 steps in 10 s: 30 s more, and the other stage is half the work: 20 s.
        assert told("adapting", 5, 20) == [2, 4, 15, 50]
        clock[0] += 30
        told("adapting", 20, 20)
        assert told("checking the result", 0, None) == [2, 4, 45, 20]
        clock[0] += 5
        assert told("restoring", 0, 50)[:3] == [3, 4, 50]
        clock[0] += 8
        assert told("restoring", 20, 50) == [3, 4, 58, 12]
    r.progress("comparing", 1, 9)
    assert "stage" not in json.loads(capsys.readouterr().err.splitlines()[-1])


def test_a_part_of_a_unit_counts_and_does_not_go_back(capsys, clock):
    r = Reporter(JsonLines())

    def told():
        found = json.loads(capsys.readouterr().err.splitlines()[-1])
        return found["task"], found["done"], found["fps"]

    with r.run({"restoring": 1}):
        r.progress("restoring", 3, 8, fps=2)
        clock[0] += 5
        r.part(0.25)
        assert told() == ("restoring", 3.25, 2)
        clock[0] += 5
        r.part(0.5)
        r.part(0.125)
        assert told() == ("restoring", 3.5, 2)
    r.part(0.75)  # of nothing
    assert capsys.readouterr().err == ""


def test_a_stage_that_goes_on_behind_others_counts_all_of_its_time(capsys, clock):
    """Adapting to each shot: between the frames of two shots lies the adaptation to the second."""
    r = Reporter(JsonLines())
    with r.run({"restoring": 10.0, "finishing": 0.0}):
        for shot in range(2):
            r.progress("adapting", 0, 1)
            clock[0] += 10
            for frame in range(1, 6):
                clock[0] += 2
                r.progress("restoring", 5 * shot + frame, 20)
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (last["stage"], last["run_elapsed"], last["run_eta"]) == (1, 40, 40)


def test_a_run_of_which_too_little_is_known_promises_nothing(capsys, clock):
    r = Reporter(JsonLines())
    with r.run({"adapting": None, "restoring": None, "finishing": 0.0}):
        for task in ("adapting", "restoring"):
            r.progress(task, 0, 4)
            clock[0] += 3
            r.progress(task, 1, None if task == "restoring" else 4)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 4 and all(line["run_eta"] is None for line in lines)


@pytest.mark.parametrize(("sink", "count"), [(JsonLines, 3), (report.PlainLines, 2)])
def test_a_run_is_not_silent_during_one_long_call(sink, count, capsys, monkeypatch):
    monkeypatch.setattr(sink, "ticks", 0.2)
    monkeypatch.setattr(sink, "every", 0.2)
    monkeypatch.setattr(report, "TICK_LOOK_SECONDS", 0.05)
    r = Reporter(sink())
    with r.run(RUN):
        r.progress("surveying", 0, None)
        time.sleep(1)
    told = capsys.readouterr().err.splitlines()
    assert len(told) >= count
    time.sleep(0.5)
    assert capsys.readouterr().err == "", "the run is over"


def test_a_quiet_run_starts_no_thread(capsys):
    r = Reporter(JsonLines(), quiet=True)
    before = threading.active_count()
    with r.run(RUN):
        assert threading.active_count() == before
        r.progress("surveying", 0, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("log", ["text", "json"])
def test_progress_is_cheap(log, capsys):
    r = Reporter(sink_for(log))
    started = time.perf_counter()
    for i in range(100_000):
        r.progress("restoring", i, 100_000, fps=3.0)
    assert time.perf_counter() - started < 3
    assert len(capsys.readouterr().err.splitlines()) < 6


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_lost_stderr_does_not_stop_the_work(monkeypatch, capsys, stream):
    if stream:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    Reporter().note("n")
    assert capsys.readouterr().out == ""


SCRIPT = textwrap.dedent(
    """
    import sys, time
    from deblurcli.console import Reporter
    r = Reporter()
    for i in range(4):
        r.progress("restoring [a]", i, 4, fps=2.5)
        time.sleep(0.15)
    r.result("out.mp4")
    r.close()
    print("rich" in sys.modules)
    """
)


def _on_terminal(script: str = SCRIPT, **env: str) -> tuple[str, str]:
    """Run a script with stderr on a terminal and stdout on a pipe."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-c", script]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=clean | {"TERM": "xterm"} | env)
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 4096):
            text += chunk
    except OSError:  # Linux: the other end was closed
        pass
    os.close(ours)
    out = run.communicate(timeout=60)[0].decode()
    assert run.returncode == 0
    return out, text.decode()


def test_a_terminal_gets_a_bar_and_stdout_only_the_result():
    out, err = _on_terminal()
    assert out == "out.mp4\nTrue\n"
    assert "\x1b[" in err and "restoring [a]" in err and "fps 2.5" in err and "75 %" in err


LONG_CALL = textwrap.dedent(
    """
    import time
    from deblurcli.console import Reporter
    r = Reporter()
    with r.run({"surveying": None, "restoring": 1.0}):
        r.progress("surveying", 0, None)
        r.note("a note in between")
        time.sleep(3.5)
    r.close()
    """
)


def test_the_clock_of_a_bar_ticks_between_calls():
    _, err = _on_terminal(LONG_CALL)
    assert "[1/2] surveying" in err and "a note in between" in err
    shown = {f"0:0{second} elapsed" for second in range(4)}
    assert sum(each in err for each in shown) >= 3


def test_no_color_takes_the_colours_but_not_the_bar():
    err = _on_terminal(NO_COLOR="1")[1]
    assert "75 %" in err and "\x1b[3" not in err and "\x1b[9" not in err


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}])
def test_no_bar_where_it_cannot_be_redrawn(env):
    assert _on_terminal(**env) == ("out.mp4\nFalse\n", "")


def test_forced_colours_do_not_make_bars_in_a_file():
    env = {k: v for k, v in os.environ.items() if k != "CI"} | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("out.mp4\nFalse\n", "")
