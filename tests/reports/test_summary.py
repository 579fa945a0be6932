"""The end of a run in plain words: each kind of outcome has its sentence, and none has a number that needs a paper."""

from __future__ import annotations

import re

import pytest
import torch

from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.update import OUT_OF_MEMORY
from deblurcli.reports.summary import MAX_FRAMES, Sharpness, adaptation_sentence, kept_sentence

LOOKS = {"looks": [{"step": 20, "gain": 0.31}], "gain": 0.31}


def outcome(method: str = "meta", *, kept: bool = True, reason: str = "", then: Outcome | None = None, **facts: object):
    return Outcome(method, kept, reason, facts=facts, work="20 steps", then=then)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([], "Nothing was adapted: the standard network restored it."),
        (
            [outcome(kept=False, reason="the guard saw a gain of 0.01 dB at best, and asks for 0.08", **LOOKS)],
            "Adapting did not help this clip; the standard result was kept.",
        ),
        (
            [outcome("reblur2deblur", **LOOKS)],
            "The network was adapted to this clip, which helped on parts of it that were kept aside.",
        ),
        ([outcome("tta")], "The network was adapted to this clip; whether that helped was not checked."),
        (
            [outcome("tta", adaptations=9, undone=2)],
            "The network was adapted to this clip, frame by frame; for 2 of 9 frames that failed, and the standard"
            " result was kept.",
        ),
        (
            [outcome(kept=False, reason=OUT_OF_MEMORY)],
            "Adapting was not possible: out of memory; the standard result was kept.",
        ),
        (
            [outcome("blur2blur", kept=False, then=outcome(**LOOKS), **LOOKS)],
            "Translating its blur did not help this clip; the standard result was kept. The network was adapted to this"
            " clip, which helped on parts of it that were kept aside.",
        ),
        (
            [outcome("blur2blur", translator="phone")],
            "Before it was restored, the blur of this clip was translated by phone.",
        ),
        (
            [outcome(**LOOKS), outcome(kept=False, **LOOKS), outcome(**LOOKS)],
            "Adapting was of use in 2 of 3 shots; in the others the standard result was kept.",
        ),
        ([outcome(**LOOKS), outcome(**LOOKS)], "The network was adapted to each of the 2 shots."),
    ],
)
def test_what_was_adapted_is_told_in_words(outcomes, said):
    assert adaptation_sentence(outcomes, "this clip") == said
    assert not re.search(r"dB|loss|guard|steps|patch", said)


def frame(blur: int) -> torch.Tensor:
    """Stripes whose edges are ``blur`` pixels wide."""
    ramp = (((torch.arange(96) % 48 - 24).abs() - 12) / blur + 0.5).clamp(0, 1)
    return ramp.expand(3, 32, 96).clone()


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [(8, 2, "sharper"), (2, 8, "softer"), (4, 4, "about as sharp")]
)
def test_sharper_is_what_has_steeper_edges(before, after, verdict):
    found = Sharpness()
    found.add(lambda: frame(before), frame(after) - frame(before))
    joined = "as" if verdict == "about as sharp" else "than"
    assert found.sentence() == f"The result is {verdict} {joined} the input."
    assert found.facts()["sharpness"]["verdict"] == verdict


def test_a_long_video_is_looked_at_here_and_there():
    """Only the frames that are compared are made into pictures again."""
    found, made = Sharpness(total=1000), 0

    def picture():
        nonlocal made
        made += 1
        return frame(4)

    for _ in range(1000):
        found.add(picture, torch.zeros(3, 32, 96))
    assert (found.seen, found.frames, made) == (1000, MAX_FRAMES, MAX_FRAMES)
    assert found.facts()["sharpness"]["edge_strength"] == 1


def test_without_edges_nothing_is_said():
    found = Sharpness()
    found.add(lambda: torch.full((3, 8, 8), 0.5), torch.zeros(3, 8, 8))
    assert found.sentence() == "" and found.facts() == {}


def test_what_was_kept():
    assert kept_sentence(["audio", "audio", "subtitle"], []) == (
        "Everything but the picture is as it was: times and tags, 2 audio streams, 1 subtitle stream."
    )
    assert kept_sentence([], []) == "Everything but the picture is as it was: times and tags."
    assert "see below" in kept_sentence(["audio"], ["1 stream lost"])
