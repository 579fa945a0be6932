"""Training: the ring, the optimiser, exact resumption, and that a few seconds already help."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import processes
import pytest
import torch
from clips import make_clip
from stopping import Stop, StopsAt
from torch import Tensor, nn

from deblurcli import api
from deblurcli.adaptation.update import update_average
from deblurcli.console import Reporter, Silent
from deblurcli.errors import InputError, UsageError
from deblurcli.jobs import train as training
from deblurcli.media.reader import VideoReader
from deblurcli.networks import NETWORKS
from deblurcli.optimiser import Muon, orthogonalised, rate_at, warmup_length
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.train import DeblurTraining
from deblurcli.options.training import TrainOptions
from deblurcli.restore.worker import Worker
from deblurcli.train import loop
from deblurcli.train.data import stills, turned
from deblurcli.train.material import Material, load_material, pack_material
from deblurcli.train.moments import read_moments
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import Setting, trainee
from deblurcli.train.ring import CropRing
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

PSNR = "validation_psnr"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and cut-outs of random shapes, with edges to deblur."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    (root / "photos").mkdir()
    (root / "cutouts").mkdir()
    for index in range(6):
        picture = np.full((300, 340, 3), rng.integers(256, size=3), np.uint8)
        for _ in range(60):
            corner, colour = rng.integers(300, size=2), rng.integers(256, size=3).tolist()
            cv2.rectangle(picture, corner.tolist(), (corner + rng.integers(4, 60, 2)).tolist(), colour, -1)
        cv2.imwrite(str(root / "photos" / f"{index}.png"), picture)
    cut = np.zeros((80, 60, 4), np.uint8)
    cv2.circle(cut, (30, 40), 25, (10, 200, 90, 255), -1)
    cv2.imwrite(str(root / "cutouts" / "disc.png"), cut)
    (root / "videos").mkdir()
    make_clip(root / "videos" / "clip.mkv", size=(320, 256), frames=20)
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default network that a test can train."""
    config = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1}
    monkeypatch.setitem(NETWORKS, "plain-unet", dataclasses.replace(NETWORKS["plain-unet"], config=config))


def options(folder: Path, out: Path, **changes: object) -> dict[str, object]:
    return {"data": folder, "out": out, "batch": 4, "crops": (64,), "ring": 24, "save_every": 1e9} | changes


def logged(out: Path) -> list[dict[str, str]]:
    """The rows of a run's log."""
    with (out / "log.csv").open() as log:
        return list(csv.DictReader(log))


def test_material_is_read_packed_and_split(folder: Path, tmp_path: Path) -> None:
    material = load_material(folder)
    assert str(material) == "7 photos, 1 cut-outs, 8 video moments"
    assert material.photos["2.png"].shape == (3, 300, 340) and material.photos["pattern 0"].shape == (3, 720, 960)
    assert material.cutouts["disc.png"].shape == (4, 80, 60)
    pack_material(material, tmp_path / "packed.safetensors")
    packed = load_material(tmp_path / "packed.safetensors")
    for kind in ("photos", "cutouts", "moments"):
        mine, theirs = getattr(material, kind), getattr(packed, kind)
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
    many = {f"{i // 2}.mp4#{i % 2}": torch.zeros(1) for i in range(400)}
    train, valid = (set(part.moments) for part in Material({}, {}, many).split())
    assert not train & valid and train | valid == set(many) and 6 < len(valid) < 60
    assert not {k.split("#")[0] for k in train} & {k.split("#")[0] for k in valid}, "a video is on both sides"


