"""Jobs, end to end: the real command line, the bundled networks, clips made here and the example."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from clips import make_clip, packet_hashes, read_planes, read_times
from parity import case

from deblurcli import api
from deblurcli.cli.app import run
from deblurcli.device import pick_device
from deblurcli.errors import DeblurError
from deblurcli.files import OutputFile
from deblurcli.media.clips import ClipWriter
from deblurcli.media.reader import VideoReader
from deblurcli.metrics import fidelity
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.restore.tiles import Restorer
from deblurcli.synth.pairs import shaken
from deblurcli.weights.load import load_network

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "coffee-shake.mp4"


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {k: v for k, v in container.metadata.items() if k not in ("encoder", "ENCODER")}


def shot(seed: int, frames: int) -> list[torch.Tensor]:
    """A pan over a random picture, 3 x 96 x 128 each."""
    rough = torch.rand(1, 3, 14, 24, generator=torch.Generator().manual_seed(seed))
    wide = torch.nn.functional.interpolate(rough, scale_factor=8, mode="bicubic")[0].clamp(0, 1)
    return [wide[:, 8:104, 3 * at : 3 * at + 128] for at in range(frames)]


def write_clip(path: Path, pictures: list[torch.Tensor]) -> Path:
    with OutputFile(path) as output, ClipWriter(output, Fraction(25)) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Variable frame rate, sound, subtitles, chapters, tags."""
    folder = tmp_path_factory.mktemp("clip")
    pts = [0, 40, 80, 130, 170, 260, 300, 340, 395, 440]
    return make_clip(
        folder / "in.mkv",
        codec="libx264",
        size=(80, 64),
        frames=10,
        time_base=Fraction(1, 1000),
        pts=pts,
        audio=True,
        subtitles=True,
        chapters=True,
        tags={"title": "Ein Titel"},
    )


def test_a_shot_after_a_cut_is_restored_as_if_alone(tmp_path: Path) -> None:
    one, other = shot(1, 4), shot(2, 5)
    joined, alone = write_clip(tmp_path / "joined.mkv", one + other), write_clip(tmp_path / "alone.mkv", other)
    options = {"method": "none", "codec": "ffv1"}
    facts = api.deblur_video(joined, tmp_path / "a.mkv", **options).facts
    api.deblur_video(alone, tmp_path / "b.mkv", **options)
    assert facts["network"] == "video-unet" and facts["cuts"] == 1
    assert read_planes(tmp_path / "a.mkv")[len(one) :] == read_planes(tmp_path / "b.mkv")


def test_one_and_two_frames_are_enough_for_a_video(tmp_path: Path) -> None:
    for frames in (1, 2):
        source = write_clip(tmp_path / f"{frames}.mkv", shot(3, frames))
        assert api.deblur_video(source, tmp_path / f"out{frames}.mkv", method="none").facts["frames"] == frames


def test_equal_runs_give_equal_frames_and_say_what_they_did(clip: Path, tmp_path: Path) -> None:
    planes = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        out = tmp_path / f"{name}.mkv"
        summary = api.deblur_video(
            clip,
            out,
            method="meta",
            reblurring="network",
            patches=2,
            patch_size=64,
            steps=2,
            seed=seed,
            rate=3e-4,
            codec="ffv1",
        )
        planes.append(read_planes(out))
    assert planes[0] == planes[1]
    facts = summary.facts
    assert set(facts["weights"]) == {"video-unet", "blur-mixture", "patch-critic"}
    (adaptation,) = facts["adaptations"]
    assert adaptation["options"]["seed"] == 2 and len(adaptation["patches"]) == 6 and adaptation["patch_size"] == 64
    assert len(adaptation["reblur_losses"]) == len(adaptation["deblur_losses"]) == 2
    json.dumps(facts)
    assert any("frames/s" in line for line in summary.lines) and any("adapt" in line for line in summary.lines)


