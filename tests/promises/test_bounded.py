"""Promise 5: memory does not grow with the length of a video, and what is written is encoded, beside the output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from end_to_end import QUICK, pan, small_network, write_video
from piping import y4m

from deblurcli.media.segments import SEGMENT_FRAMES

SIZE = (160, 256)
FRAME = 3 * SIZE[0] * SIZE[1]
"""Samples of a frame: as many bytes where 8 bits suffice, four times as many in floats."""
WATCHED = textwrap.dedent(
    """
    import json, os, sys
    from pathlib import Path
    written = set()

    def watch(event, arguments):
        if event == "open":
            name, mode, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR) and str(name) != os.devnull and not isinstance(name, int):
                written.add(os.fspath(name))

    sys.addaudithook(watch)
    from deblurcli.cli.app import run
    code = run(sys.argv[2:])
    # Not that of getrusage, which remembers the process that this one was started from.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = 1024 * int(status["VmHWM"].split()[0])
    Path(sys.argv[1]).write_text(json.dumps({"code": code, "peak": peak, "written": sorted(map(str, written))}))
    """
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak as Linux tells it")
@pytest.mark.parametrize("method", ["none", pytest.param("meta", marks=pytest.mark.slow)])
def test_a_longer_video_takes_no_more_memory(tmp_path: Path, method: str) -> None:
    """Five times as many frames; the difference is less than those frames take even as bytes.

    On the disk are segments, the journal and what is adapted, in a folder beside the output that goes at the end.
    """
    network, peaks, scratch = small_network(tmp_path / "w.safetensors"), [], tmp_path / "tmp"
    scratch.mkdir()
    for frames in (60, 300):
        source, out = write_video(tmp_path / f"{frames}.mkv", pan(1, frames, *SIZE)), tmp_path / f"out{frames}.mkv"
        options = ["-o", str(out), "--method", method, "--network", str(network), "-q", "--dtype", "fp32"]
        words = [str(tmp_path / "found.json"), "video", str(source), *options, *(QUICK if method == "meta" else [])]
        settings = os.environ | {"TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", WATCHED, *words], check=True, timeout=250, env=settings, cwd=scratch)
        found = json.loads((tmp_path / "found.json").read_text())
        assert found["code"] == 0
        peaks.append(found["peak"])
        assert not [path for path in scratch.rglob("*") if path.is_file()]
        # torch tries out the folder for temporary files with an empty one.
        written = [name for name in found["written"] if Path(name).parent != scratch]
        assert all(name.endswith(".part") for name in written), written
        assert {Path(name).parent for name in written} <= {tmp_path, out.with_name(f".{out.name}.part")}, written
        assert sum(".segment-" in name for name in written) == -(-frames // SEGMENT_FRAMES)
        assert sorted(path.name for path in tmp_path.glob(f".{out.name}*")) == []
    assert peaks[1] - peaks[0] < (300 - 60) * FRAME * 0.8


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak as Linux tells it")
def test_a_longer_stream_takes_no_more_memory_and_nothing_of_the_disk(tmp_path: Path) -> None:
    """y4m from stdin to stdout."""
    network, peaks, scratch = small_network(tmp_path / "w.safetensors"), [], tmp_path / "tmp"
    scratch.mkdir()
    for frames in (60, 300):
        pictures = [(255 * each).byte().permute(1, 2, 0).numpy() for each in pan(1, frames, *SIZE)]
        (tmp_path / "in.y4m").write_bytes(y4m(pictures))
        options = ["--method", "none", "--network", str(network), "-q", "--dtype", "fp32"]
        words = [sys.executable, "-c", WATCHED, str(tmp_path / "found.json"), "video", "-", "-o", "-", *options]
        settings = os.environ | {"TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
        with (tmp_path / "in.y4m").open("rb") as given, (tmp_path / "out.y4m").open("wb") as got:
            subprocess.run(words, check=True, timeout=250, env=settings, cwd=scratch, stdin=given, stdout=got)
        found = json.loads((tmp_path / "found.json").read_text())
        assert found["code"] == 0
        assert (tmp_path / "out.y4m").stat().st_size == (tmp_path / "in.y4m").stat().st_size
        assert not [name for name in found["written"] if Path(name).parent != scratch]
        peaks.append(found["peak"])
    assert peaks[1] - peaks[0] < (300 - 60) * FRAME * 0.8
