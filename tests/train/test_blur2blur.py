"""Training a translator of blur: frames of a camera, curriculum, exact resumption, samples, what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from joint_stage import shrink
from small_networks import same, weights
from stopping import Stop, StopsAt
from torch import Tensor
from trees import soft_shapes

from deblurcli import api
from deblurcli.adaptation.known_blur import synthetic_blur
from deblurcli.adaptation.translation import RECIPES, new_generator
from deblurcli.console import Reporter
from deblurcli.errors import InputError, UsageError, WeightsError
from deblurcli.media.images import Image, read_image, write_image
from deblurcli.networks.kernel_extractor import KernelExtractor
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.recipes import RECIPE_NAMES
from deblurcli.options.train import Blur2BlurTraining
from deblurcli.restore.worker import Worker
from deblurcli.train.camera_frames import camera_frames, read_frames
from deblurcli.train.stages import blur2blur
from deblurcli.train.stages.blur2blur import INPUT_PAIR, KNOWN, PAIRS, worth
from deblurcli.train.unpaired import CameraFrame, by_blur, held_out, known_source
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

SILENT = Reporter.silent()


def picture(seed: int, cell: int, side: int = 144) -> np.ndarray:
    """Random squares of ``cell`` pixels, larger ones look more blurred; side x side x 3."""
    cells = np.random.default_rng(seed).integers(0, 256, (-(-side // cell), -(-side // cell), 3), dtype=np.uint8)
    return np.kron(cells, np.ones((cell, cell, 1), dtype=np.uint8))[:side, :side]


def folder_of(path: Path, cells: list[int], side: int = 144) -> Path:
    path.mkdir(parents=True)
    for number, cell in enumerate(cells):
        write_image(path / f"{number}.png", Image(picture(number, cell, side)))
    return path


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("camera")
    folder_of(top / "blurry", [24, 12, 18])
    folder_of(top / "sharp", [2, 3])
    return top


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    from deblurcli.networks.plain_unet import PlainUNet

    module = PlainUNet(width=8, deep_width=8, blocks=(1, 1, 1))
    place = Worker.place

    def placed(self: Worker, chosen: str, command: str, role: str) -> object:
        from small_networks import placed

        return placed(module.eval(), "plain-unet") if role == "deblur" else place(self, chosen, command, role)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "place", placed)


def options(footage: Path, out: Path, **changes: object) -> dict[str, object]:
    return {
        "data": footage / "sharp", "blurry": footage / "blurry", "out": out, "batch": 1, "ring": 6, "width": 8,
        "blocks": 1, "iterations": 2, "save_every": 1e9, "device": "cpu", "dtype": "fp32",
    } | changes  # fmt: skip


def trained(out: Path) -> list[Tensor]:
    return weights(load_network(out / "blur-translator.safetensors", role="translate").module)


def test_a_stopped_run_resumes_to_the_same_weights_and_tells_what_it_did(footage: Path, tmp_path: Path) -> None:
    api.train_network("blur2blur", **options(footage, tmp_path / "whole"))  # type: ignore[arg-type]
    with pytest.raises(Stop):
        api.train_network("blur2blur", console=StopsAt(1), **options(footage, tmp_path / "parts"))  # type: ignore[arg-type]
    api.train_network("blur2blur", **options(footage, tmp_path / "parts"))  # type: ignore[arg-type]
    assert same(trained(tmp_path / "whole"), trained(tmp_path / "parts"))

    loaded = load_network(tmp_path / "whole" / "blur-translator.safetensors", role="translate")
    assert loaded.config == {"blocks": 1, "dropout": 0.0, "width": 8}
    assert loaded.card["data"] == "3 blurred and 2 sharp frames, unpaired"
    assert loaded.card["recipe"] == "ours" and loaded.card["known_blur"] == "synth"
    assert loaded.card["features"] == "plain-unet"
    assert load_network(tmp_path / "whole" / "patch-critic.safetensors", role="critic").config == {"channels": 16}
    with (tmp_path / "whole" / "log.csv").open() as log:
        first = next(iter(csv.DictReader(log)))
    # A new translator changes nothing.
    assert first["validation_self_shift"] == first["validation_input_self_shift"]
    assert float(first["validation_change_psnr"]) == 60
    assert first["validation_restored_pair_psnr"] == first["validation_input_restored_pair_psnr"]
    assert float(first["validation_known_psnr"]) == 60
    assert read_image(tmp_path / "whole" / "samples.png").samples.shape == (2 * 128, 4 * 128, 3)
    with pytest.raises(WeightsError, match="a deblur network is needed"):
        load_network(tmp_path / "whole" / "blur-translator.safetensors", role="deblur")


def test_a_translator_that_does_not_gain_is_written_as_one_that_changes_nothing() -> None:
    module, _ = new_generator(RECIPES["ours"], 1)
    for last in module.ConvsOut:
        torch.nn.init.normal_(last.main[0].weight, 0, 0.05)
    torch.nn.init.normal_(module.feat_extract[-1].main[0].weight, 0, 0.05)
    picture = torch.rand(1, 3, 32, 32)
    gained = {PAIRS.name: 31.0, PAIRS.nothing: 30.5, KNOWN: 45.0, INPUT_PAIR: 30.0}
    assert worth(module, gained) == (module, "")
    harmless, warning = worth(module, gained | {PAIRS.name: 30.4})
    assert "the translator gains -0.10 dB on held-out pairs, 0.05 dB are asked for: what is written" in warning
    assert "takes from clean pictures about what" in worth(module, gained | {INPUT_PAIR: 41.0})[1]
    with torch.no_grad():
        assert torch.equal(harmless.eval()(picture), picture) and not torch.equal(module.eval()(picture), picture)


def held_still(path: Path, deviation: float, count: int = 9) -> Path:
    """Frames of one scene that do not move, with noise, in grey levels."""
    path.mkdir(parents=True)
    scene, rng = picture(7, 9).astype(np.float32) * 0.6 + 50, np.random.default_rng(8)
    for number in range(count):
        frame = scene + rng.normal(0, deviation, scene.shape)
        write_image(path / f"{number}.png", Image(frame.round().clip(0, 255).astype(np.uint8)))
    return path


def test_noise_is_what_changes_in_scenes_that_stand_still(tmp_path: Path) -> None:
    found = read_frames([held_still(tmp_path / "still", 5.0)], 128, "sharp", SILENT)
    assert found[0].noise is None and all(frame.noise is not None for frame in found[1:])
    noise = torch.cat([frame.noise for frame in found[1:] if frame.noise is not None])
    assert 255 * float(noise.std()) == pytest.approx(5.0, rel=0.03)


def test_a_camera_with_next_to_no_noise_teaches_nothing(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shading would be taken for it. What is written changes nothing, at once."""
    held_still(tmp_path / "quiet", 0.6)
    told: list[str] = []
    monkeypatch.setattr(Reporter, "warn", lambda self, words: told.append(words))
    given = options(footage, tmp_path / "out", data=tmp_path / "quiet", iterations=10**6)
    facts = api.train_network("blur2blur", **given)  # type: ignore[arg-type]
    warning = told[-1]
    assert warning.startswith("the camera's noise lies 5") and "do without a translator" in warning
    assert facts["iteration"] == 0
    module = load_network(tmp_path / "out" / "blur-translator.safetensors", role="translate").module.eval()
    shown = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(module(shown), shown)


