"""A batch: one worker, which loads every network and looks for a device once."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deblurcli.cli.app import run
from deblurcli.jobs.image import ImageJob
from deblurcli.media.images import Image, write_image
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.restore import worker
from deblurcli.restore.worker import Worker


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("1.png", "2.png", "deep/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / name, Image(random.integers(0, 255, (48, 64, 3), np.uint8)))
    return tmp_path


def test_network_and_device_are_made_once(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()

    def counted(name: str) -> None:
        works = getattr(worker, name)

        def call(*args: object, **keywords: object) -> object:
            made[name] += 1
            return works(*args, **keywords)

        monkeypatch.setattr(worker, name, call)

    counted("pick_device")
    counted("load_chosen")
    line = ["image", str(pictures / "in"), "-o", str(pictures / "out"), "--recursive", "--device", "cpu"]
    assert run(line) == 0
    assert made == {"pick_device": 1, "load_chosen": 1}
    written = sorted(path.relative_to(pictures / "out").as_posix() for path in (pictures / "out").rglob("*.png"))
    assert written == ["1.png", "2.png", "deep/1.png"]
    made.clear()
    assert run([*line, "--overwrite", "--tta-steps", "1", "-q"]) == 0
    assert made == {"pick_device": 1, "load_chosen": 2}


def test_a_job_can_be_sent_to_another_process(pictures: Path) -> None:
    job = ImageJob(
        pictures / "in" / "1.png", pictures / "o.png", ImageOptions(), TtaOptions(), ComputeOptions(device="cpu")
    )
    sent = pickle.loads(pickle.dumps(job))
    assert sent == job and not (pictures / "o.png").exists()
    assert sent.run(Worker(sent.compute)).destination.exists()