def shaken_clip(path: Path, shots: int = 1) -> Path:
    """A picture of soft shapes, shaken by hand for nine frames, and others, dark and grey."""
    frames = []
    for index in range(shots):
        generator = torch.Generator().manual_seed(index)
        coarse = torch.rand(1, 3, 20, 24, generator=generator)
        picture = torch.nn.functional.interpolate(coarse, size=(192, 224), mode="bicubic")[0].clamp(0, 1)
        picture = picture if not index else picture.mean(0, keepdim=True).expand(3, -1, -1) * 0.4
        frames += [blurred for blurred, _ in shaken(picture, 9, 25, 8, index, 3.5, 0.0)]
    return write_clip(path, frames)


def pictures(path: Path) -> torch.Tensor:
    with VideoReader(path) as reader:
        return torch.stack([frame.rgb() for frame in reader.frames()])


ADAPTING = {"patches": 6, "patch_size": 64, "rate": 3e-4, "steps": 8, "codec": "ffv1", "dtype": "fp32"}
"""Steps as asked for: such short videos are not adapted to otherwise."""


def test_an_adaptation_is_saved_and_used_again(tmp_path: Path) -> None:
    source, saved = shaken_clip(tmp_path / "in.mkv"), tmp_path / "adapted.safetensors"
    summary = api.deblur_video(source, tmp_path / "a.mkv", save_adapted=saved, guard="off", **ADAPTING)
    (adaptation,) = summary.facts["adaptations"]
    assert adaptation["kept"] and adaptation["flow"]["moments"] >= 3 and summary.differences == []
    assert str(saved) in " ".join(summary.lines)
    loaded = load_network(saved, role="deblur")
    assert loaded.network == "video-unet" and loaded.card["adapted_to"] == "in.mkv"
    options = {"method": "none", "codec": "ffv1", "dtype": "fp32"}
    api.deblur_video(source, tmp_path / "b.mkv", network=str(saved), **options)
    api.deblur_video(source, tmp_path / "c.mkv", **options)
    adapted, reused, plain = (pictures(tmp_path / f"{name}.mkv") for name in "abc")
    assert torch.equal(adapted, reused) and not torch.equal(adapted, plain)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"method": "none"}, 2),
        ({"adapt_per": "shot"}, 2),
        ({"save_adapted": "adapted.mp4"}, 2),
        ({"save_adapted": "exists.safetensors"}, 2),
        ({"save_adapted": "nowhere/adapted.safetensors"}, 5),
    ],
)
def test_what_cannot_be_saved_is_known_before_any_work(tmp_path: Path, options: dict[str, str], code: int) -> None:
    source = shaken_clip(tmp_path / "in.mkv")
    (tmp_path / "exists.safetensors").touch()
    chosen = {"save_adapted": "adapted.safetensors"} | options
    chosen["save_adapted"] = str(tmp_path / chosen["save_adapted"])
    with pytest.raises(DeblurError) as raised:
        api.deblur_video(source, tmp_path / "out.mkv", **chosen)
    assert raised.value.code == code
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exists.safetensors", "in.mkv"]


def test_every_shot_can_have_its_own_adaptation(tmp_path: Path) -> None:
    """Each is that of the shot alone."""
    source, other = shaken_clip(tmp_path / "both.mkv", shots=2), shaken_clip(tmp_path / "one.mkv")
    both = api.deblur_video(source, tmp_path / "a.mkv", adapt_per="shot", **ADAPTING).facts["adaptations"]
    (one,) = api.deblur_video(other, tmp_path / "b.mkv", adapt_per="shot", **ADAPTING).facts["adaptations"]
    assert [adaptation["frames"] for adaptation in both] == [9, 9]
    assert both[0]["deblur_losses"] == one["deblur_losses"] != both[1]["deblur_losses"]
    assert read_planes(tmp_path / "a.mkv")[:9] == read_planes(tmp_path / "b.mkv")
    (whole,) = api.deblur_video(source, tmp_path / "c.mkv", **ADAPTING).facts["adaptations"]
    assert whole["cuts"] == [9] and whole["frames"] == 18


