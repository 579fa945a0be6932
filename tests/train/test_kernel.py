"""Training of blur kernel extractors, and the blur that they put on pictures."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from stopping import Stop, StopsAt

from deblurcli import api
from deblurcli.errors import InputError, UsageError
from deblurcli.networks import NETWORKS
from deblurcli.networks.kernel_extractor import KernelExtractor, drawn
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.train import KernelTraining
from deblurcli.restore.worker import Placed, Worker
from deblurcli.train.kernel_blur import kernel_blur, known_pairs, pair_side
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import Setting
from deblurcli.train.stages import kernel
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

NAME, CPU = "kernel-extractor-small", torch.device("cpu")


def picture(seed: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shown = np.full((side, side + 20, 3), rng.integers(256, size=3), np.uint8)
    for _ in range(90):
        corner, colour = rng.integers(side, size=2), rng.integers(256, size=3).tolist()
        cv2.rectangle(shown, corner.tolist(), (corner + rng.integers(4, 60, 2)).tolist(), colour, -1)
    return shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of random rectangles."""
    root = tmp_path_factory.mktemp("data")
    for index in range(3):
        cv2.imwrite(str(root / f"{index}.png"), picture(index, 300))
    return root


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of one blur: the mean over 15 pixels to the right."""
    root = tmp_path_factory.mktemp("pairs")
    for side in ("blurred", "sharp"):
        (root / side).mkdir()
    for index in range(2):
        shown = picture(index, 280)
        cv2.imwrite(str(root / "sharp" / f"{index}.png"), shown)
        cv2.imwrite(str(root / "blurred" / f"{index}.png"), cv2.blur(shown, (15, 1)))
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that a test can train, and little to score it by."""
    config = {"width": 4, "variational": False}
    monkeypatch.setitem(NETWORKS, NAME, dataclasses.replace(NETWORKS[NAME], config=config))
    monkeypatch.setattr(kernel, "HELD_OUT", 2)


def options(folder: Path, out: Path, **changes: object) -> dict[str, object]:
    return {"data": folder, "out": out, "batch": 1, "ring": 6, "save_every": 1e9, "iterations": 2} | changes


def placed(path: Path, variational: bool = False) -> Placed:
    """A small extractor with random weights, from a file."""
    torch.manual_seed(1)
    config = {"width": 4, "variational": variational}
    save_network(path, KernelExtractor(**config), network=NAME, config=config, card={}, dtype=torch.float32)
    return Worker(ComputeOptions(device="cpu", dtype="fp32")).place(str(path), "", "kernel")


# The stage


def test_a_short_run_learns(small: None, folder: Path, tmp_path: Path) -> None:
    facts = api.train_network("kernel", **options(folder, tmp_path, iterations=6))
    with (tmp_path / "log.csv").open() as log:
        rows = list(csv.DictReader(log))
    assert [row["iteration"] for row in rows] == ["0", "6"] and facts["iteration"] == 6
    scores = [float(row["validation_psnr"]) for row in rows]
    assert scores[1] > scores[0], "from random weights"
    assert rows[0]["validation_input_psnr"] == rows[1]["validation_input_psnr"]
    loaded = load_network(tmp_path / f"{NAME}.safetensors", role="kernel")
    assert loaded.config == {"width": 4, "variational": False} and loaded.card["iterations"] == 6


