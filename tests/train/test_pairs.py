"""Training on pairs that exist: pieces of a dataset's training part, the same whatever is read ahead."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from end_to_end import deblur, small_network
from trees import make_dataset, picture

from deblurcli import api
from deblurcli.datasets.clip import Clip, read_pair
from deblurcli.datasets.layouts import LAYOUTS
from deblurcli.datasets.read import clips
from deblurcli.errors import InputError, UsageError
from deblurcli.options.train import DeblurTraining, FlowTraining
from deblurcli.train.recorded import RecordedPairs, recorded_pairs
from deblurcli.train.ring import CropRing
from deblurcli.weights.load import load_network

CPU = torch.device("cpu")
SIZE = (80, 96)
SMALL = ["--batch", "1", "--crops", "64", "--ring", "6", "--device", "cpu", "-q", "--from"]


def draw(material: RecordedPairs, count: int, *seed: int, frames: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return material.drawn(frames, 64, CPU)(count, np.random.default_rng(seed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_can_be_trained_on(layout: str, tmp_path: Path) -> None:
    make_dataset(tmp_path, layout, SIZE)
    material = recorded_pairs(tmp_path, layout)
    assert len(material.pairs.pairs) == (2 if LAYOUTS[layout].parts else 8)
    blurred, sharp = draw(material, 3, 1)
    assert blurred.shape == sharp.shape == (3, 1, 3, 64, 64)
    assert 0 < (blurred - sharp).abs().mean() < 0.1


def test_pieces_are_cut_at_one_place_from_both_sides(tmp_path: Path) -> None:
    make_dataset(tmp_path, "gopro", SIZE)
    material = recorded_pairs(tmp_path, "gopro")
    (pair, *_) = (read_pair(pair) for pair in material.clips[0].pairs)
    places = [
        (y, x)
        for blurred, sharp in zip(*(side[:, 0] for side in draw(material, 8, 1)), strict=True)
        for y in range(17)
        for x in range(33)
        if torch.equal((blurred * 255).round().byte(), pair[0][:, y : y + 64, x : x + 64])
        and torch.equal((sharp * 255).round().byte(), pair[1][:, y : y + 64, x : x + 64])
    ]
    assert len(set(places)) > 1


def test_a_network_of_several_frames_gets_those_of_the_clip(tmp_path: Path) -> None:
    make_dataset(tmp_path, "gopro", (64, 64))
    material = RecordedPairs(list(clips(tmp_path, "gopro", "test"))[:1], "d")
    whole = [read_pair(pair) for pair in material.clips[0].pairs]
    blurred, sharp = (side.mul(255).round().byte() for side in draw(material, 9, 1, frames=3))
    shown = set()
    for window, middle in zip(blurred, sharp[:, 1], strict=True):
        (at,) = (n for n, pair in enumerate(whole) if torch.equal(pair[1], middle))
        assert torch.equal(window[1], whole[at][0])
        for side, near in ((0, at - 1), (2, at + 1)):
            known = [whole[n][0] for n in {at, near} if 0 <= n < 3]
            assert any(torch.equal(window[side], other) for other in known)
        shown.add(at)
    assert shown == {0, 1, 2}


def test_what_is_read_ahead_changes_nothing(tmp_path: Path) -> None:
    make_dataset(tmp_path, "gopro", SIZE)

    def batches(ahead: bool) -> list[torch.Tensor]:
        material = recorded_pairs(tmp_path, "gopro")
        expect = material.expect if ahead else None
        ring = CropRing(material.drawn(1, 64, CPU), capacity=12, every=1, seed=3, group=2, first=3, expect=expect)
        found = []
        for iteration in range(4):
            ring.advance(iteration)
            found.append(ring.batch(iteration, 2, 64, CPU)[0])
        return found

    assert all(torch.equal(*pair) for pair in zip(batches(True), batches(False), strict=True))
    material = recorded_pairs(tmp_path, "gopro")
    one, two = (draw(material, 2, seed)[0] for seed in (5, 6))
    material.expect(2, np.random.default_rng(7))  # another one than is asked for
    assert torch.equal(draw(material, 2, 5)[0], one) and not torch.equal(one, two)


def clip(name: str, count: int) -> Clip:
    return Clip(name, tuple((Path(f"{name}/b/{n}.png"), Path(f"{name}/s/{n}.png")) for n in range(count)))


def test_clips_are_held_out_whole_or_their_ends_where_there_are_few() -> None:
    learnt, held = RecordedPairs([clip(f"{n}", 3) for n in range(64)], "d").split()
    assert {c.name for c in learnt.clips} | {c.name for c in held.clips} == {str(n) for n in range(64)}
    assert not {c.name for c in learnt.clips} & {c.name for c in held.clips} and 1 <= len(held.clips) <= 12
    learnt, held = RecordedPairs([clip("a", 32)], "d").split()
    assert [len(each.clips[0].pairs) for each in (learnt, held)] == [30, 2]
    learnt, held = RecordedPairs([clip("a", 1), clip("b", 1)], "d").split()
    assert [each.clips[0].name for each in (learnt, held)] == ["a", "b"]
    with pytest.raises(InputError, match="d has one pair; give more, so that some can be held out"):
        RecordedPairs([clip("a", 1)], "d").split()


def test_memory_holds_names_alone(tmp_path: Path) -> None:
    """Of 1,000 pairs, whose pictures nobody opens."""
    for side in ("blur", "sharp"):
        (tmp_path / "train" / "a" / side).mkdir(parents=True)
        for number in range(1000):
            (tmp_path / "train" / "a" / side / f"{number:06d}.png").touch()
    tracemalloc.start()
    material = recorded_pairs(tmp_path, "gopro")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(material.pairs.pairs) == 1000 and held < 1000 * 2000


def test_a_network_is_trained_by_one_command_and_goes_on(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", "realblur-j", SIZE)
    words = [
        "train",
        "deblur",
        "--pairs",
        tmp_path / "data",
        "--layout",
        "realblur-j",
        "--out",
        tmp_path / "run",
        *SMALL,
    ]
    words.append(small_network(tmp_path / "w.safetensors"))
    assert deblur(*words, "--iterations", "20") == 0
    loaded = load_network(tmp_path / "run" / "plain-unet.safetensors", role="deblur")
    assert loaded.card["data"] == f"1 pairs of {tmp_path / 'data'}"
    assert deblur(*words, "--iterations", "24") == 0
    assert "20" in (tmp_path / "run" / "log.csv").read_text()


def test_pairs_are_learnt(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "train" / "a" / "blur" / f"{number}.png", number, SIZE, True)
        picture(tmp_path / "train" / "a" / "sharp" / f"{number}.png", number, SIZE)
    found = api.train_network(
        *("deblur", None, tmp_path / "run"),
        pairs=tmp_path,
        layout="gopro",
        start=small_network(tmp_path / "w.safetensors"),
        batch=2,
        crops=(64,),
        ring=12,
        iterations=40,
        device="cpu",
    )
    (_, _, first), *_, (_, _, last) = found["curve"]
    assert last > first + 0.5


def test_options_that_do_not_fit_are_refused() -> None:
    for options, said in (
        ({"pairs": "p", "layout": "gopro", "data": "d"}, "--data and --pairs exclude each other"),
        ({"pairs": "p"}, "--pairs without --layout; give both"),
        ({"data": "d", "layout": "gopro"}, "--layout is of --pairs; leave it out"),
        ({}, "nothing to learn from; give --data, or --pairs and --layout"),
        ({"pairs": "p", "layout": "gopr"}, "--layout gopr is unknown"),
    ):
        with pytest.raises(UsageError, match=said):
            DeblurTraining(out="o", iterations=1, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"nothing to learn from; give --data$"):
        FlowTraining(out="o", iterations=1)  # type: ignore[arg-type]
