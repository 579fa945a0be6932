"""Test-time adaptation: what a step looks at, what it changes, what stays, and both commands with it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip, read_planes, read_times
from skimage.exposure import match_histograms
from small_networks import randomised, same, weights
from torch import Tensor, nn

from deblurcli import api
from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.adaptation.samples import Sample, Splitter, evenly, split
from deblurcli.adaptation.tone_curves import ToneCurves, matched
from deblurcli.cli.app import run
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import DeblurError
from deblurcli.files import OutputFile
from deblurcli.media.clips import ClipWriter
from deblurcli.media.footage import VideoFootage
from deblurcli.media.reader import VideoReader
from deblurcli.methods.tta import Adapter, EachPicture, adapted_to_all, trained_for
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.weights.load import LoadedNetwork, load_network
from deblurcli.weights.save import save_adapted, save_network

CPU = pick_device("cpu", "fp32")
TINY = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1}
OPTIONS = TtaOptions(steps=3, rate=1e-4)
SILENT = Reporter.silent()


def loaded(module: nn.Module, network: str) -> LoadedNetwork:
    return LoadedNetwork(module, NETWORKS[network], {}, network, "", network, {})


@pytest.fixture(scope="module")
def deblur() -> LoadedNetwork:
    return loaded(randomised(NETWORKS["plain-unet"].build(**TINY), 1, 0.3), "plain-unet")


@pytest.fixture(scope="module")
def reblur() -> LoadedNetwork:
    return loaded(randomised(NETWORKS["reblurring-module"].build(blocks=2), 2), "reblurring-module")


@pytest.fixture(scope="module")
def files(deblur: LoadedNetwork, reblur: LoadedNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The options that name the two networks, as files."""
    folder = tmp_path_factory.mktemp("weights")
    save_network(folder / "d.safetensors", deblur.module, network="plain-unet", config=TINY, card={})
    save_network(folder / "r.safetensors", reblur.module, network="reblurring-module", config={"blocks": 2}, card={})
    return {"network": str(folder / "d.safetensors"), "tta_reblur": str(folder / "r.safetensors")}


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(1, 3, height // 6 + 2, width // 6 + 2, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0].clamp(0, 1)


def adapter(deblur: LoadedNetwork, reblur: LoadedNetwork, options: TtaOptions = OPTIONS, tile: str = "off") -> Adapter:
    return Adapter(Placed(deblur, deblur.module, CPU), Placed(reblur, reblur.module, CPU), options, tile)


def each_picture(deblur: LoadedNetwork, reblur: LoadedNetwork, options: TtaOptions = OPTIONS) -> EachPicture:
    return EachPicture(adapter(deblur, reblur, options), "the picture")


@pytest.mark.parametrize("levels", [None, 12])
def test_histogram_matching_is_that_of_scikit_image(levels: int | None) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random((3, 40, 50), np.float32), rng.random((3, 31, 27), np.float32) ** 2
    if levels:  # with many equal values
        one, other = np.round(one * levels) / levels, np.round(other * levels) / levels
    wanted = match_histograms(one.transpose(1, 2, 0), other.transpose(1, 2, 0), channel_axis=2)
    found = matched(torch.from_numpy(one), torch.from_numpy(other))
    assert np.array_equal(found.permute(1, 2, 0).numpy(), wanted.astype(np.float32))
    assert torch.equal(matched(found, found), found)


def test_tone_curves_are_histogram_matching_learnt_once() -> None:
    reference = picture(64, 80)
    drifted = (0.9 * reference ** torch.tensor([0.9, 1.0, 1.2])[:, None, None] + 0.03).clamp(0, 1)
    curves = ToneCurves.between([drifted[:, :32], drifted[:, 32:]], [reference[:, :32], reference[:, 32:]])
    assert (curves(drifted) - reference).abs().max() < 0.02 < (drifted - reference).abs().max()
    steps = curves(torch.linspace(-2, 3, 640).expand(3, 1, 640))
    assert (steps.diff(dim=-1) > -1 / 4096).all() and (steps[..., [0, -1]] - torch.tensor([-2, 3])).abs().max() < 0.1


def test_pieces_cover_the_picture_once() -> None:
    for height, width, pixels in ((720, 1280, 230400), (100, 37, 1000), (1, 5, 4096), (64, 64, 4096)):
        seen = torch.zeros(height, width, dtype=torch.int)
        pieces = split(height, width, lambda h, w, p=pixels: h * w <= p, 20, 8)
        for (y, x, h, w), (dy, dx, ch, cw) in pieces:
            assert min(y, x) >= 0 and y + h <= height and x + w <= width and y % 8 == x % 8 == 0
            assert all(room >= 20 or edge for room, edge in ((dy, y == 0), (dx, x == 0)))
            assert all(
                room >= 20 or edge for room, edge in ((h - dy - ch, y + h == height), (w - dx - cw, x + w == width))
            )
            assert ch * cw <= pixels * 1.2
            seen[y + dy : y + dy + ch, x + dx : x + dx + cw] += 1
        assert (seen == 1).all()
    assert len(split(720, 1280, lambda h, w: h * w <= 230400, 72, 8)) == 4


def test_smaller_pieces_of_a_sample_count_the_same_pixels() -> None:
    """Until there is nothing smaller, when memory has run out."""
    whole = torch.arange(3 * 200 * 264.0).reshape(3, 200, 264)
    sample = Sample(whole, (64, 0, 136, 200))
    splitter = Splitter(replace(NETWORKS["plain-unet"], stride=8), 24, 10**6, math.inf)
    assert splitter.pieces(sample) == [sample]
    areas = [sample.area]
    while splitter.smaller([sample]):
        pieces = splitter.pieces(sample)
        areas.append(max(piece.area for piece in pieces))
        seen = torch.cat([piece.cut(piece.frames).flatten() for piece in pieces])
        assert torch.equal(seen.sort().values, sample.cut(whole).flatten().sort().values)
    assert len(areas) == 4 and areas == sorted(areas, reverse=True) and areas[-1] < 2 * 64**2
    whole_picture = Splitter(NETWORKS["dmphn"], 24, 10**6, math.inf)
    assert not whole_picture.smaller([sample]) and whole_picture.pieces(sample) == [sample]


def test_items_are_kept_evenly_spread_however_many_there_are() -> None:
    assert evenly([], 3, str) == []
    assert evenly(range(2), 3, str) == ["0", "1"]
    for total in (3, 7, 100, 1000):
        kept = evenly(range(total), 4, int)
        gaps = np.diff([-1, *kept, total])
        assert len(kept) == min(4, total) and gaps.min() > 0 and gaps.max() <= max(1, total / 2)


def test_the_loss_of_the_pieces_is_that_of_the_whole_picture(deblur: LoadedNetwork, reblur: LoadedNetwork) -> None:
    """And so is its gradient, to rounding: what each piece counts is judged as in the whole picture."""
    whole = picture(37, 201)
    # What these two networks see in each direction: 40 pixels and the borders of cells of 8, and 12.
    context, step = 48 + 12, 8
    narrow = replace(deblur, spec=replace(deblur.spec, multiple_of=8, stride=None, overlap=48))
    near = adapter(narrow, replace(reblur, spec=replace(reblur.spec, overlap=12)))
    pieces = split(37, 201, lambda h, w: h * w <= 2600, context, step)
    assert len(pieces) == 3 and all(around[3] < 201 for around, _ in pieces)
    samples = [Sample(whole[:, y : y + h, x : x + w], counted) for (y, x, h, w), counted in pieces]
    found = []
    for some in (samples, [Sample(whole, (0, 0, 37, 201))]):
        near.adapting.requires_grad_(True).zero_grad()
        total = torch.zeros(())
        for sample in some:
            loss = near.loss(sample)
            loss.backward()
            total += loss.detach()
        found.append((float(total), [p.grad.clone() for p in near.adapting.parameters()]))  # type: ignore[union-attr]
    (tiled, tiled_gradients), (one, one_gradients) = found
    assert tiled == pytest.approx(one, rel=1e-5)
    for a, b in zip(tiled_gradients, one_gradients, strict=True):
        assert (a - b).norm() < 1e-4 * b.norm()


def test_steps_go_through_the_pieces_the_most_detailed_ones_first(deblur: LoadedNetwork, reblur: LoadedNetwork) -> None:
    shown = picture(96, 128)
    shown[:, :, :64] = 0.5 + 0.1 * shown[:, :, :64]
    tuner = adapter(deblur, reblur, replace(OPTIONS, steps=5, tta_pixels=4096))
    samples = tuner.samples([shown])
    assert len(samples) == 4 and sum(sample.pixels for sample in samples) == 96 * 128
    spread = [float(sample.cut(sample.frames).std()) for sample in samples]
    assert min(spread[:2]) > max(spread[2:])
    seen: list[int] = []
    counted = Adapter.loss

    def loss(sample: Sample) -> Tensor:
        seen.append(next(i for i, known in enumerate(samples) if known is sample))
        return counted(tuner, sample)

    tuner.loss = loss  # type: ignore[method-assign]
    tuner.adapt(samples, 1)
    tuner.adapt(samples, 3)
    assert seen == [0, 1, 2, 3, 0, *([0, 1, 2, 3] * 4)[:15]]


def test_the_loss_falls_and_the_original_stays(deblur: LoadedNetwork, reblur: LoadedNetwork) -> None:
    before = weights(deblur.module)
    tuner = adapter(deblur, reblur, replace(OPTIONS, steps=4, rate=3e-4))
    samples = tuner.samples([picture(64, 96)])
    losses = tuner.adapt(samples, 1)
    assert len(losses) == 4 and losses[-1] < 0.99 * losses[0] and losses == sorted(losses, reverse=True)
    moved = weights(tuner.module)
    assert not same(moved, before) and same(weights(deblur.module), before)
    assert not any(p.requires_grad for p in tuner.module.parameters()) and not tuner.module.training
    assert tuner.adapt(samples, 1) == losses and same(weights(tuner.module), moved), "every time from the original"


def test_equal_inputs_give_equal_results_in_the_unadapted_colours(deblur: LoadedNetwork, reblur: LoadedNetwork) -> None:
    shown = picture(70, 93)
    restorer = each_picture(deblur, reblur, replace(OPTIONS, rate=1e-3))
    plain, first = restorer.plain([shown]).clamp(0, 1), restorer([shown])
    restorer([picture(64, 64, seed=5)])  # leaves no trace
    assert torch.equal(restorer([shown]), first) and torch.equal(
        each_picture(deblur, reblur, replace(OPTIONS, rate=1e-3))([shown]), first
    )
    assert (first - plain).abs().mean() > 1e-3
    assert (first.mean((1, 2)) - plain.mean((1, 2))).abs().max() < 0.5 / 255
    assert (first.flatten(1).sort().values - plain.flatten(1).sort().values).abs().mean() < 0.1 / 255
    done = restorer.outcome
    assert done.kept and done.facts["adaptations"] == 3 and len(done.losses["losses"]) == 3
    json.dumps(done.record())


class Breaks(nn.Module):
    """A reblurring module that gives no numbers, the second time it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 0.5 * x * (float("nan") if self.calls == 2 else 1)


@pytest.mark.parametrize(("rate", "word"), [(1e-4, "became nan"), (0.5, "")])
def test_what_fails_leaves_the_unadapted_result(
    deblur: LoadedNetwork, reblur: LoadedNetwork, rate: float, word: str
) -> None:
    """A loss that is no number, and a rate that breaks the network."""
    broken = replace(reblur, module=Breaks()) if word else reblur
    shown = picture(64, 64)
    restorer = each_picture(deblur, broken, replace(OPTIONS, rate=rate))
    assert torch.equal(restorer([shown]), restorer.plain([shown]).clamp(0, 1))
    done = restorer.outcome
    assert not done.kept and done.facts["undone"] == 1 and word in done.reason
    assert "undone" in done.line() and done.record()["kept"] is False


@pytest.mark.parametrize("name", [name for name, spec in NETWORKS.items() if spec.role == "deblur"])
def test_every_deblurring_network_can_adapt(name: str, reblur: LoadedNetwork) -> None:
    small = {
        "plain-unet": TINY,
        "video-unet": {"width": 8, "deep_width": 8, "blocks": [0, 1, 0], "base": TINY},
        "mimo-unet": {"blocks": 1, "width": 4},
        "mimo-unet-plus": {"blocks": 1, "dropout": 0.1, "width": 4},
        "nafnet-w32": {"width": 4, "encoders": [1, 1], "decoders": [1, 1]},
        "nafnet-w64": {"width": 4, "encoders": [1, 1], "decoders": [1, 1]},
        "restormer": {"width": 8, "blocks": [1, 1, 1, 1], "refinement": 1},
        "mprnet": {"width": 8, "step": 4, "extra": 4, "blocks": 1},
        "residual-unet": {"blocks": 1},
        "deblurgan": {"blocks": 1},
    }
    spec, torch_state = NETWORKS[name], torch.random.get_rng_state()
    torch.manual_seed(0)
    module = spec.build(**{**(spec.config or {}), **small.get(name, {})}).eval()
    torch.random.set_rng_state(torch_state)
    network = replace(loaded(module, name), spec=spec)
    if spec.alone:
        randomised(module.get_submodule(spec.alone), 3, 0.3)
    before = weights(module)
    tuner = adapter(network, reblur, replace(OPTIONS, steps=1))
    window = [picture(64, 64, seed) for seed in range(spec.window)]
    (loss,) = tuner.adapt(tuner.samples(window), 1)
    assert 0 < loss < 10 and same(weights(module), before) and not same(weights(tuner.module), before)
    statistics = dict(module.named_buffers())
    assert all(torch.equal(value, statistics[key]) for key, value in tuner.module.named_buffers()), "they stay"


def test_images_adapt_one_by_one_in_a_batch(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in (1, 2):
        samples = (picture(60, 76, seed) * 255).byte().permute(1, 2, 0).numpy()
        cv2.imwrite(str(folder / f"{seed}.png"), samples)
    chosen = ["--network", files["network"], "--tta-reblur", files["tta_reblur"], "--rate", "1e-3", "--log", "json"]
    for steps in (0, 2):
        assert run(["image", str(folder), "-o", f"{tmp_path / str(steps)}/", "--tta-steps", str(steps), *chosen]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    found = [row.get("adaptations") for row in rows if row["type"] == "summary"]
    assert found[:2] == [None, None] and [len(made[0]["losses"]) for made in found[2:]] == [2, 2]
    for seed in (1, 2):
        name = f"{seed}.png"
        api.deblur_image(folder / name, tmp_path / "plain.png", network=files["network"], overwrite=True)
        plain, zero, two = (
            cv2.imread(str(p)) for p in (tmp_path / "plain.png", tmp_path / "0" / name, tmp_path / "2" / name)
        )
        assert np.array_equal(plain, zero) and not np.array_equal(plain, two)
        assert np.abs(plain.mean((0, 1)) - two.mean((0, 1))).max() < 0.5


def write_clip(path: Path, frames: int = 6) -> Path:
    wide = picture(64, 128)
    with OutputFile(path) as output, ClipWriter(output, Fraction(25)) as writer:
        for index in range(frames):
            writer.write(wide[:, :, 4 * index : 4 * index + 80])
    return path


def pictures(path: Path) -> Tensor:
    with VideoReader(path) as reader:
        return torch.stack([frame.rgb() for frame in reader.frames()])


LOSSLESS = {"codec": "ffv1", "dtype": "fp32", "overwrite": True}


@pytest.mark.parametrize("per", ["video", "frame"])
def test_a_video_adapts_once_or_frame_by_frame(files: dict[str, str], tmp_path: Path, per: str) -> None:
    source, out = write_clip(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    options = {"method": "tta", "adapt_per": per, "steps": 3, "rate": 1e-3, **files, **LOSSLESS}
    summary = api.deblur_video(source, out, tta_frames=4, **options)
    api.deblur_video(source, tmp_path / "plain.mkv", method="none", network=files["network"], **LOSSLESS)
    (done,) = summary.facts["adaptations"]
    assert done["kept"] and len(done["losses"]) == 3 and done["adaptations"] == (1 if per == "video" else 6)
    assert len(summary.facts["weights"]) == 2 and summary.differences == []
    assert any(("4 frames together" if per == "video" else "each frame") in line for line in summary.lines)
    assert read_times(out) == read_times(source)
    adapted, plain = pictures(out), pictures(tmp_path / "plain.mkv")
    assert (adapted - plain).abs().mean() > 1 / 255
    assert (adapted.mean((2, 3)) - plain.mean((2, 3))).abs().max() < (1.5 if per == "video" else 0.6) / 255
    first = read_planes(out)
    api.deblur_video(source, out, tta_frames=4, **options)
    assert read_planes(out) == first


def test_a_frame_adapted_alone_is_that_picture_adapted(files: dict[str, str], tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", 3)
    options = {"steps": 2, "rate": 1e-3, **files}
    api.deblur_video(source, tmp_path / "out.mkv", method="tta", adapt_per="frame", **options, **LOSSLESS)
    frame, result = pictures(source)[1], pictures(tmp_path / "out.mkv")[1]
    d, r = (load_network(files[k], role=role) for k, role in (("network", "deblur"), ("tta_reblur", "reblur-image")))  # type: ignore[arg-type]
    alone = each_picture(d, r, TtaOptions(steps=2, rate=1e-3))([frame])
    assert (alone - result).abs().max() < 2.5 / 255


def test_no_steps_give_the_plain_video(files: dict[str, str], tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", 3)
    api.deblur_video(source, tmp_path / "a.mkv", method="tta", steps=0, **files, **LOSSLESS)
    api.deblur_video(source, tmp_path / "b.mkv", method="none", network=files["network"], **LOSSLESS)
    assert read_planes(tmp_path / "a.mkv") == read_planes(tmp_path / "b.mkv")


def test_an_adaptation_to_a_video_is_saved(files: dict[str, str], tmp_path: Path) -> None:
    source, saved = write_clip(tmp_path / "in.mkv", 4), tmp_path / "adapted.safetensors"
    options = {"method": "tta", "rate": 1e-3, "save_adapted": saved, **files, **LOSSLESS}
    summary = api.deblur_video(source, tmp_path / "out.mkv", **options)
    assert summary.differences == [] and str(saved) in " ".join(summary.lines)
    found, original = load_network(saved, role="deblur"), load_network(files["network"], role="deblur")
    assert found.card["adapted_to"] == "in.mkv" and found.card["adaptation"]["options"]["rate"] == 1e-3
    assert not same(weights(found.module), weights(original.module))


def test_an_adaptation_to_a_video_that_fails_is_said_and_not_saved(
    deblur: LoadedNetwork, reblur: LoadedNetwork, tmp_path: Path
) -> None:
    frame, source = picture(64, 80), write_clip(tmp_path / "in.mkv", 3)
    for rate, judge, word in ((1e-4, Breaks(), "nan"), (0.5, reblur.module, "broken")):
        tuner = adapter(deblur, replace(reblur, module=judge), replace(OPTIONS, rate=rate, tta_frames=2))
        restorer = adapted_to_all(tuner, [VideoFootage(source)], SILENT)
        assert not restorer.outcome.kept and word in restorer.outcome.line()
        assert torch.equal(restorer([frame]), Restorer(deblur.module, deblur.spec, CPU)([frame]))


def test_a_network_of_several_frames_adapts_its_single_frame_part(reblur: LoadedNetwork, tmp_path: Path) -> None:
    module = NETWORKS["video-unet"].build(width=8, deep_width=8, blocks=[0, 1, 0], base=TINY)
    network = loaded(randomised(module, 4, 0.2), "video-unet")
    frames = [picture(64, 80, seed) for seed in (1, 2, 3)]
    alone = each_picture(network, reblur, replace(OPTIONS, rate=1e-3))
    assert (alone(frames) - alone.plain(frames)).abs().mean() > 1e-3
    fusion = alone.adapter.module.get_submodule("fusion")
    assert same(weights(fusion), weights(network.module.get_submodule("fusion")))
    footage = VideoFootage(write_clip(tmp_path / "in.mkv"))
    together = adapted_to_all(adapter(network, reblur, replace(OPTIONS, tta_frames=3)), [footage], SILENT)
    assert together.outcome.kept and together(frames).shape == frames[0].shape


@pytest.mark.parametrize("name", ["plain-unet", "video-unet"])
def test_of_several_scales_all_weights_adapt(name: str, reblur: LoadedNetwork, tmp_path: Path) -> None:
    config: dict[str, object] = TINY | {"scales": 3}
    if name == "video-unet":
        config = {"width": 8, "deep_width": 8, "blocks": [0, 1, 0], "base": config}
    network = replace(loaded(randomised(NETWORKS[name].build(**config), 5, 0.2), name), config=config)
    source, saved = write_clip(tmp_path / "in.mkv"), tmp_path / "adapted.safetensors"
    tuner = adapter(network, reblur, replace(OPTIONS, rate=1e-3, tta_frames=3))
    together = adapted_to_all(tuner, [VideoFootage(source)], SILENT)
    before, after = network.module.state_dict(), together.module.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(after[key], value) == key.startswith("fusion."), key
    save_adapted(saved, together.state(), network, source.name, {})
    frames = [picture(64, 80, seed) for seed in range(together.window)]
    found = load_network(saved, role="deblur")
    again, plain = (PreparedNetwork(Placed(other, other.module, CPU), "off") for other in (found, network))
    assert torch.equal(again(frames), together(frames)), "weights are kept as they are, curves too"
    assert not torch.allclose(again(frames), plain(frames), atol=2e-3)


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        ({"steps": -1}, 2, "--steps"),
        ({"rate": 2}, 2, "--rate"),
        ({"tta_pixels": 10}, 2, "--tta-pixels"),
        ({"adapt_per": "shot"}, 2, "--adapt-per"),
        ({"tta_frames": 0}, 2, "--tta-frames"),
        ({"adapt_per": "frame", "save_adapted": "a.safetensors"}, 2, "adapt per video"),
        ({"steps": 0, "save_adapted": "a.safetensors"}, 2, "--steps 0"),
        ({"tta_reblur": "nothing.safetensors"}, 6, "nothing.safetensors"),
        ({"tta_reblur": "plain-unet"}, 6, "reblur-image"),
    ],
)
def test_bad_options_are_one_line(
    files: dict[str, str], tmp_path: Path, options: dict[str, object], code: int, word: str
) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=2)
    with pytest.raises(DeblurError, match=word) as raised:
        api.deblur_video(source, tmp_path / "out.mkv", **{"method": "tta", **files, **options})
    assert raised.value.code == code and "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_a_module_of_another_network_is_told_once(
    deblur: LoadedNetwork, reblur: LoadedNetwork, files: dict[str, str], tmp_path: Path
) -> None:
    def saved(name: str, card: dict[str, object], network: LoadedNetwork, kind: str, config: dict[str, object]) -> Path:
        path = tmp_path / name
        save_network(path, network.module, network=kind, config=config, card=card)
        return path

    module = saved("r.safetensors", {"deblurring": "mine (0123)"}, reblur, "reblurring-module", {"blocks": 2})
    tuned = saved("tuned.safetensors", {"start": "mine (0123)"}, deblur, "plain-unet", TINY)
    adapted = saved("adapted.safetensors", {"adapted_from": {"name": "mine"}}, deblur, "plain-unet", TINY)
    mine = saved("mine.safetensors", {}, deblur, "plain-unet", TINY)
    other = saved("mine-too.safetensors", {}, deblur, "plain-unet", TINY)
    clip = write_clip(tmp_path / "in.mkv")
    said: list[str] = []
    console = Reporter.silent()
    console.warn = said.append  # type: ignore[method-assign, assignment]
    worker = Worker(ComputeOptions(device="cpu"), console)
    keywords = {"method": "tta", "steps": 1, "tta_pixels": 4096, "overwrite": True, "worker": worker}
    for network in (tuned, adapted, mine):
        api.deblur_video(clip, tmp_path / "out.mkv", network=network, tta_reblur=module, **keywords)
    api.deblur_video(clip, tmp_path / "out.mkv", network=other, tta_reblur=files["tta_reblur"], **keywords)
    assert said == []
    for _ in range(2):
        api.deblur_video(clip, tmp_path / "out.mkv", network=other, tta_reblur=module, **keywords)
    assert said == [
        "r was trained for what mine leaves of blur, not mine-too; "
        "deblur train module --deblurring FILE makes one for it, --tta-reblur takes it"
    ]


def test_the_bundled_module_belongs_to_the_bundled_networks() -> None:
    module = Placed(load_network("reblurring-module", role="reblur-image"), nn.Identity(), CPU)
    for name in ("plain-unet", "video-unet"):
        assert trained_for(module, Placed(load_network(name, role="deblur"), nn.Identity(), CPU)) == ""
    stranger = loaded(nn.Identity(), "restormer")
    assert trained_for(module, Placed(stranger, stranger.module, CPU)) == "plain-unet"
