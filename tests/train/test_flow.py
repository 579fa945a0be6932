"""Training of flow networks: a short run learns, is scored by end-point errors, and goes on where it stopped."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deblurcli import api
from deblurcli.adaptation.flow_estimate import flow_of
from deblurcli.errors import UsageError
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.worker import Worker
from deblurcli.train.data import flow_pairs
from deblurcli.train.material import load_material
from deblurcli.train.stages import flow
from deblurcli.train.validation import END_POINT_ERROR, mean_error
from deblurcli.weights.load import load_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and a cut-out of random shapes."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    (root / "photos").mkdir()
    (root / "cutouts").mkdir()
    for index in range(4):
        picture = np.full((220, 240, 3), rng.integers(256, size=3), np.uint8)
        for _ in range(90):
            corner, colour = rng.integers(220, size=2), rng.integers(256, size=3).tolist()
            cv2.rectangle(picture, corner.tolist(), (corner + rng.integers(4, 40, 2)).tolist(), colour, -1)
        cv2.imwrite(str(root / "photos" / f"{index}.png"), picture)
    cut = np.zeros((80, 60, 4), np.uint8)
    cv2.circle(cut, (30, 40), 25, (10, 200, 90, 255), -1)
    cv2.imwrite(str(root / "cutouts" / "disc.png"), cut)
    return root


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little to score by."""
    monkeypatch.setattr(flow, "HELD_OUT", 8)


def test_pairs_and_their_flow_are_drawn(folder: Path) -> None:
    draw = flow_pairs(load_material(folder), 96, torch.device("cpu"))
    (frames, true), (again, same) = (draw(3, np.random.default_rng(2)) for _ in range(2))
    assert frames.shape == (3, 2, 3, 96, 96) and true.shape == (3, 2, 96, 96)
    assert frames.min() >= 0 and frames.max() <= 1 and torch.equal(frames, again) and torch.equal(true, same)


def test_a_mean_error() -> None:
    found = torch.zeros(2, 2, 4, 4)
    found[0, 0], found[0, 1] = 3.0, 4.0
    assert mean_error(found, torch.zeros(2, 2, 4, 4)) == pytest.approx(2.5)


def test_a_short_run_learns_and_goes_on(few: None, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    keywords = {"data": folder, "out": out, "batch": 2, "crops": (64,), "ring": 48, "save_every": 1e9, "rate": 0.01}
    facts = api.train_network("flow", **keywords, iterations=20)  # type: ignore[arg-type]
    facts = api.train_network("flow", **keywords, iterations=40)  # type: ignore[arg-type]
    with (out / "log.csv").open() as log:
        rows = list(csv.DictReader(log))
    assert [row["iteration"] for row in rows] == ["0", "20", "40"] and facts["iteration"] == 40
    losses = [float(row["loss"]) for row in rows[1:]]
    errors = [float(row[END_POINT_ERROR.name]) for row in rows]
    assert losses[1] < losses[0] and errors[2] < errors[0]
    assert {float(row[END_POINT_ERROR.nothing]) for row in rows} == {float(rows[0][END_POINT_ERROR.nothing])}
    weights = out / "flownet-small.safetensors"
    loaded = load_network(weights, role="flow")
    assert loaded.card["iterations"] == 40 and loaded.card[END_POINT_ERROR.name] == pytest.approx(errors[2], abs=1e-3)
    assert weights.stat().st_size < 6e6
    found = flow_of(str(weights), Worker(ComputeOptions(device="cpu")))(*torch.rand(2, 1, 3, 40, 56))
    assert found.shape == (1, 2, 40, 56)


def test_other_networks_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain-unet is a deblur network; this stage trains flow networks"):
        api.train_network("flow", folder, tmp_path / "run", network="plain-unet", iterations=1)
