"""Encoding leaves the process, and the threads of encoders, scheduled as the process was."""

import os
import sys
from pathlib import Path

import pytest
from clips import make_clip
from zero_change import copy

from deblurcli.media.scheduling import real_time, usual_scheduling

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such priorities")


def threads_in_real_time() -> list[str]:
    return [task.name for task in Path("/proc/self/task").iterdir() if real_time(int(task.name))]


@pytest.mark.parametrize("codec", ["libsvtav1", "libx264", "libx265", "libvpx-vp9"])
def test_no_thread_is_in_real_time_while_or_after_a_video_is_written(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deblurcli.media.segments import SegmentEncoder

    found: list[list[str]] = []
    encode = SegmentEncoder.encode

    def watched(self: SegmentEncoder, *args: object) -> object:
        packets = list(encode(self, *args))  # type: ignore[arg-type]
        found.append(threads_in_real_time())
        return packets

    monkeypatch.setattr(SegmentEncoder, "encode", watched)
    copy(make_clip(tmp_path / "a.mkv", size=(128, 96), frames=4), tmp_path / "b.mkv", codec=codec)
    assert found and not any(found)
    assert not threads_in_real_time()


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gets real-time priority")
def test_the_encoder_that_takes_it_and_a_caller_that_wants_it() -> None:
    with usual_scheduling():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    assert not real_time()
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        with usual_scheduling():
            pass
        assert real_time()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
