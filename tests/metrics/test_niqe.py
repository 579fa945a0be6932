"""NIQE: the authors' figures, the fit and the resampling on known ground, models and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from parity import NIQE_MODEL as STANDARD
from parity import case
from scenes import blurred, scene
from torch import Tensor

from benchmarks.niqe_model import pristine_model, write_model
from deblurcli.errors import InputError, WeightsError
from deblurcli.jobs.measure import measures_of
from deblurcli.metrics.naturalness import (
    BUNDLED,
    FEATURES,
    NaturalModel,
    _asymmetric_fit,
    block_features,
    bundled_model,
    halved,
    niqe,
    read_model,
)
from deblurcli.options.metrics import MetricsOptions
from deblurcli.weights import registry
from deblurcli.weights.choose import load_chosen
from deblurcli.weights.describe import described


@pytest.fixture(scope="module")
def standard() -> NaturalModel:
    if not STANDARD.is_file():
        pytest.skip("no niqe_pris_params.npz (DEBLUR_NIQE_MODEL)")
    return read_model(STANDARD)


def photo(seed: int, height: int = 200, width: int = 300) -> Tensor:
    """A detailed scene with some grain, as photos have."""
    grain = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.02
    return (scene(seed, height, width) * 0.8 + 0.1 + grain).clamp(0, 1)


@pytest.mark.parametrize(
    ("picture", "edge", "entry"),
    [("niqe_image", 0, "sharp_y"), ("niqe_image_blur", 0, "blur_y"), ("niqe_image", 4, "sharp_y_crop4")],
)
def test_the_figures_of_the_program_of_nafnet(standard: NaturalModel, picture: str, edge: int, entry: str) -> None:
    facts, arrays = case("niqe")
    values = torch.from_numpy(arrays[picture]).permute(2, 0, 1) / 255
    values = values[:, edge : values.shape[1] - edge, edge : values.shape[2] - edge]
    # It computes in float32, where now and then a block gets a neighbouring shape of the table.
    assert niqe(values, standard, "nafnet") == pytest.approx(facts[entry], abs=4e-4)
    # MATLAB's way differs by about one hundredth, which is why it must be told.
    assert 0.0005 < abs(niqe(values, standard) - facts[entry]) < 0.15


def test_the_features_of_the_program_of_nafnet() -> None:
    facts, arrays = case("niqe")
    features, _ = block_features(torch.from_numpy(arrays["niqe_image"]).permute(2, 0, 1) / 255, "nafnet")
    assert features.shape == (9, FEATURES)
    assert features[0, :18] == pytest.approx(np.array(facts["features_first_block_scale1"]), abs=5e-6)


@pytest.mark.parametrize(
    ("shape", "left", "right"), [(0.8, 1.0, 1.0), (2.0, 0.5, 0.5), (2.0, 0.3, 0.9), (1.2, 2.0, 1.0)]
)
def test_the_fit_finds_what_was_drawn(shape: float, left: float, right: float) -> None:
    """An asymmetric generalised Gaussian of these parameters, 400,000 draws."""
    rng = np.random.default_rng(5)
    size = 400_000
    lengths = rng.gamma(1 / shape, 1, size) ** (1 / shape)
    to_the_right = rng.random(size) < right / (left + right)
    values = np.where(to_the_right, right * lengths, -left * lengths)
    found = [float(parameter[0]) for parameter in _asymmetric_fit(values.reshape(1, 500, 800))]
    assert found[:3] == pytest.approx([shape, left, right], rel=0.02)
    mean = (right - left) * math.gamma(2 / shape) / math.gamma(1 / shape)
    assert (found[2] - found[1]) * found[3] == pytest.approx(mean, abs=0.02)
    assert values.mean() == pytest.approx(mean, abs=0.02)


def test_the_fit_takes_the_nearest_shape_of_the_table() -> None:
    shapes = np.arange(200, 10001) / 1000
    ratios = np.array([math.gamma(2 / s) ** 2 / math.gamma(1 / s) / math.gamma(3 / s) for s in shapes])
    blocks = np.random.default_rng(2).standard_normal((40, 12, 12)) ** 3
    for block, found in zip(blocks, _asymmetric_fit(blocks)[0], strict=True):
        below, above = -block[block < 0], block[block > 0]
        ratio = math.sqrt((below**2).mean() / (above**2).mean())
        flatness = abs(block).mean() ** 2 / (block**2).mean()
        wanted = flatness * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
        assert found == shapes[np.argmin((ratios - wanted) ** 2)]


def test_halving_is_that_of_imresize() -> None:
    """What MATLAB's documentation says: the cubic kernel, twice as wide, and pixels repeated in mirror order."""

    def kernel(x: float) -> float:
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0

    rng = np.random.default_rng(1)
    plane = rng.random((10, 14)) * 255
    matrices = []
    for size in plane.shape:
        weights = np.zeros((size // 2, size))
        for target in range(size // 2):
            centre = 2 * target + 0.5
            for source in range(-6, size + 6):
                mirrored = -1 - source if source < 0 else min(source, 2 * size - 1 - source)
                weights[target, mirrored] += kernel((source - centre) / 2)
        matrices.append(weights / weights.sum(1, keepdims=True))
    assert halved(plane, "matlab") == pytest.approx(matrices[0] @ plane @ matrices[1].T, abs=1e-9)
    assert halved(plane, "nafnet") == pytest.approx(cv2.resize(plane, (7, 5), interpolation=cv2.INTER_LINEAR), abs=1e-9)


@pytest.mark.parametrize("mode", ["matlab", "nafnet"])
def test_blur_and_noise_raise_it(mode: str) -> None:
    natural = pristine_model([photo(seed) for seed in range(10, 18)])
    sharp = photo(3)
    noise = torch.randn(sharp.shape, generator=torch.Generator().manual_seed(1))
    assert niqe(sharp, natural, mode) < niqe(blurred(sharp), natural, mode)
    assert niqe(sharp, natural, mode) < niqe((sharp + 0.1 * noise).clamp(0, 1), natural, mode)


def test_less_than_two_blocks_or_no_texture_have_none() -> None:
    assert math.isnan(niqe(torch.rand(3, 95, 400)))
    assert math.isnan(niqe(torch.rand(3, 100, 191)))
    assert math.isfinite(niqe(torch.rand(3, 96, 192)))
    assert math.isnan(niqe(torch.full((3, 200, 200), 0.3)))
    # A flat sky does not spoil the rest.
    sky = photo(3)
    sky[:, :96] = 0.7
    assert math.isfinite(niqe(sky))


def test_what_is_left_over_does_not_count() -> None:
    picture = photo(4, 192, 288)
    wider = torch.rand(3, 230, 300)
    wider[:, :192, :288] = picture
    # The border of the blocks is mirrored, so nothing from outside them gets in.
    assert niqe(wider) == niqe(picture)


def test_only_the_sharper_blocks_make_the_model() -> None:
    sharp = photo(5, 192, 480)
    half = sharp.clone()
    half[:, :, :288] = blurred(sharp)[:, :, :288] * 0.3 + 0.3
    kept, sharpness = block_features(half)
    assert (sharpness < 0.75 * sharpness.max()).sum() == 6
    photos = [half] * 12
    model = pristine_model(photos)
    assert model.mean == pytest.approx(kept[[3, 4, 8, 9]].mean(0))
    assert model.covariance == pytest.approx(np.cov(np.tile(kept[[3, 4, 8, 9]], (12, 1)), rowvar=False))


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_the_package_s_model_knows_photos(name: str) -> None:
    """Photos from elsewhere: sharp ones are near, and the more blurred, the farther."""
    values = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1) / 255
    found = [niqe(values), *(niqe(blurred(values, sigma)) for sigma in (0.7, 1.2, 2))]
    assert found == sorted(found) and found[0] < 4 < 6 < found[-1]


def test_the_package_s_model_is_much_like_the_original(standard: NaturalModel) -> None:
    model = bundled_model()
    assert model.mean.shape == (FEATURES,) and np.linalg.eigvalsh(model.covariance).min() > 0
    for fact in ("data", "licence", "command"):
        assert model.card[fact]
    assert (abs(model.mean - standard.mean) < np.sqrt(np.diag(standard.covariance))).all()
    for name in ("astronaut", "coffee", "chelsea"):
        values = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1) / 255
        for picture in (values, blurred(values, 1)):
            assert niqe(picture) == pytest.approx(niqe(picture, standard), rel=0.15)


def test_a_model_is_written_and_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = NaturalModel(rng.random(FEATURES), rng.random((FEATURES, FEATURES)), {"data": "drawn"})
    write_model(tmp_path / "model.npz", model)
    back = read_model(tmp_path / "model.npz")
    assert (back.mean == model.mean).all() and (back.covariance == model.covariance).all()
    assert back.card == {"data": "drawn"}


def test_few_photos_are_no_model() -> None:
    with pytest.raises(InputError, match="give more photos"):
        pristine_model([photo(1)])
    with pytest.raises(InputError, match="0 sharp blocks"):
        pristine_model([torch.rand(3, 50, 50)])


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("trap",))


