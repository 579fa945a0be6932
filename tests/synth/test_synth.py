"""Synthesised blur: the physics it claims, and that it follows its seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip, read_planes

from deblurcli import api
from deblurcli.cli.app import run
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks.alignment import warp
from deblurcli.synth.light import SRGB_OFFSET, Response, Sensor, compress
from deblurcli.synth.motion import all_flows, between, expose_motion, motion_clips, optical_flow
from deblurcli.synth.pairs import integrated, shaken
from deblurcli.synth.paths import BlurRange, hand_path, motion_path, path_lengths
from deblurcli.synth.patterns import patterns
from deblurcli.synth.scenes import Scenes, expose_scenes, longest_neighbour, render_clip, with_longest

CLEAN = BlurRange(noisy=0, night=0, compressed=0, uneven=0, layered=0, rotation=0, zoom=0, soft=0, offset=0, finite=0)


def scenes(count: int = 2, side: int = 160, layered: bool = False) -> Scenes:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=generator)
    background = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)
    layer = torch.zeros(count, 4, side, side)
    if layered:
        layer[:, :, 60:100, 60:100] = torch.tensor([1.0, 0, 0, 1])[:, None, None]
    return Scenes(background, layer, np.full(count, layered))


def test_equal_seeds_give_equal_clips() -> None:
    one, two, other = (render_clip(scenes(), 3, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], other[0])
    assert one[0].shape == one[1].shape == (2, 3, 3, 64, 64)
    assert one[0].min() >= 0 and one[0].max() <= 1


def test_a_frame_can_get_the_blur_of_the_most_blurred_one_beside_it() -> None:
    paths = torch.zeros(2, 3, 5, 4)
    along = torch.arange(5.0) - 2
    paths[0, 0, :, 0], paths[0, 2, :, 1] = 2 * along + 7, 4 * along - 5
    paths[0, 1, :, 0], paths[1, 1, :, 1] = 9 * along + 1, 9 * along + 3  # the middle one's own blur does not count
    paths[1, 0, :, 1] = along
    layers = torch.zeros_like(paths)
    layers[1, 2, :, 0] = 3 * along
    chosen = longest_neighbour(paths, layers)
    assert chosen.tolist() == [2, 2] and longest_neighbour(paths[1:], 0 * layers[1:]).tolist() == [0]
    longer = with_longest(paths, chosen)
    assert longer.shape == (2, 4, 5, 4) and torch.equal(longer[:, :3], paths)
    assert longer[0, 3, :, :2].tolist() == [[1.0, float(4 * step)] for step in along], "from where the middle looks"


def test_a_transferred_frame_comes_after_the_clip_which_stays_as_it_is() -> None:
    ranges = replace(CLEAN, median=14.0, spread=0.1, still=0.0)
    usual, more = (render_clip(scenes(4), 5, 64, np.random.default_rng(3), ranges, transfer=t) for t in (False, True))
    assert all(torch.equal(two[:, :5], one) and two.shape[1] == 6 for one, two in zip(usual, more, strict=True))
    blurred, sharp = more
    assert (sharp[:, 5] - sharp[:, 2]).abs().mean() < 2e-3, "of the same moment"
    neighbours = self_shift_score(blurred[:, [0, 1, 3, 4]].flatten(0, 1)).view(4, 4)
    assert (self_shift_score(blurred[:, 5]) - neighbours.amax(1)).abs().max() < 12
    assert self_shift_score(blurred[:, 5]).mean() > self_shift_score(sharp[:, 2]).mean() + 8


@pytest.mark.parametrize("length", [0.0, 6.0, 30.0])
def test_a_path_covers_its_length_and_is_at_home_in_the_middle(length: float) -> None:
    covered = []
    for seed in range(40):
        times = np.linspace(-0.5, 0.5, 201)
        path = motion_path(times, length, BlurRange(), np.random.default_rng(seed))
        assert path.shape == (201, 4) and np.abs(path[100]).max() < 1e-9
        covered.append(np.hypot(*np.diff(path[:, :2], axis=0).T).sum())
    assert np.mean(covered) == pytest.approx(length, rel=0.1, abs=1e-9)


def test_no_motion_gives_the_sharp_frame_back() -> None:
    still = replace(CLEAN, still=1.0)
    blurred, sharp = render_clip(scenes(), 1, 64, np.random.default_rng(1), still)
    assert (blurred - sharp).abs().max() < 1e-4


def test_the_sharp_frame_is_the_middle_of_the_source() -> None:
    source = scenes()
    _, sharp = render_clip(source, 1, 64, np.random.default_rng(1), CLEAN)
    middle = source.background[:, :, 48:112, 48:112]
    below_white = (middle.amax(1, keepdim=True) < 0.92).expand_as(middle)
    assert below_white.any() and (sharp[:, 0] - middle)[below_white].abs().max() < 1e-3


def test_a_straight_exposure_is_the_mean_of_shifts() -> None:
    light = scenes(1).background
    path = torch.zeros(1, 5, 4)
    path[0, :, 0] = torch.arange(5.0) - 2
    none = torch.zeros(0, dtype=torch.long)
    even = torch.ones(1, 64, 64)
    mean, middle = expose_scenes(light, torch.zeros(0, 4, 160, 160), none, path, path, (64, 64), even)
    wanted = torch.stack([light[:, :, 48:112, 48 + dx : 112 + dx] for dx in range(-2, 3)]).mean(0)
    assert (mean - wanted).abs().max() < 1e-4
    assert (middle - light[:, :, 48:112, 48:112]).abs().max() < 1e-4


def test_sharp_frames_of_finite_exposure() -> None:
    light = scenes(1).background
    path = torch.zeros(1, 11, 4)
    path[0, :, 0] = torch.arange(11.0) - 5
    nothing, none, even = torch.zeros(0, 4, 160, 160), torch.zeros(0, dtype=torch.long), torch.ones(1, 64, 64)
    _, middle = expose_scenes(light, nothing, none, path, path, (64, 64), even, torch.tensor([2 / 11]))
    shifted = [light[:, :, 48:112, 48 + dx : 112 + dx] for dx in (-1, 0, 1)]
    assert (middle - (shifted[0] / 4 + shifted[1] / 2 + shifted[2] / 4)).abs().max() < 1e-4


def test_light_is_averaged_linearly() -> None:
    """Half white, half black exposure: brighter than the mean of the display values."""
    response = Response(torch.tensor([2.2]), torch.tensor([0.0]))
    black_and_white = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1)
    mean = Response(torch.tensor([2.2, 2.2]), torch.zeros(2)).linear(black_and_white).mean(0, keepdim=True)
    assert float(response.display(mean).mean()) == pytest.approx(0.5 ** (1 / 2.2), abs=1e-3)


def test_highlights_are_clipped_after_averaging() -> None:
    response = Response(torch.tensor([1.0]), torch.tensor([3.0]))
    white = torch.ones(1, 3, 1, 1)
    half = response.linear(white) * 0.5  # a light that was in view for half of the exposure
    assert float(response.display(half).max()) == 1.0
    assert float(response.display(response.linear(white * 0.5)).max()) == pytest.approx(0.5, abs=1e-4)


RESPONSES = {
    "linear": Response(torch.tensor([1.0]), torch.zeros(1)),
    "power": Response(torch.tensor([2.2]), torch.zeros(1)),
    "sRGB": Response(torch.tensor([2.4]), torch.zeros(1), torch.tensor([SRGB_OFFSET])),
    "darkened": Response(torch.tensor([1.9]), torch.zeros(1), tone=torch.tensor([1.2])),
    "lightened": Response(torch.tensor([2.5]), torch.zeros(1), tone=torch.tensor([-1.2])),
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
def test_a_response_rises_from_black_to_white_and_can_be_undone(response: Response) -> None:
    grey = torch.cat([torch.linspace(0, 1, 10001), torch.logspace(-7, 0, 1001)]).sort().values
    picture = grey.expand(1, 3, 1, -1)
    light = response.linear(picture)
    assert (response.display(light) - picture).abs().max() < 1e-5
    assert (response.linear(response.display(picture)) - picture).abs().max() < 1e-5
    for curve in (light, response.display(picture)):
        assert curve.min() == 0 and curve.max() == 1
        assert float(curve.diff().min()) > -1e-6


def test_the_curve_of_srgb_is_the_standards() -> None:
    codes = torch.tensor([1.0, 10, 11, 128, 188]) / 255
    light = torch.tensor([0.000303527, 0.003035270, 0.003346536, 0.215860501, 0.502886458])
    assert (RESPONSES["sRGB"].linear(codes.expand(1, 3, 1, -1))[0, 0, 0] - light).abs().max() < 1e-6


def test_responses_are_of_four_kinds_and_undone_in_any_selection() -> None:
    drawn = Response.draw(4000, np.random.default_rng(0))
    srgb, bent = drawn.offset > 0, drawn.tone != 0
    for kind in (drawn.gamma == 1, srgb, bent, (drawn.gamma != 1) & ~srgb & ~bent):
        assert float(kind.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert not torch.any(bent & (srgb | (drawn.gamma == 1)))
    brighter, displayed = drawn.boost > 0, drawn.gamma == 1
    assert not torch.any(brighter & displayed), "what is displayed is clipped"
    assert float(brighter[~displayed].float().mean()) == pytest.approx(0.5, abs=0.03)
    assert 0.4 < float(drawn.boost[brighter].median()) < 0.6 and 3.9 < float(drawn.boost.max()) <= 4
    picture = torch.rand(4000, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    light = drawn.linear(picture)
    unclipped = picture.amax(1, keepdim=True).expand_as(picture) < 0.92
    assert light.max() > 1 and (drawn.display(light) - picture)[unclipped].abs().max() < 1e-5
    some = torch.tensor([3, 14, 15])
    assert torch.equal(drawn[some].linear(picture[some]), light[some])
    assert torch.equal(RESPONSES["power"][0].display(picture[:1]), RESPONSES["power"].display(picture[:1]))


def test_a_layer_moves_on_its_own() -> None:
    moving = replace(CLEAN, still=0.0, spread=0.0, median=12.0)
    with_layer, sharp = render_clip(scenes(1, layered=True), 1, 64, np.random.default_rng(5), moving)
    without, _ = render_clip(scenes(1), 1, 64, np.random.default_rng(5), moving)
    assert float(sharp[0, 0, 0, 32, 32]) == pytest.approx(1, abs=1e-3)
    assert (with_layer - without).abs().max() > 0.2


def test_lengths_have_the_stated_distribution() -> None:
    lengths = path_lengths(20000, BlurRange(median=9, longest=48, still=0.06), np.random.default_rng(0))
    assert lengths.max() == 48 and np.mean(lengths == 0) == pytest.approx(0.06, abs=0.01)
    assert np.median(lengths[lengths > 0]) == pytest.approx(9, rel=0.06)


def test_compression_is_mild_at_high_quality_and_blocky_at_low() -> None:
    picture = scenes(1).background
    errors = [float((compress(picture, torch.tensor([q])) - picture).abs().mean()) for q in (98.0, 80.0, 30.0)]
    assert errors[0] < 0.006 and errors[0] < errors[1] < errors[2]
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert (compress(flat, torch.tensor([50.0])) - flat).abs().max() < 0.01


def moving_texture(step: float) -> torch.Tensor:
    """Three frames of a texture that moves right by ``step`` pixels per frame: 3 x 3 x 96 x 128 uint8."""
    generator = torch.Generator().manual_seed(2)
    layers = [torch.rand(1, 3, 160 // cell, 240 // cell, generator=generator) for cell in (20, 5)]
    texture = torch.stack([torch.nn.functional.interpolate(t, (160, 240), mode="bicubic") for t in layers]).mean(0)
    flow = torch.zeros(3, 2, 160, 240)
    flow[:, 0] = -step * torch.tensor([-1.0, 0, 1])[:, None, None]
    return (warp(texture.expand(3, -1, -1, -1), flow)[..., 32:128, 56:184].clamp(0, 1) * 255).round().byte()


def test_optical_flow_finds_a_shift() -> None:
    frames = moving_texture(5)
    flow = optical_flow(frames[1], frames[2])[:, 16:-16, 16:-16]
    assert float(flow[0].median()) == pytest.approx(5, abs=0.4) and float(flow[1].median()) == pytest.approx(0, abs=0.3)


def test_frames_between_are_where_the_motion_puts_them() -> None:
    frames, truth = moving_texture(8).float() / 255, moving_texture(4).float() / 255
    there, back = optical_flow(moving_texture(8)[1], moving_texture(8)[2]), optical_flow(*moving_texture(8)[[2, 1]])
    found = between(frames[1], frames[2], there, back, torch.tensor([0.0, 0.5, 1.0]))
    inner = (..., slice(16, -16), slice(16, -16))
    for picture, wanted in zip(found, (frames[1], truth[2], frames[2]), strict=True):
        assert (picture - wanted)[inner].abs().mean() < 0.012


def test_an_exposure_of_real_motion_is_that_of_the_known_path() -> None:
    plain = Response(torch.tensor([1.0]), torch.tensor([0.0]))
    exposed, sharp = expose_motion(moving_texture(12), 1.0, plain)
    assert (sharp - moving_texture(12)[1].float() / 255).abs().max() < 1e-5
    path = torch.stack([moving_texture(12 * s)[2].float() / 255 for s in np.linspace(-0.5, 0.5, 25)]).mean(0)
    inner = (..., slice(16, -16), slice(16, -16))
    blurred_by = (path - moving_texture(12)[1].float() / 255)[inner].abs().mean()
    assert (exposed - path)[inner].abs().mean() < 0.2 * blurred_by


def test_crops_of_real_motion_follow_their_seed_and_keep_the_middle() -> None:
    triples = [moving_texture(6), moving_texture(0)]
    one, two = (motion_clips(triples, 4, 1, 64, np.random.default_rng(3), CLEAN) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert one[0].shape == one[1].shape == (4, 1, 3, 64, 64)
    still = motion_clips([moving_texture(0)], 2, 1, 64, np.random.default_rng(1), CLEAN)
    assert (still[0] - still[1]).abs().max() < 1.5 / 255
    texture = moving_texture(3)
    moment = torch.stack([texture[1].roll(3 * (at - 2), -1) for at in range(5)])
    blurred, sharp = motion_clips([moment], 2, 3, 64, np.random.default_rng(2), CLEAN)
    assert blurred.shape == sharp.shape == (2, 3, 3, 64, 64)
    for clip in sharp:
        along = clip if torch.allclose(clip[1, :, :, 3:], clip[0, :, :, :-3]) else clip.transpose(-1, -2)
        assert torch.allclose(along[2, :, :, 3:], along[1, :, :, :-3]), "frames are not in order"


def test_crops_with_the_flow_of_whole_frames_are_those_with_the_flow_of_pieces() -> None:
    moments = [moving_texture(6), moving_texture(2)]
    found, given = (
        motion_clips(moments, 6, 1, 64, np.random.default_rng(3), CLEAN, flows) for flows in (None, all_flows(moments))
    )
    assert torch.equal(found[1], given[1])
    assert (found[0] - given[0]).abs().mean() < 0.2 * (found[0] - found[1]).abs().mean()


def test_patterns_follow_their_seed_and_have_edges() -> None:
    one, two, other = patterns(2, 1, 120, 160), patterns(2, 1, 120, 160), patterns(2, 2, 120, 160)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True)) and not torch.equal(one[0], other[0])
    assert one[0].shape == (3, 120, 160) and one[0].dtype == torch.uint8
    for picture in one:
        assert (picture[:, 1:].float() - picture[:, :-1].float()).abs().mean() > 2


def test_a_hand_held_path_stays_about_its_place_at_its_speed() -> None:
    times = np.linspace(0, 20, 4000)
    speeds, reaches = [], []
    for seed in range(10):
        path = hand_path(times, 200.0, np.random.default_rng(seed))
        assert path.shape == (4000, 4)
        speeds.append(np.hypot(*np.diff(path[:, :2], axis=0).T).sum() / 20)
        reaches.append(np.abs(path[:, :2]).max())
    assert np.mean(speeds) == pytest.approx(200, rel=0.1) and np.max(reaches) < 200
    assert np.array_equal(path, hand_path(times, 200.0, np.random.default_rng(9)))


def test_a_sensor_keeps_its_noise_along_a_clip_but_not_its_grain() -> None:
    grey = torch.full((1, 3, 50, 52), 0.5)
    sensor = Sensor(torch.tensor([0.02]), torch.tensor([0.0]), torch.tensor([torch.inf]))
    rng = np.random.default_rng(1)
    one, two = sensor.capture(grey, rng), sensor.capture(grey, rng)
    assert not torch.equal(one, two) and one.shape == grey.shape
    assert float(one.std()) == pytest.approx(float(two.std()), rel=0.1)
    assert float(one.std()) == pytest.approx(0.02 * (0.4 + 0.6 * 0.5**0.5), rel=0.1)
    lossy = Sensor(torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([30.0]))
    assert lossy.capture(scenes(1).background[..., :50, :52], rng).shape == grey.shape


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = (scenes(1).background[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), picture)
    return tmp_path / "photo.png"


def test_pairs_of_a_photo(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synth", str(photo), "-o", str(tmp_path / "still"), "--blur", "12", "-q"]) == 0
    blurred, sharp = (tmp_path / "still" / kind / "photo.png" for kind in ("blurred", "sharp"))
    assert capsys.readouterr().out == f"{blurred}\n"
    assert cv2.imread(str(sharp)).shape == (96, 96, 3)
    scores = api.measure(blurred, sharp)
    assert 10 < scores["psnr"] < 35
    assert run(["synth", str(photo), "-o", str(tmp_path / "clip"), "--frames", "7", "--blur", "12", "-q"]) == 0
    assert run(["metrics", str(tmp_path / "clip" / "blurred"), str(tmp_path / "clip" / "sharp"), "-q"]) == 0
    assert api.measure(*(tmp_path / "clip" / kind / "photo.mkv" for kind in ("blurred", "sharp")))["frames"] == 7


def test_pairs_of_blur_alone_have_no_noise_and_no_compression(photo: Path, tmp_path: Path) -> None:
    """Where nothing moves the two pictures are equal with every seed, unless they are compressed."""
    still = scenes(1).background[0, :, :96, :96]
    for quality, unlike in ((100, False), (20, True)):
        for seed in range(6):
            for blurred, sharp in (
                *shaken(still, 1, 25.0, 0.0, seed, noise=0.0, compression=quality),
                *integrated([still] * 3, 1.0, seed, noise=0.0, compression=quality),
            ):
                assert ((blurred - sharp).abs().max() > 2 / 255) == unlike
        words = ["--blur", "0", "--noise", "0", "--compression", str(quality), "--seed", "3", "-q"]
        assert run(["synth", str(photo), "-o", str(tmp_path / str(quality)), *words]) == 0
        pictures = [(tmp_path / str(quality) / kind / "photo.png").read_bytes() for kind in ("blurred", "sharp")]
        assert (pictures[0] != pictures[1]) == unlike


def test_pairs_of_a_video_follow_the_seed(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mkv", size=(96, 80), frames=8)
    for folder, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        assert run(["synth", str(tmp_path / "in.mkv"), "-o", str(tmp_path / folder), "--seed", seed, "-q"]) == 0
    found = [read_planes(tmp_path / folder / "blurred" / "in.mkv") for folder in ("one", "two", "three")]
    assert found[0] == found[1] != found[2] and len(found[0]) == 6


def test_pairs_are_refused_in_one_line(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    out = str(tmp_path / "out")
    for arguments, code in (
        ([str(tmp_path / "text.mp4"), "-o", out], 4),
        ([str(photo), "-o", out, "--frames", "0"], 2),
        ([str(photo), "-o", out, "--shutter", "3"], 2),
        ([str(photo), str(photo.with_suffix(".jpg")), "-o", out], 2),
    ):
        assert run(["synth", *arguments]) == code
        assert "Traceback" not in capsys.readouterr().err
    assert run(["synth", str(photo), "-o", out, "-q"]) == 0
    assert run(["synth", str(photo), "-o", out, "-q"]) == 2
    assert not list(tmp_path.rglob("*.part"))


def test_a_pair_is_whole_or_not_there(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sharp").mkdir(parents=True)
    for words, name in (([], "photo.png"), (["--frames", "3"], "photo.mkv")):
        (out / "sharp" / name).write_text("taken")
        assert run(["synth", str(photo), "-o", str(out), "-q", *words]) == 2
        assert list(out.rglob(f"*{name}*")) == [out / "sharp" / name]
        assert (out / "sharp" / name).read_text() == "taken"
        assert run(["synth", str(photo), "-o", str(out), "-q", "--overwrite", *words]) == 0
        assert {path.parent.name for path in out.rglob(name)} == {"blurred", "sharp"}
        assert (out / "sharp" / name).read_bytes() != b"taken"


def test_a_pair_never_takes_the_place_of_its_source(photo: Path, tmp_path: Path) -> None:
    for kind in ("blurred", "sharp"):
        source = tmp_path / kind / "photo.png"
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(photo.read_bytes())
        assert run(["synth", str(source), "-o", str(tmp_path), "-q", "--overwrite"]) == 2
        assert source.read_bytes() == photo.read_bytes() and list(tmp_path.rglob("*.p*")) == [photo, source]
        source.unlink()


def test_clips_without_frames_leave_nothing(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mkv", size=(96, 80), frames=2)
    assert run(["synth", str(tmp_path / "in.mkv"), "-o", str(tmp_path / "out"), "-q"]) == 5
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
