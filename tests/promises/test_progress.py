"""What a run tells about itself is true: stages, no silence, and the time that is left."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from end_to_end import command, write_video

from deblurcli.media.images import read_image
from deblurcli.synth.pairs import MARGIN, shaken

FRAMES, HEIGHT, WIDTH = 60, 192, 320
PHOTO = Path(__file__).parents[2] / "docs" / "images" / "before-after.jpg"
SILENT_SECONDS = 5.0
"""A line every three seconds is promised; a busy machine may be late."""
WRONG, BUSY_SECONDS = 0.25, 4.0
"""Share of what is left, and by how much a single step may be late on a busy machine."""


OTHERS = {
    "tta": ("--tta-frames", "8"),
    "reblur2deblur": ("--steps", "20"),
}
"""Methods besides the default one, with options by which they do not take long. `blur2blur` ends here before it has
learnt, since no moment is sharper than the others, which nobody knows beforehand."""


def told_by(folder: Path, *options: str) -> list[dict[str, Any]]:
    """The progress of a run on a clip that is long enough to be adapted to."""
    photo = read_image(PHOTO).rgb()[:, : HEIGHT + 2 * MARGIN, : WIDTH + 2 * MARGIN]
    frames = [blurred for blurred, _ in shaken(photo, FRAMES, 25, 8, 0, 2.2, 0.0)]
    source = write_video(folder / "in.mkv", frames[:FRAMES])
    run = command("video", source, "-o", folder / "out.mkv", "--log", "json", "--device", "cpu", *options)
    _, said = run.communicate(timeout=900)
    assert run.returncode == 0, said
    lines = [json.loads(line) for line in said.splitlines()]
    return [line for line in lines if line["type"] == "progress" and "stage" in line]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """That of the default method."""
    return told_by(tmp_path_factory.mktemp("run"))


def ended(told: list[dict[str, Any]], task: str) -> float:
    """Seconds of the run when a task was told last."""
    return float(max(line["run_elapsed"] for line in told if line["task"] == task))


@pytest.mark.slow
def test_the_stages_come_in_order_and_nothing_is_silent(told: list[dict[str, Any]]) -> None:
    stages = [line["stage"] for line in told]
    assert stages == sorted(stages) and set(stages) == set(range(1, 7))
    times = [line["run_elapsed"] for line in told]
    assert max(after - before for before, after in pairwise(times)) < SILENT_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("task", ["adapting", "restoring"])
def test_the_time_that_is_left_is_right_within_a_quarter_after_a_tenth(told: list[dict[str, Any]], task: str) -> None:
    end, looked = ended(told, task), 0
    for line in told:
        if line["task"] == task and line["done"] >= 0.1 * line["total"] and line["eta"] is not None:
            left = end - line["run_elapsed"]
            assert abs(line["eta"] - left) <= WRONG * left + BUSY_SECONDS, line
            looked += 1
    assert looked >= 3


@pytest.mark.slow
def test_so_is_that_of_the_whole_run_while_it_restores(told: list[dict[str, Any]]) -> None:
    end = told[-1]["run_elapsed"]
    for line in told:
        if line["task"] == "restoring" and line["done"] >= 0.1 * line["total"]:
            left = end - line["run_elapsed"]
            assert abs(line["run_eta"] - left) <= WRONG * left + BUSY_SECONDS, line


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHERS)
def test_so_is_that_of_the_whole_run_after_a_tenth_by_any_method(method: str, tmp_path: Path) -> None:
    told = told_by(tmp_path, "--method", method, *OTHERS[method])
    end = told[-1]["run_elapsed"]
    looked = [line for line in told if 0.1 * end <= line["run_elapsed"] <= 0.9 * end]
    assert len(looked) >= 5
    for line in looked:
        left = end - line["run_elapsed"]
        assert line["run_eta"] is not None and abs(line["run_eta"] - left) <= WRONG * left + BUSY_SECONDS, line
