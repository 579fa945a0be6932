"""Large frames take other ways through the program: with a low limit, small ones take them, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from clips import make_clip, packet_hashes, read_planes
from end_to_end import deblur, small_network
from interrupted import ending, short_segments

from benchmarks.clips import encode
from benchmarks.memory import MEASURED
from deblurcli.networks import NETWORKS
from deblurcli.weights.save import save_network

LIMITED = ("restore.pipeline", "restore.tiles", "media.choice", "media.colour", "media.disk_use", "media.footage")
LIMITED += ("media.layout", "media.trial", "metrics.edge_strength")
SMALL = {"width": 8, "deep_width": 8, "blocks": (0, 1, 0)}
SIZE = 7680, 4320


@pytest.fixture
def limit() -> Iterator[None]:
    """Every frame is a large one."""
    with ExitStack() as stack:
        for module in LIMITED:
            stack.enter_context(mock.patch(f"deblurcli.{module}.LARGE", 16))
        yield


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """One of three frames that changes something."""
    torch.manual_seed(3)
    module = NETWORKS["video-unet"].build(**SMALL, base=SMALL)
    for tail in (module.base.tail, module.fusion.tail):
        torch.nn.init.normal_(tail.weight, 0, 0.02)
    save_network(tmp_path / "w.safetensors", module, network="video-unet", config=SMALL | {"base": SMALL}, card={})
    return tmp_path / "w.safetensors"


def words(source: Path, out: Path, network: Path, *more: str) -> tuple[object, ...]:
    return ("video", source, "-o", out, "--method", "none", "--network", network, "--tile", "64", *more)


def test_frames_are_nearly_those_of_the_usual_way(
    tmp_path: Path, network: Path, request: pytest.FixtureRequest
) -> None:
    source = make_clip(tmp_path / "in.mkv", size=(128, 96), frames=10)
    assert deblur(*words(source, tmp_path / "usual.mkv", network, "--dtype", "fp32")) == 0
    request.getfixturevalue("limit")
    assert deblur(*words(source, tmp_path / "large.mkv", network, "--dtype", "fp32")) == 0
    apart = [
        np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(other, np.uint8))
        for before, after in zip(read_planes(tmp_path / "usual.mkv"), read_planes(tmp_path / "large.mkv"), strict=True)
        for one, other in zip(before, after, strict=True)
    ]
    moved = [
        np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(other, np.uint8)).mean()
        for before, after in zip(read_planes(source), read_planes(tmp_path / "large.mkv"), strict=True)
        for one, other in zip(before, after, strict=True)
    ]
    assert max(map(np.max, apart)) <= 2 and np.mean([each.mean() for each in apart]) < 0.3 < np.mean(moved)
    assert packet_hashes(source, "audio") == packet_hashes(tmp_path / "large.mkv", "audio")


def test_an_interrupted_run_ends_with_the_same_frames(tmp_path: Path, network: Path, limit: None) -> None:
    """What a window keeps of its frames is the same whether it was computed now or for the window before."""
    source = make_clip(tmp_path / "in.mkv", size=(128, 96), frames=14)
    with short_segments():
        assert deblur(*words(source, tmp_path / "whole.mkv", network)) == 0
        assert deblur(*words(source, tmp_path / "again.mkv", network)) == 0
        with ending("encoding", 6, interrupt):
            assert deblur(*words(source, tmp_path / "out.mkv", network)) == 130
        assert deblur(*words(source, tmp_path / "out.mkv", network, "--resume")) == 0
    whole = read_planes(tmp_path / "whole.mkv")
    assert whole == read_planes(tmp_path / "again.mkv") == read_planes(tmp_path / "out.mkv") != read_planes(source)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["in.mp4", "ten.mp4"])
def test_side_data_and_depth_survive(tmp_path: Path, network: Path, limit: None, name: str) -> None:
    pix_fmt, codec = ("yuv420p10le", "libx265") if name == "ten.mp4" else ("yuv420p", "libx264")
    source = make_clip(tmp_path / name, size=(128, 96), frames=8, pix_fmt=pix_fmt, codec=codec)
    assert deblur(*words(source, tmp_path / f"out-{name}", network)) == 0
    assert len(read_planes(tmp_path / f"out-{name}")) == 8


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("small", [True, False])
def test_a_video_of_8k_takes_less_than_3_gb(tmp_path: Path, small: bool) -> None:
    """Decoder, conversions, estimates of room and libx264, with a network that takes next to nothing; and all of it,
    with the default network and method: the fourth frame is the first with whole windows before and behind it."""
    rng = np.random.default_rng(1)
    texture = np.kron(rng.integers(0, 256, (SIZE[1] // 8 + 8, SIZE[0] // 8 + 8, 3), dtype=np.uint8), np.ones((8, 8, 1)))
    frames = 8 if small else 4
    views = (texture[at : SIZE[1] + at, 2 * at : SIZE[0] + 2 * at].astype(np.uint8) for at in range(frames))
    encode(tmp_path / "in.mp4", (np.ascontiguousarray(view) for view in views), preset="veryfast")
    out, options = tmp_path / "out.mp4", []
    if small:
        options = ["--method", "none", "--network", small_network(tmp_path / "w.safetensors", 0.02), "--tile", "1024"]
    run = [sys.executable, "-c", MEASURED, "video", tmp_path / "in.mp4", "-o", out, *options, "--device", "cpu", "-q"]
    told = subprocess.run(list(map(str, run)), check=True, capture_output=True, text=True, env=os.environ).stdout
    peak = int(told.partition("peak ")[2].split()[0])
    print(json.dumps({"peak": peak}))
    assert out.exists() and peak * 1024 < 3_000_000_000
