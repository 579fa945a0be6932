"""Workers of a Ray cluster on this machine: the frames of other engines, a worker that is killed, a file that kills."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import read_planes
from end_to_end import deblur, pan, small_network, write_video
from pool_jobs import planned, quick, unfit
from processes import free_port

from deblurcli.console import PlainLines, Reporter
from deblurcli.errors import DeviceError, UnfinishedError, UsageError
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.cluster import Cluster, OneThread, Share, connected
from deblurcli.jobs.lists import read_list
from deblurcli.options.batch import BatchOptions

MARK = "DEBLUR_TEST_CLUSTER"
"""A variable that only the processes of this cluster have."""
CLIPS = 40


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of a cluster of two processor cores, which this test begins and ends."""
    folder, port, mark = Path(tempfile.mkdtemp(prefix="ray-")), free_port(), secrets.token_hex(32)
    words = ["start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1", "--port", str(port)]
    words += ["--include-dashboard", "false", "--object-store-memory", str(80 << 20), "--temp-dir", str(folder)]
    own = {MARK: mark, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": mark}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (own | {"PYTHONPATH": os.pathsep.join(sys.path)}).items():
            patch.setenv(name, value)
        pytest.importorskip("ray", reason="pip install 'deblurcli[cluster]'")
        with (folder / "log").open("w") as log:
            command = [sys.executable, "-m", "ray.scripts.scripts", *words]
            run = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log)
        try:
            until(lambda: "Ray runtime started" in (folder / "log").read_text() or run.poll() is not None, 200)
            assert run.poll() is None, (folder / "log").read_text()
            yield f"127.0.0.1:{port}"
        finally:
            run.terminate()
            run.wait(60)
            for pid in own_processes(mark, ""):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def own_processes(mark: str, title: str) -> list[int]:
    """The processes of the cluster whose title begins so, this one left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            owned = f"{MARK}={mark}".encode() in (path / "environ").read_bytes().split(b"\0")
            if owned and (path / "cmdline").read_bytes().startswith(title.encode()) and path.name != str(os.getpid()):
                found.append(int(path.name))
        except OSError:  # it is gone, or another user's
            continue
    return found


def until(holds, seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def cluster(head: str, make, count: int = 9) -> Cluster:
    return Cluster(head, count, "2", lambda sharers: make, cards=False, threads=None)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_an_actor_that_is_killed_is_replaced_and_its_file_tried_once_more(head: str, tmp_path: Path, capsys) -> None:
    """Killed once: the file is done. A file that kills every time is named, and all others are done."""
    texts = {"a": "a", "once": "kill 1", "b": "b", "twice": "kill 9", "bad": "bad", "odd": "odd", "c": "c"}
    jobs, plan = planned(tmp_path, texts)
    report, failed = tmp_path / "report.jsonl", tmp_path / "failed.txt"
    with pytest.raises(UnfinishedError, match="of 7 files 3 failed"):
        run_batch(jobs, plan, cluster(head, quick), Reporter(PlainLines()), BatchOptions(report=report, failed=failed))
    told = {Path(line["source"]).stem: (line["status"], line["code"], line["tries"]) for line in lines(report)}
    assert told == {
        **dict.fromkeys("abc", ("done", 0, 1)),
        "once": ("done", 0, 2),
        "twice": ("failed", 8, 2),
        "bad": ("failed", 4, 1),
        "odd": ("failed", 1, 1),
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "b.txt", "c.txt", "once.txt"]
    assert sorted(Path(path).stem for path in read_list(failed)) == ["bad", "odd", "twice"]
    err = capsys.readouterr().err
    assert err.count("died while it restored") == 2 and "twice.txt: worker" in err and "the second time" in err
    assert "deblur: warning: a.txt: watch out" in err and "Traceback" not in err


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_worker_that_cannot_begin_ends_the_batch(head: str, tmp_path: Path) -> None:
    jobs, plan = planned(tmp_path, {"a": "a"})
    with pytest.raises(DeviceError, match="not present"):
        run_batch(jobs, plan, cluster(head, unfit, 1), Reporter.silent())


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_forty_clips_with_a_worker_killed_twice_and_a_poisoned_file(head: str, tmp_path: Path) -> None:
    """Every other video is restored once, the poisoned one is named; three shares and two processes give the same."""
    (tmp_path / "in").mkdir()
    for number in range(CLIPS):
        write_video(tmp_path / "in" / f"{number:02}.mkv", pan(number % 7, 2, 32, 32))
    (tmp_path / "in" / "20.mkv").write_text("this is no video")
    network = small_network(tmp_path / "w.safetensors", 0.02)
    line = ["video", tmp_path / "in", "--method", "none", "--network", network, "--codec", "ffv1", "-q"]
    report, failed, mark = tmp_path / "report.jsonl", tmp_path / "failed.txt", os.environ[MARK]
    words = [*line, "-o", f"{tmp_path}/cluster/", "--cluster", head, "--workers", "2", "--report", report]
    run = subprocess.Popen(
        [sys.executable, "-m", "deblurcli", *map(str, [*words, "--failed", failed])],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for done in (3, 12):
        until(lambda done=done: len(lines(report)) >= done or run.poll() is not None)
        until(lambda: own_processes(mark, "ray::Actor.") or run.poll() is not None)
        assert run.poll() is None
        os.kill(own_processes(mark, "ray::Actor.")[0], signal.SIGKILL)
    out, err = run.communicate(timeout=900)
    assert run.returncode == 3 and "Traceback" not in err, err
    assert "20.mkv is text or not a video" in err and [Path(path).stem for path in read_list(failed)] == ["20"]
    assert len(out.splitlines()) == len(set(out.splitlines())) == CLIPS - 1
    told = lines(report)
    assert sorted(Path(each["source"]).stem for each in told) == [f"{number:02}" for number in range(CLIPS)]
    assert {each["status"] for each in told if Path(each["source"]).stem != "20"} == {"done"}
    assert 1 <= sum(each["tries"] == 2 for each in told) <= 2
    assert deblur(*line, "-o", f"{tmp_path}/pool/", "--workers", "2") == 3
    assert sorted(deblur(*line, "-o", f"{tmp_path}/shares/", "--shard", f"{index}/3") for index in (1, 2, 3)) == [
        0,
        0,
        3,
    ]
    frames = {
        name: {path.name: read_planes(path) for path in (tmp_path / name).iterdir()}
        for name in ("cluster", "pool", "shares")
    }
    assert len(frames["cluster"]) == CLIPS - 1 and frames["cluster"] == frames["pool"] == frames["shares"]


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 8.0}},
    {"Alive": False, "Resources": {"CPU": 64.0}},
]


@pytest.mark.parametrize(
    ("count", "workers", "cards", "threads", "share"),
    [
        (50, "auto", True, None, Share(2, 1, 8, 1.0)),
        (50, "4", True, None, Share(4, 2, 4, 0.5)),
        (50, "auto", False, None, Share(2, 1, 8, 0.0)),
        (50, "5", False, 2, Share(5, 3, 2, 0.0)),
        (1, "auto", True, None, Share(1, 1, 8, 1.0)),
    ],
)
def test_the_machines_are_divided(count: int, workers: str, cards: bool, threads: int | None, share: Share) -> None:
    """By cards or by machines that live; no actor wants more cores than a machine has."""
    made = Cluster("auto", count, workers, lambda sharers: quick, cards=cards, threads=threads)
    assert made.share(NODES) == share


def test_without_ray_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray, which is not installed; pip install 'deblurcli\[cluster\]'"):
        connected("auto").__enter__()


def test_what_other_threads_write_is_no_result() -> None:
    stream = io.StringIO()
    one = OneThread(stream)
    other = threading.Thread(target=print, args=("(raylet) A worker died",), kwargs={"file": one})
    other.start()
    other.join()
    print("a.mkv", file=one, flush=True)
    assert stream.getvalue() == "a.mkv\n"


def test_one_adaptation_needs_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mkv").touch()
    assert deblur("video", tmp_path / "a.mkv", "-o", f"{tmp_path}/out/", "--adapt-together", "--cluster", "local") == 2
    assert "--adapt-together with --cluster; leave out --cluster, or adapt once" in capsys.readouterr().err
