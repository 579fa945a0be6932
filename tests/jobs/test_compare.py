"""`deblur compare` and `deblur video --compare`: what the page, the picture and the video show."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from clips import make_clip
from end_to_end import QUICK, contents, deblur, small_network, write_video
from moving import frames as moving

import deblurcli
from deblurcli import api
from deblurcli.errors import OutputError
from deblurcli.jobs.compare import CompareJob, key_frames
from deblurcli.reports import views
from deblurcli.reports.page import Comparison, KeyFrame, page
from deblurcli.reports.views import Crops, Pair

HEIGHT, WIDTH, COUNT = 96, 160, 8


def frames(seed: int = 1) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    coarse = rng.random((3, HEIGHT // 8, WIDTH // 8)).astype(np.float32)
    picture = torch.from_numpy(np.repeat(np.repeat(coarse, 8, 1), 8, 2)) * 0.5
    return [picture.roll(number, 2) for number in range(COUNT)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """in.mkv, and out.mkv, which is lighter by 40 of 255 in a square, most so in frame 5."""
    folder = tmp_path_factory.mktemp("source")
    before = frames()
    after = [frame.clone() for frame in before]
    for number, frame in enumerate(after):
        frame[:, 32:64, 96:128] += (40 if number == 5 else 20) / 255
    write_video(folder / "in.mkv", before)
    write_video(folder / "out.mkv", after)
    for name, frame in (("in", before[0]), ("out", after[0])):
        codes = (frame * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
        cv2.imwrite(str(folder / f"{name}.png"), codes)
    return folder


@pytest.fixture
def clips(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in source.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_a_page_shows_where_and_when_the_two_differ(clips: Path) -> None:
    made = deblurcli.compare("in.mkv", "out.mkv", "page.html", frames=2, crops=1, crop_size=32)
    found = data_of(made.destination)
    assert found["crops"]["side"] == 32 and [(p["y"], p["x"]) for p in found["crops"]["places"]] == [(32, 96)]
    assert found["frames"][1]["number"] == 5 and found["shown"] == 1
    assert found["frames"][1]["seconds"] == pytest.approx(0.2)
    assert found["source"] == found["size"] == [WIDTH, HEIGHT]
    assert [file["name"] for file in found["files"]] == ["in.mkv", "out.mkv"]
    for name, path in (("before", "in.mkv"), ("after", "out.mkv")):
        rows = api.measure(path, per_frame=True)["per_frame"]
        assert found["curves"][name] == pytest.approx([row["self_shift"] for row in rows], abs=6e-4)
    change = (COUNT - 1) * 20**2 + 40**2
    assert f"changes by {(change / COUNT * 32 * 32 / (HEIGHT * WIDTH)) ** 0.5:.1f} of 255" in made.lines[0]
    picture = cv2.imdecode(np.frombuffer(link(found["frames"][1]["after"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (HEIGHT, WIDTH, 3)


def link(text: str) -> bytes:
    import base64

    start = "data:image/jpeg;base64,"
    assert text.startswith(start)
    return base64.b64decode(text.removeprefix(start))


def test_the_page_asks_for_nothing(clips: Path) -> None:
    deblurcli.compare("in.mkv", "out.mkv", "page.html")
    text = (clips / "page.html").read_text("utf-8")
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.findall(r"<(?:link|script|img|iframe)[^>]+(?:src|href)=\"(?!data:)", text)
    assert "default-src 'none'" in text


def test_a_page_stays_below_3_mb_whatever_it_shows() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (2, 450, 800, 3), np.uint8) for _ in range(12)]
    places = [(0, 0), (0, 320), (90, 0)]
    crops = Crops(places, 320)
    found = Comparison(("before", "after"), [("a", ""), ("b", "")], True, (800, 450), places=places, side=320)
    found.seconds, found.changes = [0.1 * at for at in range(12)], [1.0] * 12
    found.sharpness = ([90.0] * 12, [80.0] * 12)
    shown = [
        KeyFrame(at, Pair(*both), list(zip(*map(crops.cut, both), strict=True)))  # type: ignore[arg-type]
        for at, both in enumerate(noise)
    ]
    whole = page(found, shown, {"lines": [], "differences": [], "adaptations": [], "record": {"x": "y" * 150_000}})
    assert 500_000 < len(whole) < 3_000_000


def test_the_two_may_be_equal(clips: Path) -> None:
    made = deblurcli.compare("in.mkv", "in.mkv", "page.html")
    assert made.lines == ["The two are equal, pixel for pixel."] and data_of(made.destination)["crops"] is None
    for view in views.DRAWN:
        assert deblurcli.compare("in.mkv", "in.mkv", f"{view}.png", view=view).destination.exists()


def test_key_frames_are_those_that_change_most() -> None:
    assert key_frames([1, 2, 9, 1, 3, 1, 1, 8], 2) == [2, 7]
    assert key_frames([1, 2], 6) == [0, 1]
    assert key_frames([0.0] * 5 + [9.0, 8.0] + [0.0] * 5, 2) == [1, 7]  # not two frames beside each other


def test_a_video_has_the_frames_and_times_of_its_input(tmp_path: Path) -> None:
    times = [0, 40, 80, 160, 200, 250]
    clip = make_clip(tmp_path / "in.mkv", frames=6, time_base=Fraction(1, 1000), pts=times)
    made = deblurcli.compare(clip, clip, tmp_path / "side.mp4", crops=0)
    assert made.facts == {"frames": 6}
    with av.open(str(made.destination)) as found:
        shown = list(found.decode(video=0))
        assert found.streams.video[0].codec_context.name == "h264"
    assert [round(1000 * float(frame.pts * frame.time_base)) for frame in shown] == times
    assert (shown[0].width, shown[0].height) == (2 * 64 + views.GAP, 48)


def test_a_video_shows_both_beside_each_other(clips: Path) -> None:
    assert deblur("compare", "in.mkv", "out.mkv", "-o", "side.mp4", "--crops", "0") == 0
    with av.open("side.mp4") as found:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in found.decode(video=0)]
    for number, frame in enumerate(shown):
        halves = frame[40:56, 104:120], frame[40:56, WIDTH + views.GAP + 104 : WIDTH + views.GAP + 120]
        lighter = float((halves[1] - halves[0]).mean())
        assert lighter == pytest.approx(40 if number == 5 else 20, abs=4)


def test_a_picture_of_videos_shows_the_largest_change_or_the_moment_asked_for(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deblur("compare", "in.mkv", "out.mkv", "-o", "a.png") == 0
    assert "frame 5, 0.20 s" in capsys.readouterr().err
    assert deblur("compare", "in.mkv", "out.mkv", "-o", "b.png", "--at", "0.09") == 0
    assert "frame 2, 0.08 s" in capsys.readouterr().err
    assert deblur("compare", "in.mkv", "out.mkv", "-o", "c.png", "--at", "0.5") == 2
    assert "behind the last frame, at 0.28 s" in capsys.readouterr().err


def test_pictures_are_compared_like_videos(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deblur("compare", "in.png", "out.png", "-o", "both.png", "-q") == 0
    assert capsys.readouterr() == ("both.png\n", "")
    assert deblur("compare", "in.png", "out.png") == 0  # a page beside AFTER
    found = data_of(clips / "out.compare.html")
    assert not found["video"] and len(found["frames"]) == 1
    assert found["scores"][0]["name"] == "Self-shift score, dB"


def test_videos_are_shown_upright_with_square_pixels(tmp_path: Path) -> None:
    turned = make_clip(tmp_path / "turned.mp4", codec="libx264", frames=2, rotation=90)
    assert data_of(deblurcli.compare(turned, turned, tmp_path / "a.html").destination)["source"] == [48, 64]
    wide = make_clip(tmp_path / "wide.mp4", codec="libx264", frames=2, sar=Fraction(3, 2))
    assert data_of(deblurcli.compare(wide, wide, tmp_path / "b.html").destination)["source"] == [96, 48]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("in.mkv small.mkv", 4, "in.mkv is 160x96, small.mkv is 64x48; compare pictures of equal size"),
        ("in.mkv short.mkv", 4, "in.mkv has more than the other's 3 frames; compare videos of equal length"),
        ("short.mkv in.mkv -o a.mp4", 4, "in.mkv has more than the other's 3 frames; compare videos of equal length"),
        ("in.png out.mkv", 4, "in.png is a picture, out.mkv is a video; compare two of one kind"),
        ("in.mkv out.mkv -o a.gif", 2, "-o a.gif is not a name for a comparison; let it end in .html, .mp4 or .png"),
        ("in.png out.png -o a.mp4", 2, "a.mp4 would be a video, in.png is a picture; use .png"),
        ("in.mkv out.mkv -o a.html --at 1", 2, "--at is for a picture of videos; leave it out, or let -o end in .png"),
        ("in.mkv out.mkv -o a.png --view crops --crops 0", 2, "--view crops with --crops 0; give some crops"),
        ("in.mkv out.mkv --labels one", 2, "--labels one are not two names; give such as before,after"),
        ("in.mkv out.mkv -o out.mkv --overwrite", 2, "out.mkv is the input; choose another output name"),
        ("in.mkv out.mkv -o short.mkv", 2, "short.mkv exists; use --overwrite or another name"),
        ("in.mkv nothing.mkv", 4, "nothing.mkv does not exist"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    clips: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, said: str
) -> None:
    make_clip(clips / "small.mkv", frames=COUNT)
    write_video(clips / "short.mkv", frames()[:3])
    before = contents(clips)
    assert deblur("compare", *words.split()) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"deblur: {said}") and err.count("\n") == 1
    assert contents(clips) == before


def pair(seconds: float = 0.0) -> Pair:
    before = np.full((120, 200, 3), 60, np.uint8)
    after = before + 10
    return Pair(before, after, seconds)


NAMES = ("before", "after")


def test_labels_are_burnt_in_white_on_dark() -> None:
    shown = views.side(pair(), NAMES, Crops([], 0))
    for left in (0, 200 + views.GAP):
        corner = shown[:20, left : left + 60]
        assert corner.max() > 240 and np.median(corner[:16, :30]) < 30
    assert views.side(pair(), ("", ""), Crops([], 0)).shape == (120, 404, 3)
    longest = views.side(pair(), ("a name that is much too long for such a small picture", "é"), Crops([], 0))
    assert longest.shape == (120, 404, 3)


def test_crops_are_enlarged_below_and_framed_above() -> None:
    whole = pair()
    whole.after[40:80, 100:140] = 200
    shown = views.side(whole, NAMES, Crops([(40, 100)], 40))
    assert shown.shape[1] == 404 and shown.shape[0] == 120 + views.GAP + 200
    assert shown[-20:, :190].mean() == pytest.approx(60, abs=1) and shown[-20:, 210:400].mean() == pytest.approx(
        200, abs=1
    )
    assert shown[60, 100].tolist() == [255] * 3  # the frame of the crop
    alone = views.closely(whole, NAMES, Crops([(40, 100)], 40))
    assert alone.shape[1] >= views.MIN_CROPPED_WIDTH and alone.shape[1] % 2 == 0


def test_the_divider_goes_to_and_fro() -> None:
    quarter = views.WIPE_SECONDS / 4
    for seconds, share in ((0.0, 0.5), (quarter, 0.94), (2 * quarter, 0.5), (3 * quarter, 0.06)):
        row = views.wipe(pair(seconds), NAMES, Crops([], 0))[100, :, 0]
        at = round(share * 200)
        assert set(row[: at - 2]) <= {60} and set(row[at + 2 :]) <= {70} and row[at] == 255


def test_the_difference_is_enlarged_around_grey() -> None:
    assert views.difference(pair(), NAMES, Crops([], 0))[100, 150].tolist() == [128 + 10 * views.GAIN] * 3


def test_views_have_even_sides() -> None:
    odd = Pair(np.zeros((51, 63, 3), np.uint8), np.full((51, 63, 3), 9, np.uint8))
    for draw in views.DRAWN.values():
        shown = draw(odd, NAMES, Crops([(0, 0)], 20))
        assert shown.shape[0] % 2 == 0 and shown.shape[1] % 2 == 0


# With a run


def test_a_run_ends_with_its_page(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(clips / "shaken.mkv", moving((6,) * 7, 0.6, 2.2, 0.0, 1)[0])
    network = small_network(clips / "w.safetensors")
    words = ["video", "shaken.mkv", "-o", "done.mkv", "--network", network, *QUICK, "--steps", "2"]
    assert deblur(*words, "--compare", "run.html") == 0
    assert "Also written: run.html." in capsys.readouterr().err
    found = data_of(clips / "run.html")
    run, facts = found["run"], found["run"]["record"]
    assert [file["name"] for file in found["files"]] == ["shaken.mkv", "done.mkv"]
    assert "2 steps on 6 patches" in run["lines"][0] and facts["options"]["method"] == "meta"
    (adaptation,) = run["adaptations"]
    assert [len(curve["x"]) for curve in adaptation["losses"]] == [2] and adaptation["side"] == 64
    assert [patch["judges"] for patch in adaptation["patches"]].count(False) <= 2
    judged, *strata = adaptation["gains"]
    assert judged["x"] == [0, 2] and judged["y"][1] == facts["adaptations"][0]["looks"][0]["gain"]
    assert strata and all(curve["x"] == [0, 2] for curve in strata)


def test_a_comparison_that_fails_leaves_the_video(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = small_network(clips / "w.safetensors")
    words = ["video", "in.mkv", "-o", "done.mkv", "--method", "none", "--network", network]
    assert deblur(*words, "--compare", "run.gif") == 2
    assert "--compare run.gif is not a name for a comparison" in capsys.readouterr().err
    assert deblur(*words, "--compare", "in.mkv", "--overwrite") == 2
    assert deblur("video", "in.mkv", "out.mkv", "-o", "many/", "--compare", "run.html") == 2
    assert "--compare with several videos; give one video" in capsys.readouterr().err

    def full(*_: Any) -> Any:
        raise OutputError("run.html cannot be written: no space left", "free space")

    monkeypatch.setattr(CompareJob, "make", full)
    assert deblur(*words, "--compare", "run.html") == 3
    assert "but: the comparison was not written: run.html cannot be written: no space left" in capsys.readouterr().err
    assert (clips / "done.mkv").exists() and not (clips / "run.html").exists()
