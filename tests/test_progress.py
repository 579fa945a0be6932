"""How long a run will take, told from its stages: with made-up clocks."""

from __future__ import annotations

import pytest

from deblurcli.progress import Course


def at(course: Course, task: str, now: float, share: float | None, eta: float | None = None) -> float | None:
    if task != course.current:
        course.enter(task, now)
    return course.progress(now, share, eta).eta


def test_later_stages_take_as_long_as_their_work_says() -> None:
    course = Course({"adapting": 10.0, "restoring": 30.0, "finishing": 1.0}, began=0.0)
    at(course, "adapting", 0.0, 0.0)
    assert at(course, "adapting", 5.0, 0.5, 5.0) == pytest.approx(5 + 31)
    at(course, "adapting", 20.0, 1.0, 0.0)
    assert at(course, "restoring", 20.0, 0.0) == pytest.approx(60 + 2), "twice as slow as was thought"


def test_a_stage_that_begins_slowly_frightens_nobody() -> None:
    course = Course({"restoring": 100.0, "finishing": 1.0}, began=0.0)
    at(course, "restoring", 0.0, 0.0)
    at(course, "restoring", 100.0, 1.0, 0.0)
    at(course, "finishing", 100.0, 0.0)
    # Four hundredths took two seconds, since the encoder had to be emptied first: that is not 48 seconds more.
    assert at(course, "finishing", 102.0, 0.04, 48.0) == 0.0
    assert at(course, "finishing", 103.0, 0.5, 3.0) == pytest.approx(3.0), "then it tells by itself"


def test_measured_seconds_stand_until_a_tenth_of_the_run_is_over() -> None:
    course = Course({"surveying": 1.0, "adapting": 59.0, "restoring": 40.0}, began=0.0, measured=True)
    at(course, "surveying", 3.0, 1.0, 0.0)
    # A look that took three times as long as it should tells next to nothing about the rest.
    assert at(course, "adapting", 3.0, 0.0) == pytest.approx(99, rel=0.25)
    # All the rest takes twice as long: after a tenth that is known within a quarter.
    left = at(course, "adapting", 3.0 + 24.0, 12 / 59, 94.0)
    assert left == pytest.approx(94 + 80, rel=0.25)
    at(course, "adapting", 121.0, 1.0, 0.0)
    assert at(course, "restoring", 121.0, 0.0) == pytest.approx(80, rel=0.15)


def test_a_stage_that_is_over_does_not_begin_again() -> None:
    """A method that follows another one looks at the video, too."""
    course = Course({"surveying": 1.0, "adapting": 10.0, "restoring": 10.0}, began=0.0)
    at(course, "surveying", 1.0, 1.0)
    at(course, "adapting", 1.0, 0.5)
    course.enter("surveying", 2.0)
    assert course.current == "adapting" and course.progress(2.0, None, None).stage == 2


def test_nothing_is_said_where_a_later_stage_is_not_known() -> None:
    course = Course({"adapting": None, "restoring": 30.0, "finishing": 1.0}, began=0.0)
    assert at(course, "adapting", 5.0, 0.5, 5.0) is None
    at(course, "restoring", 10.0, 0.0)
    assert at(course, "restoring", 20.0, 0.5, 10.0) is not None