def test_the_least_blurred_frames_come_first(footage: Path) -> None:
    frames = read_frames([footage / "blurry"], 128, "blurry", SILENT)
    assert len(frames) == 3 and all(frame.pixels.shape == (3, 144, 144) for frame in frames)
    assert [by_blur(frames).index(frame) for frame in frames] == [2, 0, 1]  # cells of 24, 12 and 18 pixels
    learnt, kept = held_out(frames)
    assert len(kept) == 1 and len(learnt) == 2 and not any(frame is kept[0] for frame in learnt)
    low, high = (CameraFrame(Path("b"), torch.zeros(3, 8, 8, dtype=torch.uint8), score) for score in (900.0, 901.0))
    assert by_blur([*frames, high, low])[1].score in (900.0, frames[1].score)  # a scene of its own counts by itself


def test_frames_of_several_sizes_go_together(footage: Path, tmp_path: Path) -> None:
    folder_of(tmp_path / "large", [3], side=600)
    frames = read_frames([footage / "sharp", tmp_path / "large"], 128, "sharp", SILENT)
    assert sorted(frame.pixels.shape[-1] for frame in frames) == [144, 144, 512]


def test_the_same_files_for_both_are_divided_by_scene(tmp_path: Path) -> None:
    for scene in "abcde":
        folder_of(tmp_path / scene, [8, 16])
    every = [tmp_path / scene for scene in "abcde"]
    blurry, sharp = camera_frames(every, every, 128, SILENT)
    assert {frame.scene.name for frame in blurry} == set("abc") and len(blurry) == 6
    assert {frame.scene.name for frame in sharp} <= set("de") and len(sharp) == 2
    with pytest.raises(InputError, match="one scene; give other files"):
        camera_frames(every[:1], every[:1], 128, SILENT)
    with pytest.raises(InputError, match="is in --blurry and in --sharp"):
        camera_frames(every[:2], every[1:], 128, SILENT)


