"""Shares of a batch: what schedulers tell, and that every file is in one share; the same frames, whoever does them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from clips import read_planes
from end_to_end import deblur, pan, small_network, write_video

from deblurcli.errors import UsageError
from deblurcli.jobs.plan import plan
from deblurcli.jobs.shards import Shard, shard_of
from deblurcli.media.inputs import VIDEOS

SLURM = {
    "SLURM_ARRAY_TASK_ID": "12",
    "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_MAX": "18",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "5",
}
SGE = {"SGE_TASK_ID": "3", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "7", "SGE_TASK_STEPSIZE": "2"}


@pytest.mark.parametrize(
    ("text", "variables", "share"),
    [
        ("1/1", {}, (1, 1)),
        ("3/12", SLURM, (3, 12)),
        ("auto", SLURM, (2, 5)),
        ("auto/5", SLURM, (2, 5)),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_STEP": "", "SLURM_ARRAY_TASK_COUNT": "9"}, (3, 9)),
        ("auto/12", {"JOB_COMPLETION_INDEX": "0"}, (1, 12)),
        ("auto/12", {"JOB_COMPLETION_INDEX": "11"}, (12, 12)),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "4", "AWS_BATCH_JOB_ARRAY_SIZE": "5"}, (5, 5)),
        ("auto", {"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "2"}, (1, 2)),
        ("auto", {"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "2"}, (2, 2)),
        ("auto", SGE, (2, 4)),
        ("auto", {"LSB_JOBINDEX": "3", "LSB_JOBINDEX_END": "9"}, (3, 9)),
        ("auto/4", {"PBS_ARRAY_INDEX": "4"}, (4, 4)),
        ("auto/4", {"PBS_ARRAYID": "1"}, (1, 4)),
    ],
)
def test_a_share_is_given_or_told_by_a_scheduler(text, variables, share):
    assert shard_of(text, variables) == Shard(*share)


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        ("0/3", {}, "0/3 is not one of 1/3 to 3/3"),
        ("4/3", {}, "4/3 is not one of"),
        ("1/0", {}, "not a share; give --shard I/N"),
        ("1", {}, "not a share"),
        ("-1/3", {}, "not a share"),
        ("auto/", {}, "not a share"),
        ("auto", {}, "none of the variables of schedulers is set"),
        ("auto", {"SGE_TASK_ID": "undefined", "LSB_JOBINDEX": "0"}, "none of the variables"),
        ("auto", {"JOB_COMPLETION_INDEX": "3"}, "Kubernetes does not tell how many there are; .* --shard auto/N"),
        ("auto", {"PBS_ARRAY_INDEX": "3"}, "PBS does not tell how many"),
        ("auto/4", {"PBS_ARRAY_INDEX": "0"}, "PBS_ARRAY_INDEX is 0, not one of 1 to 4"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "not one of 0 to 3"),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_COUNT": "3"}, "have gaps"),
        ("auto/5", SLURM | dict.fromkeys(["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX"], "12"), "have gaps"),
        ("auto/64", SLURM, "SLURM has 5 tasks here; give this task's share itself: --shard I/64"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MIN is not told"),
        ("auto", {"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX is x"),
    ],
)
def test_what_is_no_share_is_said_in_a_line(text, variables, said):
    with pytest.raises(UsageError, match=said) as refused:
        shard_of(text, variables)
    assert "\n" not in str(refused.value)


def test_every_path_is_in_one_share_whatever_else_there_is():
    """The last share holds a/1.mp4: the first 16 digits of `printf a/1.mp4 | sha256sum` leave 2 when divided by 3."""
    paths = [Path(f"day {number % 7}", f"clip-{number}.mp4") for number in range(600)]
    counts = Counter(index for path in paths for index in range(1, 7) if Shard(index, 6).holds(path))
    assert counts.total() == 600 and all(70 < count < 130 for count in counts.values())
    assert [Shard(index, 3).holds(Path("a/1.mp4")) for index in (1, 2, 3)] == [False, False, True]


def test_a_share_is_the_same_wherever_the_folder_lies(tmp_path):
    """And what is refused is refused by all: two inputs of one name."""
    shares = []
    for top in (tmp_path / "a", tmp_path / "other" / "b"):
        for name in ("1.mp4", "deep/1.mp4", "deep/2.mp4", "3.mp4"):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).touch()
        shares.append([_names(top, index) for index in (1, 2, 3)])
    assert shares[0] == shares[1] and sorted(name for share in shares[0] for name in share) == [
        "1.mp4",
        "3.mp4",
        "deep/1.mp4",
        "deep/2.mp4",
    ]
    inputs = [str(tmp_path / "a" / "1.mp4"), str(tmp_path / "other" / "b" / "1.mp4")]
    for index in (1, 2, 3):
        with pytest.raises(UsageError, match="would both be written as"):
            plan(inputs, "out/", VIDEOS, {".mp4"}, shard=Shard(index, 3))


def _names(top: Path, index: int) -> list[str]:
    planned = plan([str(top)], "out/", VIDEOS, {".mp4"}, True, Shard(index, 3))
    return [out.relative_to("out").as_posix() for _, out in planned.pairs]


def test_two_processes_and_three_shares_give_the_frames_of_one(tmp_path, capsys):
    """With the tree kept, and a file that is no video named by each."""
    network = small_network(tmp_path / "w.safetensors", 0.02)
    for number in range(5):
        source = tmp_path / "in" / ("deep" if number % 2 else "") / f"{number}.mkv"
        source.parent.mkdir(parents=True, exist_ok=True)
        write_video(source, pan(number, 3, 64, 64))
    (tmp_path / "in" / "bad.mkv").write_text("not a video")
    line = ["video", tmp_path / "in", "--recursive", "--method", "none", "--network", network, "--codec", "ffv1", "-q"]
    assert deblur(*line, "-o", tmp_path / "one/") == 3
    assert deblur(*line, "-o", tmp_path / "two/", "--workers", "2") == 3
    codes = [deblur(*line, "-o", tmp_path / "three/", "--shard", f"{index}/3") for index in (1, 2, 3)]
    assert sorted(codes) == [0, 0, 3]
    assert capsys.readouterr().err.count("bad.mkv is text or not a video") == 3
    frames = {name: _frames(tmp_path / name) for name in ("one", "two", "three")}
    assert sorted(frames["one"]) == ["0.mkv", "2.mkv", "4.mkv", "deep/1.mkv", "deep/3.mkv"]
    assert frames["two"] == frames["one"] == frames["three"]


def _frames(folder: Path) -> dict[str, object]:
    return {path.relative_to(folder).as_posix(): read_planes(path) for path in folder.rglob("*.mkv")}