def test_footage_gives_neighbouring_frames_at_half_size(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mkv", size=(320, 256), frames=20)
    make_clip(tmp_path / "small.mkv", size=(64, 48), frames=20)
    moments = read_moments(tmp_path)
    assert moments and all(key.startswith("clip.mkv#") for key in moments)
    with VideoReader(tmp_path / "clip.mkv") as reader:
        frames = [torch.nn.functional.avg_pool2d(f.rgb(), 2) for f in reader.frames()]
    for key, moment in moments.items():
        at = int(key.split("#")[1])
        assert moment.shape == (5, 3, 128, 160)
        assert (moment[2].float() / 255 - frames[at]).abs().max() < 0.5 / 255 + 1e-6


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        load_material(tmp_path)


def test_the_eight_symmetries_differ() -> None:
    picture = torch.arange(9.0).reshape(1, 3, 3)
    assert len({tuple(turned(picture, i).flatten().tolist()) for i in range(8)}) == 8


def ring(folder: Path) -> CropRing:
    from deblurcli.synth.paths import BlurRange

    draw = stills(load_material(folder), 64, BlurRange(), CPU)
    return CropRing(draw, capacity=12, group=3, every=2, first=2, seed=4)


def test_the_ring_is_a_function_of_seed_and_iteration(folder: Path) -> None:
    steady, resumed = ring(folder), ring(folder)
    for iteration in range(15):
        steady.advance(iteration)
        wanted = steady.batch(iteration, 5, 32, CPU)
    resumed.advance(14)
    found = resumed.batch(14, 5, 32, CPU)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert len(steady.pairs) == 4 and steady.made == 9


def test_pairs_stay_aligned_through_crops_and_turns() -> None:
    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        picture = torch.rand(count, 3, 40, 40)
        return picture, picture.unsqueeze(1).expand(-1, 5, -1, -1, -1)

    pairs = CropRing(draw, capacity=6, group=3, every=0, first=2, seed=1)
    pairs.advance(0)
    blurred, window = pairs.batch(0, 8, 24, CPU)
    assert blurred.shape == (8, 3, 24, 24) and window.shape == (8, 5, 3, 24, 24)
    assert torch.equal(blurred, window[:, 2])


def test_a_ring_may_be_precise_and_prefer_what_differs() -> None:
    """Picture n of a group differs by n tenths of a code value: nothing, once it is rounded."""

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        picture = torch.full((count, 3, 40, 40), 0.25)
        return picture + torch.arange(count).view(-1, 1, 1, 1) / 2550, picture

    found = []
    for precise, tries in ((False, 1), (True, 1), (True, 4)):
        pairs = CropRing(
            draw, capacity=4, group=4, every=0, first=1, seed=1, precise=precise, tries=tries
        )  # fmt: skip
        pairs.advance(0)
        blurred, sharp = pairs.batch(0, 64, 24, CPU)
        found.append((blurred - sharp).mean((1, 2, 3)) * 2550)
    rounded, precise, picky = found
    assert not rounded.any()
    assert torch.allclose(precise, precise.round(), atol=0.35) and 1 < precise.mean() < 2, "one as often as the other"
    assert picky.mean() > 2.2


def test_orthogonalised_singular_values() -> None:
    torch.manual_seed(1)
    for shape in ((3, 8, 40), (2, 40, 8)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)).float())
        assert values.min() > 0.5 and values.max() < 1.4