def test_what_is_no_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = {"mu_pris_param": np.zeros((1, FEATURES)), "cov_pris_param": np.eye(FEATURES)}
    bad = {
        "shape": good | {"mu_pris_param": np.zeros((1, 35))},
        "missing": {"mu_pris_param": good["mu_pris_param"]},
        "nan": good | {"cov_pris_param": np.full((FEATURES, FEATURES), np.nan)},
        "text": good | {"mu_pris_param": np.array(["x"] * FEATURES)},
        "large": good | {"extra": np.zeros(1 << 18)},
        "trap": good | {"mu_pris_param": np.array([Trap()] * FEATURES, dtype=object)},
        "card": good | {"card": np.array("{")},
    }
    for name, arrays in bad.items():
        np.savez_compressed(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "json.npz").write_text(json.dumps({}))
    for name in (*bad, "pickle", "json"):
        with pytest.raises(WeightsError, match=f"{name}.npz is no NIQE model"):
            read_model(tmp_path / f"{name}.npz")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_model(tmp_path / "gone.npz")
    assert not Path("trap").exists()
    whole = tmp_path / "good.npz"
    np.savez(whole, **good)
    assert read_model(whole).card == {}
    whole.write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(WeightsError, match="is no NIQE model"):
        read_model(whole)


def test_a_model_of_the_registry_is_named(tmp_path, monkeypatch):
    content = (BUNDLED).read_bytes()
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    facts = {"licence": "MIT", "data": "photos", "score": "none"}
    sha256 = hashlib.sha256(content).hexdigest()
    entry = registry.WeightEntry("original", registry.NIQE, "original.npz", len(content), sha256, **facts)
    known = dict(registry.installed().weights) | {"original": entry}
    monkeypatch.setattr(registry, "installed", lambda: registry.Registry(known, {}))
    chosen = MetricsOptions(niqe_model=Path("original"))
    with pytest.raises(WeightsError, match="'original' are not on this machine"):
        measures_of(chosen, compare=False)
    (tmp_path / "original.npz").write_bytes(content)
    picture = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(1))
    found = [measures_of(options, compare=False)[0](picture, picture) for options in (chosen, MetricsOptions())]
    assert found[0] == found[1] and set(found[0]) == {"niqe"}
    assert ("path", str(tmp_path / "original.npz")) in described("original")
    (tmp_path / "original.npz").write_bytes(content[:-1] + b"x")
    with pytest.raises(WeightsError, match="where the registry says"):
        measures_of(chosen, compare=False)
    with pytest.raises(WeightsError, match="'plain-unet' are a plain-unet, no model of NIQE; give niqe-original"):
        measures_of(MetricsOptions(niqe_model=Path("plain-unet")), compare=False)
    with pytest.raises(WeightsError, match="'original': a model of NIQE; a deblur network is needed here"):
        load_chosen("original", "image", "deblur")
