"""Processes that share a batch: one that dies, one that cannot begin, signals, and what is said meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pool_jobs
import pytest
from pool_jobs import planned, quick, unfit

from deblurcli.console import JsonLines, PlainLines, Reporter
from deblurcli.errors import DeblurError, DeviceError, PartialError, UnfinishedError
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.lists import read_list
from deblurcli.jobs.pool import Pool
from deblurcli.options.batch import BatchOptions

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")


def lines(path: Path) -> dict[str, dict]:
    """The lines of a report by the names of their sources."""
    return {Path(line["source"]).stem: line for line in map(json.loads, path.read_text().splitlines())}


def files(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.iterdir()}


def test_a_process_that_is_killed_is_replaced_and_its_file_tried_once_more(tmp_path, capsys):
    """Killed once: the file is done. Killed twice: it is named, and all others are done. Nothing half written stays."""
    texts = {"a": "a", "once": "kill 1", "b": "b", "twice": "kill 9", "bad": "bad", "odd": "odd", "c": "c"}
    jobs, plan = planned(tmp_path, texts)
    report, failed = tmp_path / "report.jsonl", tmp_path / "failed.txt"
    options = BatchOptions(report=report, failed=failed)
    with pytest.raises(UnfinishedError, match="of 7 files 3 failed") as ended:
        run_batch(jobs, plan, Pool([quick, quick], 1), Reporter(PlainLines(), quiet=False), options)
    assert ended.value.code == 9, "memory may have been short: another run may help"
    assert files(tmp_path / "out") == {"a": "halfa", "once": "halfkill", "b": "halfb", "c": "halfc"}
    told = lines(report)
    assert {name: (line["status"], line["code"], line["tries"]) for name, line in told.items()} == {
        **dict.fromkeys("abc", ("done", 0, 1)),
        "once": ("done", 0, 2),
        "twice": ("failed", 8, 2),
        "bad": ("failed", 4, 1),
        "odd": ("failed", 1, 1),
    }
    assert sorted(Path(path).stem for path in read_list(failed)) == ["bad", "odd", "twice"]
    out, err = capsys.readouterr()
    assert sorted(Path(line).stem for line in out.splitlines()) == ["a", "b", "c", "once"]
    assert err.count("was killed (SIGKILL) while it restored") == 2 and err.count("tried once more") == 2
    assert (
        err.count("the second time; memory may be short") == 1 and "odd.txt: unexpected error: ValueError: odd" in err
    )
    assert "deblur: warning: a.txt: watch out" in err
    assert {line for line in err.splitlines() if line.startswith("failed: ")} == {
        f"failed: {tmp_path / 'in' / name}.txt" for name in ("twice", "bad", "odd")
    }


def test_the_json_log_names_the_file_on_every_line(tmp_path, capsys):
    jobs, plan = planned(tmp_path, {"a": "a", "b": "b", "bad": "bad"})
    with pytest.raises(PartialError):
        run_batch(jobs, plan, Pool([quick, quick], 1), Reporter(JsonLines()))
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    about = [line for line in said if line.get("message") == "watch out" or line["type"] in ("summary", "error")]
    assert sorted(Path(line["source"]).stem for line in about) == ["a", "a", "b", "b", "bad"]
    assert [line["code"] for line in about if line["type"] == "error"] == [4]
    assert all("source" in line for line in said if line.get("task") == "copying")


def test_after_a_failure_nothing_is_begun_where_that_is_asked_for(tmp_path):
    jobs, plan = planned(tmp_path, {"bad": "bad"} | {str(number): "x" for number in range(40)})
    failed = tmp_path / "failed.txt"
    with pytest.raises(DeblurError, match="stopped after a failure") as ended:
        run_batch(jobs, plan, Pool([quick, quick], 1), Reporter.silent(), BatchOptions(keep_going=False, failed=failed))
    assert ended.value.code == 4
    done = set(files(tmp_path / "out"))
    assert {Path(path).stem for path in read_list(failed)} == {job.source.stem for job in jobs} - done
    assert len(done) < 40


def test_a_device_that_is_not_present_ends_the_batch_at_once(tmp_path):
    jobs, plan = planned(tmp_path, {"a": "a", "b": "b"})
    with pytest.raises(DeviceError, match="not present"):
        run_batch(jobs, plan, Pool([unfit, unfit], 1), Reporter.silent())
    assert files(tmp_path / "out") == {}


def test_no_output_replaces_what_another_process_reads_or_has_written(tmp_path):
    jobs, plan = planned(tmp_path, {"a": "a", "b": "b", "c": "c"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.txt").symlink_to(tmp_path / "in" / "a.txt")
    with pytest.raises(PartialError, match="of 3 files 1 failed"):
        run_batch(jobs, plan, Pool([quick, quick], 1), Reporter.silent())
    assert (tmp_path / "in" / "a.txt").read_text() == "a"


@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [
        (signal.SIGINT, "all", 130),
        (signal.SIGTERM, "first", 143),
        (signal.SIGTERM, "all", 143),
        (signal.SIGKILL, "first", -9),
    ],
)
def test_a_signal_ends_all_processes_and_leaves_nothing(tmp_path, number, whom, code):
    """Ctrl-C and schedulers signal every process, ``kill`` the first one alone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen(
        [sys.executable, pool_jobs.__file__, str(tmp_path)],
        env=environment,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(list((tmp_path / "out").glob(".*.part"))) == 2)
    assert len(processes(run.pid)) >= 3
    (os.killpg if whom == "all" else os.kill)(run.pid, number)
    err = run.communicate(timeout=30)[1]
    assert run.returncode in (code, -2 if code == 130 else code), err
    until(lambda: not processes(run.pid))
    assert list((tmp_path / "out").iterdir()) == []
    assert err.count("Traceback") == (number == signal.SIGINT), "that of the program, which has no command line"


def until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def processes(session: int) -> list[str]:
    """The living processes of a session."""
    found = subprocess.run(["ps", "-o", "stat=,pid=", "-s", str(session)], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if not line.startswith("Z")]
