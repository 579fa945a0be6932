"""Every stage that can learn from pairs does, from one command; and memory does not grow with their number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from end_to_end import deblur, small_network
from torch import Tensor
from trees import SHAKEN_FRAMES, picture, shaken_dataset, soft_shapes

from deblurcli.datasets.clip import Clip, read_pair
from deblurcli.datasets.read import clips
from deblurcli.errors import InputError, UsageError
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.train import STAGES, ReblurTraining
from deblurcli.options.training import PairsTraining
from deblurcli.restore.worker import Worker
from deblurcli.synth.paths import BlurRange
from deblurcli.train import recorded_tasks
from deblurcli.train.data import reblur_clips
from deblurcli.train.material import Material
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import Setting
from deblurcli.train.recorded import RecordedPairs, recorded_pairs
from deblurcli.train.recorded_tasks import Recording
from deblurcli.train.stages import meta
from deblurcli.train.stages.reblur import reblur_recipe
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

CPU = torch.device("cpu")
NEEDED = {
    "deblur": ["--crops", "64"],
    "joint": ["--crops", "64", "--reblur-blocks", "1"],
    "module": ["--crops", "64", "--reblur-blocks", "1"],
    "fusion": ["--crops", "64"],
    "kernel": ["--crops", "256"],
    "reblur": ["--crops", "64", "--cycle-weight", "0.1"],
    "meta": ["--crops", "64", "--inner-steps", "1", "--outer-steps", "10"],
}
"""What each stage needs to be quick; hybrid also takes videos, and has a test of its own."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shaken_dataset(tmp_path_factory.mktemp("gopro"))


def start_of(stage: str, folder: Path) -> list[object]:
    """Weights of a small network to start from, so that a test can afford the stage."""
    if stage in ("deblur", "joint", "meta"):
        return ["--from", small_network(folder / "w.safetensors", change=0.01)]
    if stage == "kernel":
        config = {"width": 4, "variational": False}
        module = NETWORKS["kernel-extractor-small"].build(**config)
        save_network(folder / "k.safetensors", module, network="kernel-extractor-small", config=config, card={})
        return ["--from", folder / "k.safetensors"]
    if stage == "reblur":
        config = {"width": 16}
        module = NETWORKS["blur-mixture"].build(**config)
        save_network(folder / "r.safetensors", module, network="blur-mixture", config=config, card={})
        return ["--from", folder / "r.safetensors"]
    return []


def test_the_stages_are_all_that_can_learn_from_pairs() -> None:
    able = {name for name, options in STAGES.items() if issubclass(options, PairsTraining)}
    assert able == {*NEEDED, "hybrid"}


@pytest.mark.parametrize("stage", NEEDED)
def test_one_command_trains_on_pairs(
    stage: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta, "VALIDATION_TASKS", 1)
    words = ["train", stage, "--pairs", dataset, "--layout", "gopro", "--out", tmp_path / "run", *NEEDED[stage]]
    words += ["--batch", "1", "--ring", "6", "--device", "cpu", "-q", "--iterations", "20", *start_of(stage, tmp_path)]
    assert deblur(*words) == 0
    network = STAGES[stage].network
    path = tmp_path / "run" / f"{network}.safetensors"
    loaded = load_network(path, role=NETWORKS[network].role)
    assert str(dataset) in loaded.card["data"] and loaded.card["iterations"] == 20
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") == 3


def test_sharp_windows_are_those_of_the_clip(dataset: Path) -> None:
    material = RecordedPairs(list(clips(dataset, "gopro", "train"))[:1], "d")
    whole = [read_pair(pair) for pair in material.clips[0].pairs]
    draw = reblur_clips(material, 64, BlurRange(), CPU)
    blurred, windows = draw(4, np.random.default_rng(1))
    assert blurred.shape == (4, 3, 64, 64) and windows.shape == (4, 5, 3, 64, 64)
    for middle, window in zip(blurred, windows, strict=True):
        at = next(n for n, (seen, _) in enumerate(whole) if contains(seen, middle))
        for offset, frame in enumerate(window):
            near = min(max(at + offset - 2, 0), SHAKEN_FRAMES - 1)
            assert contains(whole[near][1], frame)