def test_a_stopped_run_of_drawn_codes_resumes_to_the_same_weights(small: None, folder: Path, tmp_path: Path) -> None:
    same = {"variational": True, "iterations": 3, "device": "cpu", "dtype": "fp32"}
    api.train_network("kernel", **options(folder, tmp_path / "whole", **same))
    with pytest.raises(Stop):
        api.train_network("kernel", console=StopsAt(2), **options(folder, tmp_path / "parts", **same))
    api.train_network("kernel", **options(folder, tmp_path / "parts", **same))
    one, two = (load_network(tmp_path / run / f"{NAME}.safetensors", role="kernel") for run in ("whole", "parts"))
    assert one.config == two.config == {"width": 4, "variational": True}
    for (name, a), b in zip(one.module.state_dict().items(), two.module.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_weights_go_on_and_keep_their_kind(small: None, folder: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    placed(start, variational=True)
    api.train_network("kernel", **options(folder, tmp_path / "run", start=str(start), iterations=1, rate=1e-9))
    loaded = load_network(tmp_path / "run" / f"{NAME}.safetensors", role="kernel")
    assert loaded.config["variational"] and loaded.card["start"].startswith("start (")
    for name, value in load_network(start, role="kernel").module.state_dict().items():
        assert torch.allclose(loaded.module.state_dict()[name], value, atol=1e-3), name


def test_the_loss_is_the_papers_divided_by_the_values(small: None, folder: Path, tmp_path: Path) -> None:
    setting = Setting(Worker(ComputeOptions(device="cpu", dtype="fp32")), Peers(), "")
    sharp, blurred = torch.rand(2, 1, 3, 256, 256)
    for variational in (False, True):
        given = KernelTraining(data=folder, out=tmp_path, iterations=1, ring=6, variational=variational)
        recipe = kernel.kernel_recipe(given, setting)
        net = recipe.trainee.module
        with torch.no_grad():
            mean, deviation = net.extract(sharp, blurred)
            rng = np.random.default_rng([recipe.ring.seed, 4, 0])  # type: ignore[attr-defined]
            made = net.adapt(sharp, drawn(mean, deviation, rng))
            total = ((made - blurred).square() + 1e-6).sqrt().sum()
            if variational:
                total += 10 * (mean**2 + deviation**2 - (1e-8 + deviation**2).log() - 1).sum()
            assert recipe.loss(net, blurred, sharp).item() == pytest.approx(float(total) / (3 * 256**2), rel=1e-5)


def test_normal_codes_have_no_divergence() -> None:
    assert kernel.divergence(torch.zeros(2, 4), torch.ones(2, 4)).item() == pytest.approx(0, abs=1e-6)
    assert kernel.divergence(torch.full((1,), 3.0), torch.ones(1)).item() == pytest.approx(9, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crops": (192,)}, "--crops 192 do not fit a kernel extractor; give multiples of 128, at least 256"),
        ({"crops": (128,)}, "at least 256"),
        ({"start": "default"}, "no kernel extractor comes with the program; give --from a file"),
        ({"start": "a.pth", "variational": True}, "--variational and --from exclude each other"),
        ({"network": "plain-unet"}, "plain-unet is a deblur network"),
    ],
)
def test_what_the_stage_refuses(folder: Path, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        api.train_network("kernel", **options(folder, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


# Known blur


def test_codes_are_drawn_by_mean_and_deviation() -> None:
    mean, deviation = torch.full((1, 1000, 8, 8), 2.0), torch.full((1, 1000, 8, 8), 0.5)
    code = drawn(mean, deviation, np.random.default_rng(1))
    assert code.mean() == pytest.approx(2, abs=0.01) and code.std() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(drawn(mean, torch.zeros_like(mean), np.random.default_rng(1)), mean)


def test_pieces_of_pairs_lie_on_each_other(pairs: Path) -> None:
    blurred, sharp = known_pairs(pairs, 256, CPU)(3, np.random.default_rng(1))
    assert blurred.shape == sharp.shape == (3, 3, 256, 256)
    again = torch.nn.functional.avg_pool2d(sharp, (1, 15), stride=1)
    assert torch.allclose(again, blurred[..., 7:-7], atol=1.5 / 255)


def test_every_picture_gets_the_blur_of_its_pair(pairs: Path, tmp_path: Path) -> None:
    extractor, source = placed(tmp_path / "a.safetensors"), known_pairs(pairs, 256, CPU)
    sharp = torch.rand(2, 3, 256, 256)
    blur = kernel_blur(extractor, source)
    made = blur(sharp, np.random.default_rng(5))
    known_blurred, known_sharp = source(2, np.random.default_rng(5))
    with torch.no_grad():
        code, _ = extractor.module.extract(known_sharp, known_blurred)  # type: ignore[operator]
        expected = extractor.module.adapt(sharp, code).clamp(0, 1)  # type: ignore[operator]
    assert torch.equal(made, expected) and torch.equal(blur(sharp, np.random.default_rng(5)), made)
    assert not torch.equal(blur(sharp, np.random.default_rng(6)), made)
    # A smaller picture is a corner, mirrored.
    assert blur(sharp[..., :100, :130], np.random.default_rng(5)).shape == (2, 3, 100, 130)
    with pytest.raises(ValueError, match="pictures of 257x100 are larger than the pairs of 256x256"):
        blur(torch.rand(2, 3, 100, 257), np.random.default_rng(5))


def test_drawn_codes_depend_on_the_generator_alone(pairs: Path, tmp_path: Path) -> None:
    extractor, source = placed(tmp_path / "a.safetensors", variational=True), known_pairs(pairs, 256, CPU)
    sharp = torch.rand(1, 3, 256, 256)
    one, two = (kernel_blur(extractor, source)(sharp, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize(("side", "whole"), [(1, 256), (128, 256), (256, 256), (257, 384), (512, 512)])
def test_the_side_of_pairs(side: int, whole: int) -> None:
    assert pair_side(NETWORKS[NAME], side) == whole


def test_folders_without_pairs_are_refused(folder: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no pairs; give a folder with blurred/ and sharp/"):
        known_pairs(folder, 256, CPU)
    with pytest.raises(InputError, match="cannot be read: no such file or directory; check the path"):
        known_pairs(tmp_path / "none", 256, CPU)
    with pytest.raises(InputError, match="is 300x280, smaller than the pieces of 384x384"):
        known_pairs(pairs, 384, CPU)(1, np.random.default_rng(1))