def test_muon_learns_a_small_regression() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimiser = Muon(net, 0.02, aside=("2",))
    x = torch.randn(256, 6)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].abs(), x.sum(1)], 1)
    losses = []
    for _ in range(100):
        loss = (net(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_schedule_and_average() -> None:
    assert rate_at(0.0, 0, 1.0, warmup=100) == pytest.approx(0.01)
    assert rate_at(0.0, 99, 1.0, warmup=100) == 1.0
    assert rate_at(0.5, 500, 1.0) == pytest.approx(0.505) and rate_at(1.0, 500, 1.0) == pytest.approx(0.01)
    average, current = (nn.Linear(1, 2, bias=False) for _ in range(2))
    nn.init.zeros_(average.weight)
    nn.init.ones_(current.weight)
    update_average(average, current, 0)
    assert average.weight[0].item() == pytest.approx(0.9)
    update_average(average, current, 10**6)
    assert average.weight[0].item() == pytest.approx(0.9001, abs=1e-4)


def test_the_warmup_is_a_share_of_the_run(folder: Path, tmp_path: Path, small: None) -> None:
    """Of a short one, too: with 300 iterations whatever the budget, fine-tuning by 20 would move nothing."""
    assert [warmup_length(n) for n in (20, 1000, 6000, 10**6)] == [1, 50, 300, 300]
    api.train_network("deblur", **options(folder, tmp_path, iterations=2, rate=0.004, batch=1))
    rates = [float(row["rate"]) for row in logged(tmp_path)]
    assert rates == [0, pytest.approx(0.004 * (0.01 + 0.99 * 0.5))]


def test_a_budget_of_minutes_warms_up_by_its_share(
    folder: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes a second forward for each iteration: 40 iterations, of which the first two warm up."""
    now = iter(range(1000))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    monkeypatch.setattr(loop, "rate_at", lambda *given: rates.append(rate_at(*given)) or rates[-1])
    rates: list[float] = []
    facts = api.train_network(
        "deblur", **options(folder, tmp_path, minutes=40 / 60, batch=1, device="cpu", dtype="fp32")
    )
    assert facts["iteration"] == 40
    assert rates[0] == pytest.approx(1 / 300) and 0.9 < rates[1] == max(rates)


def test_the_average_keeps_the_statistics_of_normalisation() -> None:
    average, current = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    for iteration in range(200):
        current(3 + 2 * torch.randn(4, 2, 16, 16))
        update_average(average, current, iteration)
    assert float(average.running_mean.mean()) == pytest.approx(3, abs=0.2)
    assert float(average.running_var.mean()) == pytest.approx(4, abs=0.4)
    assert int(average.num_batches_tracked) == 200


def test_a_stopped_run_resumes_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    whole = api.train_network("deblur", **options(folder, tmp_path / "whole", iterations=4, device="cpu", dtype="fp32"))
    assert whole["iteration"] == 4

    parts = options(folder, tmp_path / "parts", iterations=4, device="cpu", dtype="fp32")
    with pytest.raises(Stop):
        api.train_network("deblur", console=StopsAt(2), **parts)
    api.train_network("deblur", **parts)
    one, two = (load_network(tmp_path / run / "plain-unet.safetensors", role="deblur") for run in ("whole", "parts"))
    for (name, a), b in zip(one.module.state_dict().items(), two.module.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert two.card["iterations"] == 4 and two.card["seed"] == 1


def test_a_run_folder_of_another_network_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.train_network("deblur", **options(folder, tmp_path / "run", iterations=1))
    with pytest.raises(UsageError, match=r"stage deblur \(now reblur\), --network plain-unet \(now videoadapt-small\)"):
        api.train_network("reblur", **options(folder, tmp_path / "run", iterations=2, network="videoadapt-small"))
    monkeypatch.setattr(training, "refuse_changes", lambda *_: None)  # as with a state of before options were stored
    with pytest.raises(UsageError, match="another network"):
        api.train_network("reblur", **options(folder, tmp_path / "run", iterations=2, network="videoadapt-small"))


def test_a_finished_run_says_so_and_changes_nothing(folder: Path, tmp_path: Path, small: None) -> None:
    said: list[str] = []

    class Notes(Silent):
        def message(self, kind: str, text: str) -> None:
            said.append(text)

    keywords = options(folder, tmp_path / "run", iterations=2, batch=1)
    first = api.train_network("deblur", console=Reporter(Notes()), **keywords)
    assert any(line.startswith("starts at ") for line in said)
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "run").iterdir()}
    again = api.train_network("deblur", console=Reporter(Notes()), **keywords)
    assert "already finished after 2 iterations; give a larger --iterations or another --out" in said[-1]
    assert again == first
    assert files == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "run").iterdir()}
    assert api.train_network("deblur", **keywords | {"iterations": 3, "save_every": 1.0})["iteration"] == 3


def test_changed_options_are_refused(folder: Path, tmp_path: Path, small: None) -> None:
    keywords = options(folder, tmp_path / "run", iterations=1, batch=1)
    api.train_network("deblur", **keywords)
    for name, value, shown in (
        ("seed", 2, "1 (now 2)"),
        ("crops", (96, 128), "64 (now 96,128)"),
        ("batch", 2, "1 (now 2)"),
        ("rate", 0.1, "0.005 (now 0.1)"),
        ("loss", "l1", "own (now l1)"),
        ("ring", 12, "24 (now 12)"),
        ("data", tmp_path, f"{folder} (now {tmp_path})"),
        ("start", "default", "None (now default)"),
    ):
        with pytest.raises(UsageError, match=re.escape(f"--{'from' if name == 'start' else name} {shown}")) as caught:
            api.train_network("deblur", **keywords | {name: value, "iterations": 2})
        assert str(caught.value).count("(now ") == 1 and "another --out" in str(caught.value)


def test_a_run_of_before_options_were_stored_goes_on(
    folder: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords = options(folder, tmp_path / "run", iterations=1, batch=1)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "settings", lambda options: {})
        api.train_network("deblur", **keywords)
    assert api.train_network("deblur", **keywords | {"iterations": 2, "rate": 0.001})["iteration"] == 2
    with pytest.raises(UsageError, match=r"--rate 0\.001 "):
        api.train_network("deblur", **keywords | {"iterations": 3})


def test_the_starting_network_is_scored_first(folder: Path, tmp_path: Path) -> None:
    facts = api.train_network(
        "deblur", **options(folder, tmp_path, iterations=1, rate=1e-9, batch=1, start="plain-unet")
    )
    first, last = logged(tmp_path)
    assert first["iteration"] == "0" and first["loss"] == "nan" and last["iteration"] == "1"
    before, after, blurred = (float(r[k]) for r, k in ((first, PSNR), (last, PSNR), (first, "validation_input_psnr")))
    assert before == pytest.approx(after, abs=0.01) and before > blurred + 0.1
    assert [row[0] for row in facts["curve"]] == [0, 1]


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_network_trains_in_a_precision_that_it_lists(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    setting = Setting(Worker(ComputeOptions(device="cpu", dtype=dtype)), Peers(), "")
    chosen = DeblurTraining(data=folder, out=tmp_path, iterations=1)
    assert trainee(setting, chosen, "deblur").device.precision == dtype
    monkeypatch.setitem(NETWORKS, "plain-unet", dataclasses.replace(NETWORKS["plain-unet"], dtypes=("fp32",)))
    assert trainee(setting, chosen, "deblur").device.precision == "fp32"


def test_residual_unet_has_the_blocks_that_are_chosen(folder: Path, tmp_path: Path) -> None:
    keywords = options(folder, tmp_path / "run", network="residual-unet", iterations=1, batch=1, ring=6)
    assert NETWORKS["residual-unet"].config == {"blocks": 8}, "Table A"
    api.train_network("deblur", **keywords, blocks=4)
    assert load_network(tmp_path / "run" / "residual-unet.safetensors", role="deblur").config == {"blocks": 4}
    for changes, said in (
        ({"network": "plain-unet", "blocks": 4}, "plain-unet has no number of blocks to choose"),
        ({"blocks": 4, "start": "default"}, "--blocks and --from exclude each other"),
        ({"blocks": 0}, "--blocks is out of range"),
    ):
        with pytest.raises(UsageError, match=said):
            api.train_network("deblur", **keywords | {"out": tmp_path / "no"} | changes)


@pytest.mark.parametrize("network", ["blur-mixture", "videoadapt-small"])
def test_reblurring_trains_with_its_critic(network: str, folder: Path, tmp_path: Path) -> None:
    facts = api.train_network("reblur", **options(folder, tmp_path, iterations=2, batch=1, network=network))
    assert facts["iteration"] == 2
    load_network(tmp_path / f"{network}.safetensors", role="reblur")
    load_network(tmp_path / "patch-critic.safetensors", role="critic")


def test_fusion_trains_over_a_fixed_single_frame_network(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    small = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "scales": 1}
    base = NETWORKS["plain-unet"].build(**small)
    save_network(tmp_path / "base.safetensors", base, network="plain-unet", config=small, card={})
    out = tmp_path / "run"
    settings = options(folder, out, network="video-unet", iterations=3, start=str(tmp_path / "base.safetensors"))
    api.train_network("fusion", **settings)
    first = load_network(out / "video-unet.safetensors", role="deblur")
    stored = load_network(tmp_path / "base.safetensors", role="deblur").module.state_dict()
    assert all(torch.equal(v, first.module.base.state_dict()[k]) for k, v in stored.items())
    assert first.module.fusion.tail.weight.abs().sum() > 0
    api.train_network("fusion", **settings | {"out": tmp_path / "on", "start": str(out / "video-unet.safetensors")})
    on = load_network(tmp_path / "on" / "video-unet.safetensors", role="deblur")
    assert on.config == first.config and on.card["start"].startswith("video-unet (")
    assert not torch.equal(on.module.fusion.tail.weight, first.module.fusion.tail.weight)

    trained = str(out / "video-unet.safetensors")
    torch.nn.init.normal_(base.tail.weight)  # type: ignore[arg-type]
    save_network(tmp_path / "other.safetensors", base, network="plain-unet", config=small, card={})
    changed = {"start": trained, "deblurring": str(tmp_path / "other.safetensors"), "rate": 1e-9}
    api.train_network("fusion", **settings | {"out": tmp_path / "changed"} | changed)
    moved = load_network(tmp_path / "changed" / "video-unet.safetensors", role="deblur")
    assert moved.config == first.config and "its single-frame part from other (" in moved.card["start"]
    torch.testing.assert_close(moved.module.base.tail.weight, base.tail.weight, atol=0, rtol=1e-3)  # stored in halves
    torch.testing.assert_close(moved.module.fusion.tail.weight, first.module.fusion.tail.weight, atol=1e-5, rtol=1e-3)

    for changes, said in (
        ({"network": "plain-unet", "start": None}, "no fusion"),
        ({"deblurring": "default"}, "name two single-frame networks"),
        ({"start": trained, "deblurring": trained}, "a fusion builds on a plain-unet"),
    ):
        with pytest.raises(UsageError, match=said):
            api.train_network("fusion", **settings | {"out": tmp_path / "no"} | changes)


def test_a_network_of_several_frames_trains_whole(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    api.train_network("deblur", **options(folder, out, network="dbn", iterations=2, batch=1, ring=6))
    trained = load_network(out / "dbn.safetensors", role="deblur")
    assert trained.spec.window == 5
    norm = next(module for module in trained.module.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean.any() and int(norm.num_batches_tracked) == 2, "the statistics of the start"


@pytest.mark.parametrize(
    ("stage", "changes", "said"),
    [
        ("deblur", {"network": "plain-unit"}, "did you mean 'plain-unet'"),
        ("deblur", {"network": "patch-critic"}, "is a critic network"),
        ("reblur", {"network": "plain-unet"}, "is a deblur network"),
        ("deblur", {"network": "nafnet-w32", "start": "default"}, "give --network plain-unet"),
    ],
)
def test_a_network_must_fit_the_stage(folder: Path, tmp_path: Path, stage: str, changes: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=said):
        api.train_network(stage, **options(folder, tmp_path / "run", iterations=1, **changes))
    assert not (tmp_path / "run").exists()


def test_fine_tuning_starts_from_the_default(folder: Path, tmp_path: Path) -> None:
    api.train_network("deblur", **options(folder, tmp_path, iterations=1, rate=1e-9, start="plain-unet"))
    tuned = load_network(tmp_path / "plain-unet.safetensors", role="deblur")
    default = load_network("plain-unet", role="deblur")
    assert default.sha256[:12] in tuned.card["start"]
    for a, b in zip(tuned.module.parameters(), default.module.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_two_processes_share_weights_and_gradients(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(processes.share, (str(tmp_path), processes.free_port()), nprocs=2)
    found = [json.loads(Path(tmp_path, str(rank)).read_text()) for rank in range(2)]
    assert found[0][:3] == found[1][:3] == [0.0, 2.0, 7.0]
    assert [f[3] for f in found] == [True, False] and found[0][4] == 5 != found[1][4]


def test_processes_leave_each_other_and_may_join_again(folder: Path, tmp_path: Path) -> None:
    keywords = options(folder, tmp_path, iterations=2, batch=1, ring=6, device="cpu", dtype="fp32")
    ports = (processes.free_port(), processes.free_port())
    torch.multiprocessing.spawn(processes.train, (str(tmp_path), keywords, ports), nprocs=2)
    assert [json.loads(Path(tmp_path, str(rank)).read_text()) for rank in range(2)] == [[True, True]] * 2


def test_torchrun_trains_one_network_in_two_processes(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += [f"--master-port={processes.free_port()}"]
    command += ["-m", "deblurcli", "train", "deblur", "--data", str(folder), "--out", str(tmp_path)]
    command += ["--iterations", "3", "--batch", "2", "--crops", "64", "--ring", "12", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    assert [row["iteration"] for row in logged(tmp_path)] == ["0", "3"]
    assert load_network(tmp_path / "plain-unet.safetensors", role="deblur").card["iterations"] == 3
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_budget_must_be_clear(tmp_path: Path) -> None:
    for budget in ({}, {"minutes": 1.0, "iterations": 5}):
        with pytest.raises(UsageError, match="budget"):
            TrainOptions(data=tmp_path, out=tmp_path, **budget)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_short_training_helps(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network from nothing: the loss falls, and held-out PSNR rises above the blurred input."""
    small = {"width": 48, "deep_width": 48, "blocks": [2, 1, 2], "fold": 2}
    monkeypatch.setitem(NETWORKS, "plain-unet", dataclasses.replace(NETWORKS["plain-unet"], config=small))
    torch.set_num_threads(os.cpu_count() or 1)
    keywords = options(folder, tmp_path, minutes=0.8, batch=8, ring=240, save_every=0.2)
    api.train_network("deblur", **keywords)
    torch.set_num_threads(1)
    _, *rows = [{k: float(v) for k, v in row.items()} for row in logged(tmp_path)]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["validation_psnr"] > rows[-1]["validation_input_psnr"] + 0.1
