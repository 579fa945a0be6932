"""Every dataset is read in the exact shape in which it is published; what is wrong with one is told in a line."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
import torch
from clips import make_clip
from trees import make_dataset, picture

from deblurcli.datasets.clip import ClipFootage, pixels
from deblurcli.datasets.layouts import LAYOUTS
from deblurcli.datasets.read import clips
from deblurcli.errors import InputError, UsageError
from deblurcli.metrics.conventions import CONVENTIONS
from deblurcli.options.evaluate import LAYOUT_NAMES


def by_clip(made: list[tuple[str, str, Path, Path]], *splits: str) -> dict[str, tuple[tuple[Path, Path], ...]]:
    found: dict[str, list[tuple[Path, Path]]] = {}
    for split, clip, blurred, sharp in made:
        if split in splits:
            found.setdefault(clip, []).append((blurred, sharp))
    return {name: tuple(pairs) for name, pairs in sorted(found.items())}


def last_names(top: Path, layout: str, **options: object) -> dict[str, tuple[tuple[Path, Path], ...]]:
    return dict(sorted((clip.name.split("/")[-1], clip.pairs) for clip in clips(top, layout, **options)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dataset_is_read_in_its_parts(layout: str, tmp_path: Path) -> None:
    made = make_dataset(tmp_path, layout)
    if LAYOUTS[layout].parts:
        assert last_names(tmp_path, layout, split="test") == by_clip(made, "test")
        assert last_names(tmp_path, layout, split="train") == by_clip(made, "train")
    assert last_names(tmp_path, layout, split="all") == by_clip(made, "train", "test")
    blurred, sharp = next(next(clips(tmp_path, layout)).frames())
    assert blurred.dtype == torch.uint8 and blurred.shape == sharp.shape == (3, 40, 48)
    assert (blurred.int() - sharp.int()).abs().float().mean() > 1


@pytest.mark.parametrize("layout", ["gopro", "reds", "rsblur", "bsd"])
def test_a_folder_of_the_dataset_will_do(layout: str, tmp_path: Path) -> None:
    made = make_dataset(tmp_path, layout)
    name, pairs = next(iter(by_clip(made, "test").items()))
    inner = pairs[0][0].parents[2 if layout == "rsblur" else 1 if layout != "reds" else 0]
    assert {clip.name: clip.pairs for clip in clips(inner, layout, split="all")} in (
        {inner.name: pairs},
        {name: pairs},
    )


def test_the_names_of_options_and_of_the_registry_are_the_same() -> None:
    assert tuple(LAYOUTS) == LAYOUT_NAMES
    assert {layout.convention for layout in LAYOUTS.values()} <= set(CONVENTIONS)


def test_frames_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        for side in ("blurred", "sharp"):
            picture(tmp_path / side / f"a{number}.png", number)
    (clip,) = clips(tmp_path, "synth")
    assert [blurred.stem for blurred, _ in clip.pairs] == ["a2", "a9", "a10"]


def test_two_folders_of_any_names_are_pairs(tmp_path: Path) -> None:
    for name in ("x/1.png", "x/2.png", "y/1.png"):
        picture(tmp_path / "mine" / name)
        picture(tmp_path / "theirs" / name)
    found = list(clips(tmp_path / "mine", "pairs", sharp=tmp_path / "theirs"))
    assert [(clip.name, len(clip.pairs)) for clip in found] == [("x", 2), ("y", 1)]
    assert found[0].pairs[0][1] == tmp_path / "theirs" / "x" / "1.png"
    with pytest.raises(UsageError, match="--sharp with --layout gopro; give --layout pairs, or leave it out"):
        list(clips(tmp_path / "mine", "gopro", sharp=tmp_path / "theirs"))


def test_a_sharp_picture_may_have_another_suffix(tmp_path: Path) -> None:
    blurred = picture(tmp_path / "test" / "a" / "blur" / "1.jpg")
    sharp = picture(tmp_path / "test" / "a" / "sharp" / "1.png")
    (clip,) = clips(tmp_path, "gopro")
    assert clip.pairs == ((blurred, sharp),)


def test_a_pair_of_videos_is_a_clip(tmp_path: Path) -> None:
    for side in ("blurred", "sharp"):
        (tmp_path / side).mkdir()
        make_clip(tmp_path / side / "a.mkv", codec="ffv1", size=(48, 40), frames=4)
    (clip,) = clips(tmp_path, "synth")
    assert clip.name == "blurred/a.mkv" and clip.is_video
    assert len(list(clip.frames())) == 4 and len(list(clip.frames(limit=3))) == 3
    (first, _), *_ = clip.frames()
    assert torch.equal(next(ClipFootage(clip).previews()), first)


def test_pictures_of_varying_size_are_adapted_to_in_their_middle(tmp_path: Path) -> None:
    for number, size in enumerate([(40, 48), (36, 56)]):
        for side in ("blur", "sharp"):
            picture(tmp_path / side / f"{number}.png", number, size)
    (clip,) = clips(tmp_path, "pairs")
    shown = list(ClipFootage(clip).previews())
    assert [tuple(each.shape) for each in shown] == [(3, 36, 48)] * 2
    assert torch.equal(shown[0], pixels(clip.pairs[0][0])[:, 2:38])
    assert torch.equal(shown[1], pixels(clip.pairs[1][0])[:, :, 4:52])
    assert [tuple(blurred.shape) for blurred, _ in clip.frames()] == [(3, 40, 48), (3, 36, 56)]


def test_nothing_but_names_is_read_before_a_frame_is_asked_for(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, "gopro")
    for _, _, blurred, sharp in made:
        blurred.write_bytes(b"")
        sharp.write_bytes(b"")
    found = list(clips(tmp_path, "gopro", split="all"))
    assert len(found) == 3
    with pytest.raises(InputError, match=r"000009\.png is empty"):
        next(found[0].frames())


def spoilt(top: Path, how: str) -> tuple[Path, str, str]:
    """A dataset in which something is wrong, and how it is read: folder, layout and split."""
    made = make_dataset(top, "realblur-j" if how == "list" else "rb2v" if how == "records" else "gopro")
    *_, sharp = next(each for each in made if each[0] == "test")
    if how == "partner":
        sharp.unlink()
    if how == "size":
        cv2.imwrite(str(sharp), cv2.imread(str(sharp))[:-4])
    if how == "list":
        (top / "RealBlur_J_test_list.txt").unlink()
        return top, "realblur-j", "test"
    if how == "records":
        (top / "metadata.json").write_text('{"data": [{}]}')
        return top, "rb2v", "test"
    if how == "empty":
        (top / "nothing").mkdir()
        return top / "nothing", "gopro", "test"
    if how == "layout":
        return top, "gopro-gamma", "test"
    if how == "sides":
        picture(top / "w" / "blurred" / "1.png")
        picture(top / "w" / "sharp" / "1.png")
        return top / "w", "dvd", "test"
    if how == "part":
        return top / "train", "gopro", "test"
    if how == "missing":
        return top / "nowhere", "gopro", "test"
    return top, "gopro", "test"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("partner", r"000009\.png has no partner .*sharp/000009\.png; add it, or take the blurred one away"),
        ("size", r"sharp/000009\.png are 48x40 and 48x36; take them away, or make them again"),
        ("list", r"RealBlur_J_test_list\.txt, which tells train from test, cannot be read: no such file .*--split all"),
        ("records", r"metadata\.json has no list 'data' of 'blur_path' and 'partition'"),
        ("empty", r"nothing has nothing like \{split\}/\{clip\}/blur/\{frame\}; give the folder of the dataset"),
        ("layout", r"blur_gamma/\{frame\}; did you mean --layout gopro$"),
        ("sides", r"did you mean --layout synth$"),
        ("part", r"train has no test part of gopro; give another --split, or --split all"),
        ("missing", r"nowhere does not exist; give the dataset's folder"),
    ],
)
def test_what_is_wrong_is_told_with_its_cure(how: str, said: str, tmp_path: Path) -> None:
    top, layout, split = spoilt(tmp_path, how)
    with pytest.raises(InputError) as raised:
        for clip in clips(top, layout, split):
            list(clip.frames())
    assert re.search(said, str(raised.value))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--layout gopr is unknown; give one of gopro, gopro-gamma, dvd"):
        list(clips(tmp_path, "gopr"))
    with pytest.raises(UsageError, match="--layout gopro has no --split val; give one of train, test, all"):
        list(clips(tmp_path, "gopro", "val"))
