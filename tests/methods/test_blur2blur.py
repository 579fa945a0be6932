"""Blur2Blur: what is translated, how often, what a video teaches, what is undone, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import read_planes
from end_to_end import write_video
from moving import HALTING, frames
from small_networks import placed, randomised
from torch import Tensor, nn

from deblurcli import api
from deblurcli.adaptation import translated_frames
from deblurcli.adaptation.survey import SupportPatch, survey
from deblurcli.adaptation.translated_frames import TranslatedFootage, Translator
from deblurcli.adaptation.translation import RECIPES, new_generator
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import UsageError, WeightsError
from deblurcli.media.footage import PictureFootage, VideoFootage
from deblurcli.methods import method_options
from deblurcli.methods.blur2blur import learn, parted
from deblurcli.networks import NETWORKS
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

CPU = pick_device("cpu", "fp32")
SPEC = NETWORKS["blur-translator"]
WIDTH = {"width": 8, "blocks": 1}
EXACT: dict[str, Any] = {"codec": "ffv1", "device": "cpu", "dtype": "fp32"}
LEARNING: dict[str, Any] = {"patches": 2, "patch_size": 128, "batch": 1, "steps": 2, "rate": 1e-2, "guard": "off"}


def translating(scale: float) -> nn.Module:
    """A translator: of nothing where ``scale`` is 0."""
    generator, _ = new_generator(RECIPES["ours"], 1, **WIDTH)
    return randomised(generator, 3, scale) if scale else generator


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A clip, a network of one frame and one of three, and two translators: of nothing, and of something."""
    folder = tmp_path_factory.mktemp("files")
    found = {"clip": write_video(folder / "clip.mkv", frames(HALTING, 0.6, 2.2, 0.0)[0])}
    single = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1}
    several = {"frames": 3, "steps": [0.5, 1.0], "width": 16, "deep_width": 16, "blocks": [0, 1, 1], "base": single}
    for name, network, config in (("one", "plain-unet", single), ("three", "video-unet", several)):
        found[name] = folder / f"{name}.safetensors"
        module = randomised(NETWORKS[network].build(**config), 1, 0.3)
        save_network(found[name], module, network=network, config=config, card={})
    for name, scale in (("nothing", 0.0), ("something", 0.5)):
        found[name] = folder / f"{name}.safetensors"
        card = {"config": WIDTH}
        save_network(found[name], translating(scale), network="blur-translator", config=WIDTH, card=card)
    return found


Run = Callable[..., tuple[Any, list[bytes]]]


@pytest.fixture
def run(files: dict[str, Path], tmp_path: Path) -> Run:
    """A method on the clip: the result, and the samples of the output."""

    def restored(method: str = "blur2blur", network: str = "one", **options: Any) -> tuple[Any, list[bytes]]:
        out = tmp_path / "out.mkv"
        given = EXACT | {"method": method, "network": files[network], "overwrite": True} | options
        return api.deblur_video(files["clip"], out, **given), read_planes(out)

    return restored


@pytest.mark.parametrize("network", ["one", "three"])
@pytest.mark.parametrize("tile", ["off", 64])
def test_a_translator_of_nothing_changes_nothing(run: Run, files: dict[str, Path], network: str, tile: Any) -> None:
    _, plain = run("none", network, tile=tile)
    result, same = run(network=network, tile=tile, translator=files["nothing"])
    _, other = run(network=network, tile=tile, translator=files["something"])
    assert same == plain and other != plain
    (record,) = result.facts["adaptations"]
    assert record["method"] == "blur2blur" and record["kept"] and record["translator"] == "nothing"
    assert result.facts["weights"]["nothing"] == load_network(files["nothing"], role="translate").sha256
    assert any(line.startswith("translated: every frame by nothing in ") for line in result.lines)


@pytest.mark.parametrize("network", ["one", "three"])
def test_each_frame_is_translated_once(
    run: Run, files: dict[str, Path], network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, works = [], Translator.picture

    def counted(self: Translator, frame: Tensor) -> Tensor:
        calls.append(frame)
        return works(self, frame)

    monkeypatch.setattr(Translator, "picture", counted)
    result, _ = run(network=network, translator=files["something"])
    count = result.facts["frames"]
    assert len(calls) == count == len(list(VideoFootage(files["clip"]).pictures()))
    assert result.facts["adaptations"][0]["translated_frames"] == count


def test_what_is_restored_is_what_is_saved_as_translated(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    """The translated video has 8 bits, so that the two ways differ by rounding alone."""
    saved = tmp_path / "translated.mkv"
    result, _ = run(translator=files["something"], save_translated=saved)
    assert f"translated frames: {saved}" in result.lines
    translator = Translator(translating(0.5), SPEC, CPU)
    wanted = list(TranslatedFootage(VideoFootage(files["clip"]), translator).pictures())
    found = list(VideoFootage(saved).pictures())
    before = list(VideoFootage(files["clip"]).pictures())
    assert len(found) == len(wanted)
    for one, other, old in zip(found, wanted, before, strict=True):
        assert float((one - other).abs().max()) <= 1 / 255 < float((old - other).abs().max())
    for given, words in (({"method": "none"}, "--method none"), ({"method": "meta"}, "--method meta")):
        with pytest.raises(UsageError, match=f"--save-translated with {words}; give --method blur2blur"):
            run(save_translated=tmp_path / "another.mkv", **given)
    with pytest.raises(UsageError, match="exists; use --overwrite"):
        run(translator=files["something"], save_translated=saved, overwrite=False, network="three")


def test_a_method_follows_on_the_translated_frames(run: Run, files: dict[str, Path]) -> None:
    """Behind a translator of nothing, the methods do what they do alone."""
    small = {"method": "tta", "seed": None}
    _, alone = run(**{**small, "method": "tta"})
    result, same = run(translator=files["nothing"], then="tta")
    _, other = run(translator=files["something"], then="tta")
    assert same == alone != other
    assert [record["method"] for record in result.facts["adaptations"]] == ["blur2blur", "tta"]


def test_meta_surveys_what_the_translator_gives(files: dict[str, Path]) -> None:
    footage = VideoFootage(files["clip"])
    same = TranslatedFootage(footage, Translator(translating(0.0), SPEC, CPU))
    for one, other in zip(footage.previews(), same.previews(), strict=True):
        assert one.dtype == other.dtype == torch.uint8 and torch.equal(one, other)
    changed = TranslatedFootage(footage, Translator(translating(0.5), SPEC, CPU))
    assert not torch.equal(next(footage.previews()), next(changed.previews()))


def test_a_frame_that_comes_out_broken_stays() -> None:
    generator = translating(0.5)
    with torch.no_grad():
        next(generator.parameters()).fill_(float("nan"))
    translator, frame = Translator(generator, SPEC, CPU), torch.rand(3, 40, 52)
    assert torch.equal(translator.picture(frame), frame) and translator.broken == 1 == translator.frames