def test_metrics_of_known_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sharp = np.random.default_rng(1).integers(20, 200, (40, 50, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "sharp.png"), sharp)
    cv2.imwrite(str(tmp_path / "off.png"), sharp + 10)
    found = api.measure(tmp_path / "off.png", tmp_path / "sharp.png")
    assert found["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-6) and 0.9 < found["ssim"] < 1
    same = api.measure(tmp_path / "sharp.png", tmp_path / "sharp.png")
    assert same["psnr"] == float("inf") and same["ssim"] == pytest.approx(1)
    assert run(["metrics", str(tmp_path / "off.png"), str(tmp_path / "sharp.png")]) == 0
    assert "28.13" in capsys.readouterr().out


def test_metrics_agree_with_the_reference_values() -> None:
    """PSNR on 8 bits and channel-averaged Gaussian SSIM of a pair measured elsewhere."""
    facts, arrays = case("metrics")
    one, two = (torch.from_numpy(arrays[f"metric_{k}"]).permute(2, 0, 1).float() / 255 for k in "ab")
    assert fidelity.psnr(one, two) == pytest.approx(facts["psnr"]["nafnet_calculate_psnr_crop0"], abs=1e-9)
    wanted = facts["ssim"]["skimage_gaussian_channel_axis_sigma1.5_no_sample_cov_range255"]
    assert fidelity.ssim(one, two) == pytest.approx(wanted, abs=1e-6)


def test_metrics_refuse_what_cannot_be_compared(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mkv", frames=4)
    longer = make_clip(tmp_path / "two.mkv", frames=5)
    wider = make_clip(tmp_path / "three.mkv", frames=4, size=(80, 48))
    for other in (longer, wider):
        assert run(["metrics", str(one), str(other), "-q"]) == 4
    assert api.measure(one, one)["frames"] == 4


def test_the_bundled_networks_are_what_their_cards_say() -> None:
    roles = {"plain-unet": "deblur", "video-unet": "deblur", "blur-mixture": "reblur", "patch-critic": "critic"}
    roles["flownet-small"] = "flow"
    for name, role in roles.items():
        loaded = load_network(name, role=role)  # type: ignore[arg-type]
        for fact in ("data", "licence", "command", "seed", "minutes", "iterations"):
            assert loaded.card[fact] not in ("", None, 0), (name, fact)
        assert " /" not in str(loaded.card["command"]), "a path of the machine that trained it"
        assert all(torch.isfinite(p).all() for p in loaded.module.parameters())


@pytest.mark.slow
def test_the_main_job(tmp_path: Path) -> None:
    """The README's first command on the example clip."""
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "deblurcli", "video", str(EXAMPLE), "-o", str(out), "--method", "meta"]
    subprocess.run(command, check=True, timeout=240)
    assert len(read_times(out)) == 60 and read_times(out) == read_times(EXAMPLE)
    assert packet_hashes(out, "audio") == packet_hashes(EXAMPLE, "audio")
    assert tags(out) == tags(EXAMPLE)


def test_the_example_clip_restores_sharper() -> None:
    """Without adaptation, on its most blurred frames: more detail than before, and close to the input all the same."""
    with VideoReader(EXAMPLE) as reader:
        frames = [frame.rgb() for frame in reader.frames()]
    scores = [float(self_shift_score(frame[None])) for frame in frames]
    network = load_network("plain-unet", role="deblur")
    restorer = Restorer(network.module, network.spec, pick_device("cpu"))
    for index in sorted(range(len(frames)), key=lambda i: -scores[i])[:3]:
        restored = restorer([frames[index]])
        assert float(self_shift_score(restored[None])) < scores[index] - 1
        assert (restored - frames[index]).abs().mean() < 0.05