def test_windows_as_in_a_video_have_a_sharp_middle_alone(dataset: Path) -> None:
    material = RecordedPairs(list(clips(dataset, "gopro", "train"))[:1], "d")
    whole = [read_pair(pair) for pair in material.clips[0].pairs]
    blurred, windows = reblur_clips(material, 64, BlurRange(), CPU, windows="video")(4, np.random.default_rng(1))
    for middle, window in zip(blurred, windows, strict=True):
        at = next(n for n, (seen, _) in enumerate(whole) if contains(seen, middle))
        for offset, frame in enumerate(window):
            near = min(max(at + offset - 2, 0), SHAKEN_FRAMES - 1)
            assert contains(whole[near][offset == 2], frame)


def test_what_a_reblurring_network_sees_when_its_blur_is_made() -> None:
    photos = {"one": (soft_shapes(3, 288) * 255).byte()}
    material = Material(photos, {}, {})

    def drawn(windows: str) -> tuple[Tensor, Tensor]:
        return reblur_clips(material, 64, BlurRange(layered=0), CPU, windows=windows)(3, np.random.default_rng(4))

    (own, sharp), (also_own, video), (other, transfer) = map(drawn, ("sharp", "video", "transfer"))
    assert torch.equal(own, also_own) and not torch.equal(own, other) and torch.equal(video, transfer)
    assert torch.equal(sharp[:, 2], video[:, 2]) and not torch.equal(sharp[:, 1], video[:, 1])
    assert self_shift_score(video[:, 1]).mean() > self_shift_score(sharp[:, 1]).mean()
    made = [float((blurred - sharp[:, 2]).abs().mean()) for blurred in (own, other)]
    assert made[1] > 0.01


def test_recorded_blur_is_as_it_is(tmp_path: Path) -> None:
    given = {"out": tmp_path, "iterations": 1, "pairs": tmp_path, "layout": "gopro"}
    assert ReblurTraining(**given).windows == "video" and ReblurTraining(**given, recipe="paper").windows == "sharp"
    with pytest.raises(UsageError, match="--windows transfer with --pairs"):
        ReblurTraining(**given, windows="transfer")
    assert ReblurTraining(out=tmp_path, iterations=1, data=tmp_path).windows == "transfer"


def contains(picture: Tensor, piece: Tensor) -> bool:
    """Whether a piece is somewhere in a picture."""
    levels = (each / 255 if each.dtype == torch.uint8 else each for each in (picture, piece))
    found = cv2.matchTemplate(*(np.ascontiguousarray(each.permute(1, 2, 0)) for each in levels), cv2.TM_SQDIFF)
    return float(found.min()) < 1e-3


class TestTasks:
    def test_are_clips_with_a_camera(self, dataset: Path) -> None:
        learnt, _ = recorded_pairs(dataset, "gopro").split(5)
        recording = Recording(learnt)
        task = recording.task([1], CPU)
        assert task.blurred.shape == task.sharp.shape == (len(task.blurred), 3, 256, 256)
        assert task.camera is not None and 5 <= len(task.blurred) <= 12 and task.blurred.dtype == torch.uint8
        assert len(task.support) == 6 and len(task.camera.paths) >= 4
        again, other = recording.task([1], CPU), recording.task([2], CPU)
        assert torch.equal(task.blurred, again.blurred) and not torch.equal(task.blurred, other.blurred)
        sides = [read_pair(pair) for clip in learnt.clips for pair in clip.pairs]
        assert any(contains(seen, task.blurred[0]) and contains(sharp, task.sharp[0]) for seen, sharp in sides)

    def test_need_frames_size_and_motion(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recorded_tasks, "MAX_TRIES", 2)
        stills = [(picture(tmp_path / "b" / f"{n}.png", n), picture(tmp_path / "s" / f"{n}.png", n)) for n in range(4)]
        with pytest.raises(InputError, match="no clip with 5 frames to learn from, and as many to judge by"):
            Recording(RecordedPairs([Clip("c", tuple(stills))], "d"))
        six = tuple((picture(tmp_path / "b" / f"{n}.png"), picture(tmp_path / "s" / f"{n}.png")) for n in range(6))
        with pytest.raises(InputError, match="the frames of c are 48x40, tasks need 128x128"):
            Recording(RecordedPairs([Clip("c", six)], "d")).task([1], CPU)
        large = [picture(tmp_path / "l" / f"{n}.png", 0, (144, 160)) for n in range(6)]
        with pytest.raises(InputError, match="no camera explains any of 2 moments of d; give clips that"):
            Recording(RecordedPairs([Clip("c", tuple(zip(large, large, strict=True)))], "d")).task([1], CPU)

    def test_hold_out_enough_frames_to_judge_by(self, dataset: Path) -> None:
        learnt, judged = recorded_pairs(dataset, "gopro").split(5)
        assert all(len(clip.pairs) >= 5 for part in (learnt, judged) for clip in part.clips)


