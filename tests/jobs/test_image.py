"""Images from file to file: pages, damage and outputs that cannot hold them, by the command itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from end_to_end import deblur, small_network

from deblurcli.media.images import Image, encoded, encoded_pages, read_pages
from deblurcli.media.pictures.metadata import Metadata

SAMPLES = np.random.default_rng(4).integers(0, 256, (48, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that adds one value to every sample."""
    return small_network(tmp_path_factory.mktemp("weights") / "w.safetensors", 0.1)


def test_every_page_is_restored(tmp_path: Path, network: Path) -> None:
    pages = [Image((SAMPLES // 2) + value, metadata=Metadata(frames=3)) for value in (0, 20, 40)]
    (tmp_path / "a.tif").write_bytes(encoded_pages(pages, "a.tif")[0])
    assert deblur("image", tmp_path / "a.tif", "-o", tmp_path / "b.tif", "--network", network) == 0
    restored = read_pages(tmp_path / "b.tif")
    changes = [after.samples.astype(int) - page.samples for page, after in zip(pages, restored, strict=True)]
    assert changes[0].mean() > 10
    assert all(np.abs(change - changes[0]).max() <= 1 for change in changes)


def test_damage_is_a_difference_and_strict_refuses_it(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = encoded(Image(SAMPLES), "a.jpg")[0]
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2] + bytes(500) + b"\xff\xd9")
    words = ("image", tmp_path / "a.jpg", "-o", tmp_path / "b.png", "--network", network)
    assert deblur(*words, "--strict") == 4
    assert "a.jpg is damaged: Corrupt JPEG data" in capfd.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "b.png").exists()
    assert deblur(*words) == 3
    assert "damaged: Corrupt JPEG data" in capfd.readouterr().err.replace("\n", " ")
    assert (tmp_path / "b.png").exists()


def test_an_output_that_cannot_hold_it_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image(SAMPLES, SAMPLES[..., 0]), "a.png")[0])
    for name in ("b.gif", "b.jpg"):  # exit 5, not 6: the network was not looked for
        assert deblur("image", tmp_path / "a.png", "-o", tmp_path / name, "--network", tmp_path / "none") == 5


def test_without_a_name_the_output_lies_beside_its_input_and_replaces_nothing(tmp_path: Path, network: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(Image(SAMPLES), "a.jpg")[0])
    words = ("image", tmp_path / "a.jpg", "--network", network)
    assert deblur(*words) == 0
    made = (tmp_path / "a.deblurred.jpg").read_bytes()
    assert deblur(*words) == 2
    assert deblur("image", tmp_path / "a.jpg", "--network", network, "--skip-existing") == 0
    assert (tmp_path / "a.deblurred.jpg").read_bytes() == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.deblurred.jpg", "a.jpg"]
