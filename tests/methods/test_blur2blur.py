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
from torch import Tensor
from translators import SMALL, translating, translation_files

from deblurcli import api
from deblurcli.adaptation.survey import SupportPatch, survey
from deblurcli.adaptation.translated_frames import TranslatedFootage, Translator
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import UsageError, WeightsError
from deblurcli.media.footage import VideoFootage
from deblurcli.media.images import Image, read_image, write_image
from deblurcli.methods import blur2blur, method_options
from deblurcli.methods.blur2blur import learn, parted
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks import NETWORKS
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.weights.load import load_network

CPU = pick_device("cpu", "fp32")
SPEC = NETWORKS["blur-translator"]
EXACT: dict[str, Any] = {"codec": "ffv1", "device": "cpu", "dtype": "fp32"}
LEARNING: dict[str, Any] = {"patches": 2, "patch_size": 128, "batch": 1, "steps": 2, "rate": 1e-2, "guard": "off"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return translation_files(tmp_path_factory.mktemp("files"))


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


@pytest.mark.parametrize(
    ("then", "small"),
    [
        ("tta", {"steps": 1, "tta_frames": 1}),
        ("meta", {"steps": 1, "patches": 2, "patch_size": 128, "guard": "off", "rate": 1e-3}),
    ],
)
def test_a_method_follows_on_the_translated_frames(
    run: Run, files: dict[str, Path], then: str, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a translator of nothing, the methods do what they do alone."""
    for name, kind in (("TtaOptions", TtaOptions), ("MetaOptions", MetaOptions)):
        if name.lower().startswith(then):
            monkeypatch.setattr(blur2blur, name, lambda kind=kind, **given: kind(**small, **given))
    _, alone = run(then, **small)
    result, same = run(translator=files["nothing"], then=then)
    _, other = run(translator=files["something"], then=then)
    assert same == alone != other
    assert [record["method"] for record in result.facts["adaptations"]] == ["blur2blur", then]
    assert [line.partition(":")[0] for line in result.lines[:2]] == ["translated", "adapted"]


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


# Learnt from the video itself


@pytest.fixture(scope="module")
def patches() -> list[SupportPatch]:
    return survey(frames(HALTING, 0.6, 2.2, 0.0)[0], patches=4, size=128, seed=2, usual=4).patches


def test_pieces_are_parted_beside_others_of_their_place(patches: list[SupportPatch]) -> None:
    """Those from the blurriest and the sharpest crop, whose scores the survey has told, are on their sides."""
    sharp, blurred = parted(patches)
    for patch in patches:
        assert patch.window is not None and patch.blurriest is not None
        assert any(torch.equal(piece, patch.window[2]) for piece in sharp)
        assert any(torch.equal(piece, patch.blurriest) for piece in blurred)
        assert not any(torch.equal(piece, patch.blurriest) for piece in sharp)
    scores = [score(piece) for piece in blurred]
    assert min(scores) > max(score(patch.clip(CPU.where)[0, 2]) for patch in patches[:1])
    still = survey([frames(HALTING, 0.6, 2.2, 0.0)[0][0]] * 6, patches=2, size=128, seed=2)
    assert parted(still.patches) == ([], [])


def score(picture: Tensor) -> float:
    return float(self_shift_score(picture[None].clone())[0])


def test_what_is_learnt_from_is_blurred_and_what_is_wanted_is_sharp_with_known_blur() -> None:
    """The known blur is asked for with sharp pieces alone, and by the seed."""
    clip = frames(HALTING, 0.6, 2.2, 0.0)[0]
    found = survey(clip, patches=6, size=128, seed=43, usual=4)
    network = placed(randomised(NETWORKS["plain-unet"].build(**SMALL), 1, 0.3), "plain-unet")
    seen: list[Tensor] = []

    def known(sharp: Tensor, rng: np.random.Generator) -> Tensor:
        seen.append(sharp)
        return sharp * 0.5

    options = Blur2BlurOptions(**LEARNING)
    generator, outcome = learn(network, found, options, Reporter.silent(), known=known)
    assert generator is not None and outcome.kept and outcome.losses["reconstruction_losses"] == []
    assert len(outcome.losses["pairs_losses"]) == len(seen) == 2
    assert outcome.losses["critic_losses"] == outcome.losses["adversarial_losses"] == []  # joins at four fifths
    sharp, _ = parted(found.patches[: options.patches])
    assert seen[0].shape == (1, 3, 128, 128)
    turned = [piece.rot90(turn, (-2, -1)) for piece in sharp for turn in range(4)]
    assert all(any(torch.equal(one[0], p) or torch.equal(one[0], p.flip(-1)) for p in turned) for one in seen)


def test_a_translator_learnt_from_the_video_is_kept_and_gives_the_same_frames(run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "mine.safetensors"
    result, learnt = run(save_translator=saved, **LEARNING)
    assert f"translator: {saved}" in result.lines and result.differences == []
    assert run(translator=saved)[1] == learnt != run("none")[1]
    assert run(**LEARNING)[1] == learnt, "the same in every run"
    found = load_network(saved, role="translate")
    assert found.card["learnt_from"] == "clip.mkv" and found.card["options"]["steps"] == 2
    json.dumps(result.facts)


def test_where_no_gain_is_seen_frames_stay_untranslated_and_it_is_said(run: Run, tmp_path: Path) -> None:
    """What spoils every picture cannot gain."""
    saved, shown = tmp_path / "mine.safetensors", tmp_path / "translated.mkv"
    spoiling = LEARNING | {"rate": 0.3, "guard": "strata", "patches": 4}
    result, same = run(save_translator=saved, save_translated=shown, **spoiling)
    assert same == run("none")[1]
    record = result.facts["adaptations"][0]
    assert not record["kept"] and record["reason"].startswith("the guard saw a gain of -")
    assert len(record["looks"]) == 2 and max(look["gain"] for look in record["looks"]) < 0
    assert any(line.startswith("translation undone after 2 steps on ") for line in result.lines)
    undone = "the translation was undone"
    assert f"{undone}, {saved} was not written" in result.differences and not saved.exists()
    assert f"{undone}, {shown} shows the frames as they are" in result.differences and shown.exists()


def test_a_video_that_is_always_as_sharp_teaches_nothing(tmp_path: Path, files: dict[str, Path]) -> None:
    still = write_video(tmp_path / "still.mkv", [frames(HALTING, 0.6, 2.2, 0.0)[0][0]] * 6)
    given = EXACT | {"method": "blur2blur", "network": files["one"]} | LEARNING
    result = api.deblur_video(still, tmp_path / "out.mkv", **given)
    (record,) = result.facts["adaptations"]
    assert record["reason"] == "hardly any moment is blurrier than the sharpest one of its place"


@pytest.mark.parametrize(("noise", "kept"), [(0.002, False), (0.03, True)])
def test_a_video_with_next_to_no_noise_teaches_nothing(noise: float, kept: bool) -> None:
    """What its smooth parts show would be taken for noise, and detail like it would be taken away."""
    clip = frames((0, 0, 0, 0, 12, 24, 12, 0, 0, 0, 0), 0.6, 2.2, noise)[0]
    found = survey(clip, patches=6, size=128, seed=43, usual=4)
    network = placed(randomised(NETWORKS["plain-unet"].build(**SMALL), 1, 0.3), "plain-unet")
    generator, outcome = learn(network, found, Blur2BlurOptions(**LEARNING), Reporter.silent())
    assert (generator is not None) == outcome.kept == kept
    told = "its noise lies 56 dB below full scale, too little to learn from"
    assert outcome.reason == ("without a guard" if kept else told)


def test_the_budget_is_the_clocks_where_no_steps_are_given(run: Run) -> None:
    result, _ = run(**{**LEARNING, "steps": None}, minutes=0.05)
    (record,) = result.facts["adaptations"]
    assert record["critic_losses"] and 3 <= record["seconds"] < 60
    assert Blur2BlurOptions().seconds == 600


# Refused


def test_a_translator_that_is_none_is_refused_in_one_line(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(files["something"].read_bytes()[:-100])
    for path, words in (
        (files["one"], "'plain-unet' is a deblur network; a translate network is needed here"),
        (damaged, "damaged"),
        (tmp_path / "missing.safetensors", "missing.safetensors"),
    ):
        with pytest.raises(WeightsError, match=words) as refused:
            run(translator=path)
        assert "\n" not in str(refused.value)
    with pytest.raises(WeightsError, match="a deblur network is needed here"):
        run("none", network="something")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"translator": "t.safetensors", "minutes": 1}, "--minutes with --translator"),
        ({"translator": "t.safetensors", "steps": 1}, "--steps with --translator"),
        ({"minutes": 1, "steps": 1}, "--minutes and --steps exclude each other"),
        ({"translator": ""}, "--translator is empty"),
        ({"translator": "default"}, "none comes along"),
        ({"crop": 100}, "--crop"),
        ({"crop": 144}, "give a multiple of 32"),
        ({"then": "reblur2deblur"}, "--then reblur2deblur is unknown; give one of none, meta, tta"),
    ],
)
def test_options_that_do_not_fit_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        method_options("blur2blur", given)


def test_files_that_do_not_fit_are_refused(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    for given, words in (
        ({"save_translator": tmp_path / "a.pth"}, "let it end in .safetensors"),
        ({"save_translator": tmp_path / "a.safetensors", "translator": files["nothing"]}, "which is a file already"),
        ({"save_translated": tmp_path / "out.mkv"}, "is the restored video"),
        ({"save_adapted": tmp_path / "a.safetensors"}, "--save-adapted with --method blur2blur"),
        ({"save_translated": files["clip"]}, "is the input"),
    ):
        with pytest.raises(UsageError, match=words):
            run(**given)


# In memory, and images


def test_frames_in_memory_are_translated_too(files: dict[str, Path], tmp_path: Path) -> None:
    pictures = frames(HALTING, 0.6, 2.2, 0.0)[0][:3]
    given: dict[str, Any] = {"network": files["one"], "device": "cpu", "dtype": "fp32"}
    network = api.adapt(pictures, method="blur2blur", translator=files["something"], **given)
    plain = api.adapt(pictures, method="none", **given)
    frame = Translator(translating(0.5), SPEC, CPU).picture(pictures[0])
    assert torch.allclose(network(pictures[0]), plain(frame), atol=1e-6)
    with pytest.raises(UsageError, match="one file holds one network"):
        network.save(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="then='meta' needs the frames twice"):
        api.adapt(pictures, method="blur2blur", then="meta", **given)


def test_images_are_translated_too(files: dict[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    write_image(source, Image(np.random.default_rng(1).integers(256, size=(70, 90, 3), dtype=np.uint8)))
    found = {}
    for name in ("none", "nothing", "something"):
        out, translator = tmp_path / f"{name}.png", None if name == "none" else files[name]
        result = api.deblur_image(source, out, network=files["one"], translator=translator, device="cpu", dtype="fp32")
        found[name] = read_image(out).samples
    assert np.array_equal(found["none"], found["nothing"]) and not np.array_equal(found["none"], found["something"])
    assert any(line.startswith("translated: the picture by something in ") for line in result.lines)
    with pytest.raises(WeightsError, match="a translate network is needed here"):
        api.deblur_image(source, tmp_path / "a.png", translator=files["one"])