PEAK = """
import json, sys
from pathlib import Path
from deblurcli.cli.app import run
code = run(sys.argv[1:])
# Not that of getrusage, which remembers the process that this one was started from.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps([code, int(status["VmHWM"].split()[0])]))
"""


def peak(top: Path, count: int, tmp_path: Path) -> float:
    """Megabytes of a process that trains on so many pairs, each a file of its own."""
    one = [picture(tmp_path / f"{side}.png", 1, (72, 72), side == "blur") for side in ("blur", "sharp")]
    for path in one:
        for clip in range(count // 100):
            folder = top / "train" / f"{clip:04}" / path.stem
            folder.mkdir(parents=True)
            for number in range(100):
                os.link(path, folder / f"{number:06}.png")
    words = ["train", "deblur", "--pairs", top, "--layout", "gopro", "--out", tmp_path / f"run{count}", "--crops", "64"]
    words += ["--batch", "1", "--ring", "6", "--device", "cpu", "-q", "--iterations", "20"]
    words += ["--from", tmp_path / "w.safetensors"]
    made = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, words)], capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    code, kilobytes = json.loads(made.stdout.splitlines()[-1])
    assert code == 0
    return float(kilobytes) / 1000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path: Path) -> None:
    small_network(tmp_path / "w.safetensors")
    few, many = peak(tmp_path / "few", 200, tmp_path), peak(tmp_path / "many", 20_000, tmp_path)
    print(f"peak: {few:.0f} MB with 200 pairs, {many:.0f} MB with 20,000")
    assert many - few < 60  # names: two paths of each pair


def test_the_cycle_loss_counts(dataset: Path, tmp_path: Path) -> None:
    setting = Setting(Worker(ComputeOptions(device="cpu", dtype="fp32")), Peers(), "test")
    small_network(tmp_path / "w.safetensors", change=0.5)
    losses = []
    other = str(tmp_path / "w.safetensors")
    for weight, deblurring in ((0.0, None), (0.5, None), (0.5, other)):
        options = ReblurTraining(
            out=tmp_path, pairs=dataset, layout="gopro", iterations=1, crops=(64,), batch=1, ring=6,
            adversarial_weight=0.0, cycle_weight=weight, deblurring=deblurring,
        )  # fmt: skip
        recipe = reblur_recipe(options, setting)
        recipe.ring.advance(0)
        batch = recipe.ring.batch(0, 1, 64, CPU)
        losses.append(float(recipe.loss(recipe.trainee.module.eval(), *batch).detach()))
    assert losses[1] > losses[0] + 0.001
    assert losses[2] > losses[1] + 0.1, "a network that brightens all by a half takes less blur off"
    with pytest.raises(UsageError, match="--deblurring own would not be used"):
        ReblurTraining(out=tmp_path, pairs=dataset, layout="gopro", iterations=1, deblurring="own")
