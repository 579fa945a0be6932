"""Training on sharp pictures and on blurred videos: both losses, exact resumption, clips, what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip
from end_to_end import write_video
from joint_stage import options as common
from joint_stage import shrink
from moving import frames
from small_networks import same, weights
from stopping import Stop, StopsAt
from torch import Tensor

from deblurcli import api
from deblurcli.adaptation.balance import steepness
from deblurcli.adaptation.flow_estimate import search_flow
from deblurcli.adaptation.reblur_loss import ReblurLoss
from deblurcli.adaptation.reblurring_flow import FlowReblurring
from deblurcli.console import Reporter, Silent
from deblurcli.errors import InputError, UsageError, WeightsError
from deblurcli.losses import l1_fft, mse
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.train import HybridTraining
from deblurcli.restore.worker import Worker
from deblurcli.synth.light import Response
from deblurcli.train.blurred_clips import Film, blurred_clips, moving_crop, read_films, split
from deblurcli.train.material import Material, pack_material
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import Recipe, Setting
from deblurcli.train.stages.hybrid import hybrid_recipe
from deblurcli.weights.load import load_network

SPEED = 8
"""Pixels a frame of the video's motion."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def footage() -> tuple[list[Tensor], list[Tensor]]:
    """Blurred and sharp frames of a camera that moves evenly, its shutter open all the time."""
    return frames((SPEED,) * 15, share=1.0, gamma=2.2, noise=0.0)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, footage: tuple[list[Tensor], list[Tensor]]) -> Path:
    """Sharp pictures (``data.safetensors``), and a blurred video (``video.mkv``)."""
    path = tmp_path_factory.mktemp("hybrid")
    photos = {f"{index}.png": (picture * 255).byte() for index, picture in enumerate(footage[1][::3])}
    pack_material(Material(photos, {}, {}), path / "data.safetensors")
    write_video(path / "video.mkv", footage[0])
    return path


def options(folder: Path, out: Path, **changes: object) -> dict[str, object]:
    usual = {"videos": folder / "video.mkv", "flow": "dis", "clips": 1}
    return common(folder / "data.safetensors", out, **(usual | changes))


def prepared(folder: Path, console: Reporter | None = None, **changes: object) -> Recipe:
    """The stage as it is before the first iteration."""
    keywords = options(folder, folder / "none", **changes)
    compute = ComputeOptions(device=str(keywords.pop("device")), dtype=str(keywords.pop("dtype")))
    setting = Setting(Worker(compute, console), Peers(), "")
    return hybrid_recipe(HybridTraining(**keywords), setting)  # type: ignore[arg-type]


def logged(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open() as log:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(log)]


def trained(out: Path, network: str = "plain-unet") -> list[Tensor]:
    return weights(load_network(out / f"{network}.safetensors", role="deblur").module)


def test_the_loss_is_that_of_the_pairs_and_a_tenth_of_what_the_clips_leave_unexplained(folder: Path) -> None:
    recipe = prepared(folder, clips=2)
    network = recipe.trainee.module
    recipe.ring.advance(0)
    many = recipe.ring.batch(1, 32, 64, torch.device("cpu"))
    blurred, sharp = recipe.ring.batch(0, 2, 64, torch.device("cpu"))
    clips, observed = recipe.ring.seen  # type: ignore[attr-defined]
    assert clips.shape == (2, 3, 3, 64, 64) and torch.equal(observed, clips[:, 1]) and blurred.shape == (2, 3, 64, 64)

    # A tenth of a loss that is as steep as the network's own; a new network returns its input.
    factor = float(recipe.origins["reblur_factor"])
    assert 0.5 < factor / (0.1 * steepness(l1_fft, *many) / steepness(mse, *many)) < 2
    torch.nn.init.normal_(network.tail.weight, 0, 0.02)  # type: ignore[arg-type, union-attr]
    restored = network(clips.flatten(0, 1)).clamp(0, 1).unflatten(0, (2, 3))
    reblurring = FlowReblurring(tau=0.5, response=Response(torch.tensor([2.2]), torch.zeros(1)))
    unexplained = ReblurLoss(reblurring, search_flow)(restored, observed)
    expected = l1_fft(network(blurred), sharp) + factor * unexplained
    assert factor * unexplained > 1e-4
    loss = recipe.loss(network, blurred, sharp)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-6)
    wanted, found = (torch.autograd.grad(value, list(network.parameters())) for value in (expected, loss))
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-2)