def test_bad_input_is_one_clear_line(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "one", [4])
    folder_of(tmp_path / "small", [4, 4], side=100)
    cases = [
        ({"blurry": tmp_path / "empty"}, "empty holds no videos or pictures; give others to --blurry"),
        ({"data": tmp_path / "empty"}, "empty holds no videos or pictures; give others to --sharp"),
        ({"blurry": tmp_path / "one"}, "one frame .* --blurry; give at least 2 to --blurry"),
        ({"data": tmp_path / "small"}, "no frame of 128x128 .* --sharp; give smaller --crops"),
    ]
    for changes, words in cases:
        with pytest.raises(InputError, match=words):
            api.train_network("blur2blur", **options(footage, tmp_path / "out", **changes))  # type: ignore[arg-type]
    refused = [
        ({"blurry": ()}, "no blurred frames"),
        ({"data": ()}, "no sharp frames"),
        ({"crops": (96,)}, "at least 128"),
        ({"width": 10}, "no multiple of 4"),
        ({"start": "default"}, "no default weights"),
        ({"pairs": tmp_path}, "--pairs is for a blur kernel extractor; give --known"),
    ]
    for changes, words in refused:
        with pytest.raises(UsageError, match=words):
            api.train_network("blur2blur", **options(footage, tmp_path / "out", **changes))  # type: ignore[arg-type]


def test_known_blur_is_that_of_pairs_by_a_kernel_extractor(footage: Path, tmp_path: Path) -> None:
    """Another blur than the synthetic one, from the same sharp frames."""
    torch.manual_seed(0)
    config = {"width": 4, "variational": False}
    about = {"network": "kernel-extractor-small", "config": config, "card": {}, "dtype": torch.float32}
    save_network(tmp_path / "kernel.safetensors", KernelExtractor(**config), **about)  # type: ignore[arg-type]
    for kind in ("blurred", "sharp"):
        folder_of(tmp_path / "pairs" / kind, [4, 6], side=256)
    found = [
        chosen(footage, tmp_path, known=known, pairs=pairs)
        for known, pairs in (("synth", None), (str(tmp_path / "kernel.safetensors"), tmp_path / "pairs"))
    ]
    assert found[0].shape == found[1].shape == (2, 3, 128, 128) and not torch.equal(*found)
    with pytest.raises(InputError, match="has no pairs"):
        chosen(footage, tmp_path, known=str(tmp_path / "kernel.safetensors"), pairs=footage)


def chosen(footage: Path, out: Path, **changes: object) -> Tensor:
    """Two pictures of known blur."""
    chosen = Blur2BlurTraining(
        data=(footage / "sharp",), blurry=(footage / "blurry",), out=out, iterations=1, **changes
    )  # type: ignore[arg-type]
    sharp = read_frames([footage / "sharp"], 128, "sharp", SILENT)
    frames, blur = blur2blur.chosen_known(chosen, sharp, 128, Worker(ComputeOptions()))
    return known_source(frames, 128, blur, torch.device("cpu"))(2, np.random.default_rng(0))[0]


def test_recipes_of_the_options_are_those_of_the_translation() -> None:
    assert tuple(RECIPES) == RECIPE_NAMES
    assert Blur2BlurTraining.known == blur2blur.SYNTH and Blur2BlurTraining.perceptual == blur2blur.AUTO


@pytest.mark.slow
def test_noise_goes_and_known_blur_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known blur passes at 38 dB or better, and pairs gain, of a camera with coarse noise."""
    monkeypatch.undo()
    rng = np.random.default_rng(4)
    for kind, count in (("blurry", 6), ("sharp", 4)):
        (tmp_path / kind).mkdir()
        for number in range(count):
            picture = soft_shapes(10 * count + number, 240)
            if kind == "blurry":
                picture = synthetic_blur(picture[None], rng)[0]
            noise = torch.from_numpy(rng.normal(0, 0.05, picture.shape).astype(np.float32))
            noise = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
            pixels = ((picture + noise).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
            write_image(tmp_path / kind / f"{number}.png", Image(pixels.contiguous().numpy()))
    settings = {"batch": 4, "ring": 48, "iterations": 400, "crops": (128,)}
    api.train_network("blur2blur", **options(tmp_path, tmp_path / "out", **settings))  # type: ignore[arg-type]
    with (tmp_path / "out" / "log.csv").open() as log:
        last = {name: float(value) for name, value in list(csv.DictReader(log))[-1].items()}
    assert last["validation_known_psnr"] > 38
    assert last["validation_pair_psnr"] > last["validation_input_pair_psnr"] + 0.5