def test_a_tiny_network_learns_from_both(folder: Path, tmp_path: Path) -> None:
    changes = {"iterations": 60, "reblur_weight": 0.5, "rate": 0.01, "ring": 48}
    api.train_network("hybrid", **options(folder, tmp_path, **changes))
    first, last = logged(tmp_path)[0], logged(tmp_path)[-1]
    assert last["validation_psnr"] > first["validation_psnr"] + 0.04
    assert last["validation_reblur_psnr"] > first["validation_reblur_psnr"] + 0.3
    # A new network returns its input.
    assert first["validation_reblur_psnr"] == pytest.approx(first["validation_input_reblur_psnr"], abs=1e-3)
    assert last["validation_input_reblur_psnr"] == first["validation_input_reblur_psnr"]
    card = load_network(tmp_path / "plain-unet.safetensors", role="deblur").card
    assert card["videos"] == "video.mkv" and card["flow"] == "dis"
    assert card["validation_reblur_psnr"] == pytest.approx(last["validation_reblur_psnr"], abs=1e-3)


def test_true_frames_explain_the_video_better_than_its_own(
    folder: Path, footage: tuple[list[Tensor], list[Tensor]]
) -> None:
    """What is minimised is smallest where it should be."""
    blurred, sharp = (torch.stack(part) for part in footage)
    loss = ReblurLoss(FlowReblurring(response=Response(torch.tensor([2.2]), torch.zeros(1))), search_flow)
    true, own = (float(loss(row[None, 4:7], blurred[None, 5])) for row in (sharp, blurred))
    assert true < own / 5


OWN = ("videos", "flow", "clips")
"""Options that `deblur train deblur` does not have."""


def test_without_weight_the_videos_teach_nothing(folder: Path, tmp_path: Path) -> None:
    api.train_network("hybrid", **options(folder, tmp_path / "hybrid", iterations=3, reblur_weight=0.0))
    api.train_network("hybrid", **options(folder, tmp_path / "both", iterations=3))
    plain = {k: v for k, v in options(folder, tmp_path / "plain", iterations=3).items() if k not in OWN}
    api.train_network("deblur", **plain)
    assert same(trained(tmp_path / "hybrid"), trained(tmp_path / "plain"))
    assert not same(trained(tmp_path / "both"), trained(tmp_path / "plain"))


def test_a_stopped_run_resumes_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    api.train_network("hybrid", **options(folder, tmp_path / "whole", iterations=4))
    with pytest.raises(Stop):
        api.train_network("hybrid", console=StopsAt(2), **options(folder, tmp_path / "parts", iterations=4))
    changed = options(folder, tmp_path / "parts", iterations=4, tau=0.4)
    with pytest.raises(UsageError, match=r"holds another run: --tau 0.5 \(now 0.4\)"):
        api.train_network("hybrid", **changed)
    api.train_network("hybrid", **options(folder, tmp_path / "parts", iterations=4))
    assert same(trained(tmp_path / "whole"), trained(tmp_path / "parts"))


@pytest.mark.parametrize(("network", "frames_seen"), [("dbn", 7), ("video-unet", 3), ("mimo-unet", 3)])
def test_every_kind_of_network_learns_from_clips(folder: Path, network: str, frames_seen: int) -> None:
    recipe = prepared(folder, network=network, clips=1)
    recipe.ring.advance(0)
    batch = recipe.ring.batch(0, 1, 64, torch.device("cpu"))
    assert recipe.ring.seen[0].shape == (1, frames_seen, 3, 64, 64)  # type: ignore[attr-defined]
    module, alone = recipe.trainee.module.train(), recipe.trainee.spec.alone
    recipe.loss(module, *batch).backward()
    part = module.get_submodule(alone)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())


def test_clips_are_frames_in_a_row_of_the_video(folder: Path, footage: tuple[list[Tensor], list[Tensor]]) -> None:
    (film,) = read_films([folder / "video.mkv"], 3, 64, Reporter.silent())
    assert film.starts == tuple(range(12))
    shown = torch.stack([(frame * 255).round() for frame in footage[0]])
    drawn, middle = blurred_clips([film], 64)(4, np.random.default_rng(5))
    again, _ = blurred_clips([film], 64)(4, np.random.default_rng(5))
    other, _ = blurred_clips([film], 64)(4, np.random.default_rng(6))
    assert torch.equal(drawn, again) and not torch.equal(drawn, other) and torch.equal(middle, drawn[:, 1])
    corners = shown[..., :100, :100].unfold(2, 4, 1).unfold(3, 4, 1)  # 14 x 3 x 97 x 97 x 4 x 4
    for clip in drawn * 255:
        rows = [
            shown[at : at + 3, :, y : y + 64, x : x + 64]
            for at in film.starts
            for y, x in (corners[at] == clip[0][:, None, None, :4, :4]).all((0, -1, -2)).nonzero().tolist()
        ]
        assert any(torch.equal(clip, row) for row in rows)


def test_clips_are_cut_out_where_things_move() -> None:
    rng = np.random.default_rng(1)
    still = rng.integers(256, size=(3, 40, 200), dtype=np.uint8).repeat(4, 1).repeat(4, 2)[:, :128, :640]
    row = np.stack([still] * 3)
    for index in range(3):
        row[index, :, :, 320:] = np.roll(still, 3 * index, 2)[:, :, 320:]
    moving = 0
    for seed in range(8):
        crop = moving_crop(torch.from_numpy(row), 96, np.random.default_rng(seed))
        moving += bool((crop[0] != crop[1]).any())
    assert moving >= 7  # by chance, half of them


def test_what_is_held_out_is_not_learnt_from() -> None:
    def film(name: str, starts: range) -> Film:
        return Film(Path(name), tuple(starts), 7)

    learnt, held = split([film(f"{index}.mp4", range(9)) for index in range(200)])
    assert {f.path for f in learnt}.isdisjoint({f.path for f in held}) and len(learnt) + len(held) == 200 and held
    (learnt,), (held,) = split([film("a.mp4", range(80))])
    assert held.starts == tuple(range(70, 80)) and learnt.starts == tuple(range(64))
    (learnt,), (held,) = split([film("a.mp4", range(3))])
    assert learnt.starts == (0, 1, 2) and held.starts == (2,)


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def message(self, kind: str, text: str) -> None:
        self.said.append((kind, text))


def test_what_cannot_be_used_is_left_out_and_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "good.mkv").write_bytes((folder / "video.mkv").read_bytes())
    make_clip(tmp_path / "small.mkv", size=(64, 48))
    heard = Heard()
    films = read_films([tmp_path], 3, 64, Reporter(heard))
    assert [film.path.name for film in films] == ["good.mkv"]
    assert ("warning", "small.mkv has 64x48 pixels, too few for crops of 64: it is left out") in heard.said


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"videos": ()}, UsageError, "no videos to learn from; give --videos"),
        ({"videos": "empty"}, InputError, "empty holds no videos; give --videos FILE, or a FOLDER"),
        ({"videos": "missing.mkv"}, InputError, "missing.mkv"),
        ({"videos": "text.mkv"}, InputError, "text.mkv"),
        ({"videos": "still.mkv"}, InputError, "still.mkv shows no motion, .*; give videos in which things move"),
        ({"videos": "short.mkv"}, InputError, "short.mkv is too short: it has 2 frames; .* at least 3 frames"),
        ({"videos": "six.mkv", "network": "dbn"}, InputError, "it has 6 frames; give videos of at least 7 frames"),
        ({"videos": "small.mkv"}, InputError, "small.mkv has 64x48 pixels, too few for crops of 64; give smaller"),
        ({"videos": ["small.mkv", "short.mkv"]}, InputError, "none of 2 videos can be used; "),
        ({"videos": 3}, UsageError, "--videos 3 is not a path or a list of paths"),
        ({"flow": "nix"}, UsageError, "no flow is called 'nix'"),
        ({"flow": "default2.safetensors"}, WeightsError, "default2"),
        ({"tau": 0.0}, UsageError, "--tau is out of range; give above 0, at most 2"),
        ({"clips": 0}, UsageError, "--clips 0 is too few; give at least 1"),
        ({"network": "reblurring-module"}, UsageError, "trains deblur networks"),
    ],
)
def test_what_is_refused(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text.mkv").write_text("no video")
    still = torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(1))
    write_video(Path("still.mkv"), [still] * 8)
    write_video(Path("short.mkv"), [still, still.roll(3, 2)])
    write_video(Path("six.mkv"), [still.roll(3 * index, 2) for index in range(6)])
    make_clip(Path("small.mkv"), size=(64, 48))
    with pytest.raises(error, match=said) as caught:
        api.train_network("hybrid", **options(folder, tmp_path / "run", **changes))
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_cuts_are_not_crossed(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shots = []
    for colour in ((0.9, 0.2, 0.1), (0.1, 0.3, 0.9)):
        world = torch.from_numpy(rng.random((1, 24, 40), np.float32)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        world = 0.3 * world + 0.7 * torch.tensor(colour)[:, None, None]
        shots += [world[:, 4 * at : 4 * at + 96, 6 * at : 6 * at + 128] for at in range(6)]
    write_video(tmp_path / "cut.mkv", shots)
    (film,) = read_films([tmp_path / "cut.mkv"], 3, 64, Reporter.silent())
    assert film.starts == (0, 1, 2, 3, 6, 7, 8, 9)
    with pytest.raises(InputError, match="no shot of 7 frames"):
        read_films([tmp_path / "cut.mkv"], 7, 64, Reporter.silent())
