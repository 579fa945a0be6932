"""Encoders are tried before they are chosen: families, layouts, rates, fields, containers."""

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import pytest
from clips import make_clip, read_times
from zero_change import copy, samples

from deblurcli.errors import OutputError, UsageError
from deblurcli.media import choice
from deblurcli.media.encoders import BROADCAST_RATES, CONTAINERS, DNXHR_DEEP, FRUGAL, QUALITY, Encoding, exists
from deblurcli.media.layout import layout_of
from deblurcli.media.probe import VideoInfo, probe

SIZES = {"dvvideo": (720, 576), "h263": (176, 144)}
"""Sizes of encoders that know a few only; the least that all others take is 256x144."""
LAYOUTS = {"dnxhd": "yuv422p", "rawvideo": "yuv422p", "qtrle": "rgb24", "png": "rgb24", "v210": "yuv422p10le"}
MUXERS = {container.muxer: suffix for suffix, container in CONTAINERS.items()}
PAIRS = [(suffix, name) for suffix in MUXERS.values() for name in CONTAINERS[suffix].encoders if exists(name)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(make_clip(tmp_path_factory.mktemp("plain") / "a.mp4", codec="libx264", frames=2)).video


def best(video: VideoInfo, suffix: str, *names: str) -> Encoding | None:
    return choice._best(video, layout_of(video.pix_fmt, video.colour), suffix, names)[0]


def chosen(video: VideoInfo, suffix: str, **options: object) -> Encoding:
    layout = layout_of(video.pix_fmt, video.colour)
    settings: dict = {"codec": None, "crf": None, "preset": None} | options
    return choice.choose(replace(video, depth=layout.depth), layout, Path(f"b{suffix}"), **settings)


@pytest.mark.parametrize(("suffix", "name"), PAIRS)
def test_every_encoder_of_every_container_is_written_and_read_back(plain: VideoInfo, suffix: str, name: str) -> None:
    width, height = SIZES.get(name, (256, 144))
    offered = [form.name for form in av.Codec(name, "w").video_formats or []]
    video = replace(plain, width=width, height=height, pix_fmt=LAYOUTS.get(name, (offered or ["yuv420p"])[0]))
    found = best(video, suffix, name)
    assert found is not None
    assert found.losses == ()


@pytest.mark.parametrize("base", [Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 1000), Fraction(65537, 10**6)])
@pytest.mark.parametrize("rate", [Fraction(353, 12), Fraction(65537, 2000), Fraction(24000, 1001), Fraction(12), None])
@pytest.mark.parametrize(
    ("suffix", "name"), [(".mp4", "mpeg4"), (".mpg", "mpeg2video"), (".mpg", "mpeg1video"), (".wmv", "wmv2")]
)
def test_a_rate_that_an_encoder_does_not_know(
    plain: VideoInfo, suffix: str, name: str, rate: Fraction | None, base: Fraction
) -> None:
    found = best(replace(plain, rate=rate, time_base=base), suffix, name)
    assert found is not None and found.counted
    assert max(found.rate.numerator, found.rate.denominator) <= 65535
    assert abs(found.rate - (rate or 25)) < 12
    assert found.rate in BROADCAST_RATES or not name.endswith("video")


def test_a_rate_above_the_encoders_most(plain: VideoInfo) -> None:
    fast = replace(plain, rate=Fraction(960), time_base=Fraction(1, 90000))
    assert chosen(fast, ".webm", codec="av1").rate == 240


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", ".mp4"), ("mpeg4", ".mkv"), ("mpeg2video", ".mkv")])
def test_irregular_times_go_past_the_encoders_own_clock(tmp_path: Path, codec: str, suffix: str) -> None:
    pts = [0, 33, 71, 100, 140, 201, 233, 300, 333, 367, 401, 449]
    source = make_clip(
        tmp_path / "a.mkv", codec="libx264", pts=pts, time_base=Fraction(1, 1000), rate=Fraction(353, 12)
    )
    assert copy(source, tmp_path / f"b{suffix}", codec=codec).codec == codec
    assert read_times(tmp_path / f"b{suffix}") == [Fraction(t, 1000) for t in pts]


@pytest.mark.parametrize(
    ("pix_fmt", "suffix", "codec", "written", "lost"),
    [
        ("rgba", ".mp4", "libx264rgb", "rgb24", ("alpha",)),
        ("rgba", ".webm", "libvpx-vp9", "gbrp", ("alpha",)),
        ("rgba", ".mov", "png", "rgba", ()),
        ("rgba", ".mkv", "ffv1", "bgra", ()),
        ("rgb24", ".flv", "flashsv", "bgr24", ()),
        ("yuv420p10le", ".webm", "libsvtav1", "yuv420p10le", ()),
        ("yuv422p10le", ".mxf", "dnxhd", "yuv422p10le", ()),
        ("yuv422p", ".mxf", "mpeg2video", "yuv422p", ()),
        ("yuva444p10le", ".mov", "prores_ks", "yuva444p10le", ()),
        ("yuva444p12le", ".mov", "prores_ks", "yuva444p10le", ()),
        ("yuva420p", ".webm", "libvpx-vp9", "yuva420p", ()),
        ("gbrp12le", ".mov", "libx265", "gbrp12le", ()),
        ("gbrap12le", ".mov", "cfhd", "gbrap12le", ()),
        ("gray12le", ".mkv", "libx265", "gray12le", ()),
        ("yuv420p", ".mpg", "mpeg2video", "yuv420p", ()),
        ("yuv420p", ".wmv", "wmv2", "yuv420p", ()),
    ],
)
def test_what_keeps_the_samples_of_a_foreign_codec(
    plain: VideoInfo, pix_fmt: str, suffix: str, codec: str, written: str, lost: tuple[str, ...]
) -> None:
    found = chosen(replace(plain, codec="cljr", pix_fmt=pix_fmt, width=256, height=144), suffix)
    assert (found.codec, found.pix_fmt, found.losses) == (codec, written, lost)
    assert len(found.notes) == 1 and "instead of cljr" in found.notes[0]
    if lost:
        assert found.cure.startswith("use --codec ffv1 and .mkv")


@pytest.mark.parametrize(("pix_fmt", "suffix"), [("yuv444p10le", ".webm"), ("gbrp16le", ".mp4"), ("yuv444p", ".mpg")])
def test_depth_and_chroma_are_never_given_up(plain: VideoInfo, pix_fmt: str, suffix: str) -> None:
    with pytest.raises(OutputError, match=f"no {suffix} encoder keeps 64x48 {pix_fmt}; use --codec ffv1 and .mkv"):
        chosen(replace(plain, pix_fmt=pix_fmt), suffix)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "profile", "suffix"),
    [
        ("prores_ks", "yuva444p10le", "4444", ".mov"),
        ("prores_ks", "yuv444p10le", "4444xq", ".mov"),
        ("prores_ks", "yuv422p10le", "lt", ".mov"),
        *(("dnxhd", pix_fmt, profile, ".mov") for pix_fmt, profile in DNXHR_DEEP.items()),
        ("dnxhd", "yuv422p", "dnxhr_lb", ".mxf"),
    ],
)
def test_the_familys_own_profile(tmp_path: Path, codec: str, pix_fmt: str, profile: str, suffix: str) -> None:
    options = {"profile": profile}
    source = make_clip(
        tmp_path / f"a{suffix}", codec=codec, pix_fmt=pix_fmt, size=(256, 144), frames=3, options=options
    )
    writer = copy(source, tmp_path / f"b{suffix}")
    before, after = probe(source).video, probe(tmp_path / f"b{suffix}").video
    assert writer.codec == codec
    assert (after.profile, after.pix_fmt) == (before.profile, before.pix_fmt)
    assert [line for line in writer.notes if "10 bits of the 12" in line] == writer.notes
    assert len(writer.notes) == ("444p10le" in pix_fmt and codec == "prores_ks")


def test_dnxhd_gets_the_bit_rate_of_its_size(plain: VideoInfo) -> None:
    video = replace(plain, codec="dnxhd", profile="DNXHD", pix_fmt="yuv422p", width=1280, height=720)
    found = best(video, ".mxf", "dnxhd")
    assert found is not None and found.options["profile"] == "dnxhd" and found.options["b"] == "220M"


def test_few_large_frames_wait_in_an_encoder(plain: VideoInfo) -> None:
    large = replace(plain, width=7680, height=4320)
    for codec, name in (("libx264", "x264-params"), ("libx265", "x265-params")):
        (usual,), (saving,) = (list(choice._options(codec, "yuv420p", video)) for video in (plain, large))
        assert "ref=" not in usual.get(name, "")
        assert saving[name].endswith(FRUGAL[codec][1]) and saving[name].startswith(usual.get(name, ""))
        assert {"ref=1", "bframes=0"} <= set(FRUGAL[codec][1].split(":"))
    found = best(replace(plain, width=5120, height=3200), ".mp4", "libx264")
    assert found is not None and found.options["x264-params"] == FRUGAL["libx264"][1]

    small = best(replace(plain, width=5120, height=3120), ".mp4", "libx264")
    assert small is not None and small.options == QUALITY["libx264"]


@pytest.mark.parametrize("first", ["tff", "bff"])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((suffix, "libx264") for suffix in (".mp4", ".mov", ".mkv", ".ts", ".m2ts")),
        (".ts", "mpeg2video"),
        (".mov", "libx265"),
        (".mkv", "libvpx-vp9"),
        (".mkv", "ffv1"),
    ],
)
def test_fields_keep_their_order(tmp_path: Path, suffix: str, codec: str, first: str) -> None:
    options = {"flags": "+ildct+ilme", "x264-params": f"{first}=1"}
    source = make_clip(tmp_path / "a.mkv", codec="libx264", options=options, frames=4)
    order = {"tff": "tt", "bff": "bb"}[first]
    assert probe(source).video.field_order == order
    copy(source, tmp_path / f"b{suffix}", codec=codec)
    video = probe(tmp_path / f"b{suffix}").video
    assert video.interlaced and video.field_order == order


def test_an_encoder_that_keeps_fields_is_preferred_to_the_inputs_own(plain: VideoInfo) -> None:
    video = replace(plain, codec="hevc", field_order="bb")
    assert chosen(video, ".ts").codec == "libx264"
    assert chosen(video, ".mkv").codec == "libx265"


def test_an_encoder_that_keeps_hdr_data_is_preferred_to_the_inputs_own(plain: VideoInfo) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    video = replace(plain, codec="vp9", side_data={"mastering display": display, "content light level": "1000,400"})
    found = chosen(video, ".webm")
    assert (found.codec, found.losses) == ("libsvtav1", ())
    assert found.notes == ("video encoded as av1 instead of vp9: libvpx-vp9 in .webm loses HDR data",)


@pytest.mark.parametrize(("tag", "suffix", "expected"), [("hvc1", ".mov", "hvc1"), ("hev1", ".mp4", "hev1")])
def test_the_name_of_h265_stays(tmp_path: Path, plain: VideoInfo, tag: str, suffix: str, expected: str) -> None:
    assert chosen(replace(plain, codec="hevc", codec_tag=tag), suffix).codec_tag == expected


def test_h265_from_elsewhere_gets_the_name_that_apple_opens(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="libx265", frames=3)
    for name in ("b.mp4", "b.mov", "b.m4v"):
        copy(source, tmp_path / name)
        assert probe(tmp_path / name).video.codec_tag == "hvc1"


def named_in_avi(path: Path, codec: str, old: bytes, new: bytes, pix_fmt: str = "yuv420p") -> Path:
    """A clip whose codec has another name than its muxer gives it."""
    make_clip(path, codec=codec, pix_fmt=pix_fmt, frames=4, options={"qscale": "2"})
    data = path.read_bytes()
    assert data.count(old) >= 2
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("name", ["XVID", "DX50", "divx"])
def test_the_name_in_avi_stays(tmp_path: Path, name: str) -> None:
    """Players of discs look at it."""
    source = named_in_avi(tmp_path / "a.avi", "mpeg4", b"FMP4", name.encode())
    assert copy(source, tmp_path / "b.avi").differences == []
    assert probe(tmp_path / "b.avi").video.fourcc == name == probe(source).video.fourcc
    copy(source, tmp_path / "b.mp4")
    assert probe(tmp_path / "b.mp4").video.codec_tag == "mp4v"


def test_a_name_that_avi_does_not_take_is_told(tmp_path: Path) -> None:
    source = named_in_avi(tmp_path / "a.avi", "mjpeg", b"MJPG", b"AVDJ", "yuvj420p")
    assert probe(source).video.codec == "mjpeg"
    assert copy(source, tmp_path / "b.avi").differences == ["name of the codec not kept by avi: AVDJ became MJPG"]


def test_an_option_that_an_encoder_lacks_is_cured_by_one_that_works(plain: VideoInfo) -> None:
    """libx264 has no 12 bits."""
    for pix_fmt, cure in (("yuv420p12le", "leave it out"), ("yuv420p", "leave it out, or use --codec libx264")):
        layout = layout_of(pix_fmt, plain.colour)
        with pytest.raises(UsageError) as refused:
            choice.choose(plain, layout, Path("a.mkv"), "ffv1", None, "slow")
        assert str(refused.value) == f"ffv1 has no --preset; {cure}"
    assert choice.choose(plain, layout, Path("a.mkv"), "libx264", None, "slow").options["preset"] == "slow"


@pytest.mark.parametrize(("suffix", "length"), [(".m2ts", 192), (".mts", 192), (".ts", 188)])
def test_packets_of_a_disc(tmp_path: Path, suffix: str, length: int) -> None:
    source = make_clip(tmp_path / "a.ts", codec="libx264", audio="ac3")
    writer = copy(source, tmp_path / f"b{suffix}")
    data = (tmp_path / f"b{suffix}").read_bytes()
    assert len(data) % length == 0 and set(data[length - 188 :: length]) == {0x47}
    assert not [line for line in writer.differences if "dropped" in line]


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_alpha_of_vp8_and_vp9(tmp_path: Path, suffix: str, codec: str) -> None:
    source = make_clip(tmp_path / "a.mkv", pix_fmt="yuva420p")
    writer = copy(source, tmp_path / f"b{suffix}", codec=codec)
    assert writer.pix_fmt == "yuva420p" and not [line for line in writer.differences if "alpha" in line]
    decoder = av.CodecContext.create(codec, "r")
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        assert {k.lower(): v for k, v in container.streams.video[0].metadata.items()}["alpha_mode"] == "1"
        frames = [f for p in container.demux(video=0) for f in decoder.decode(p if p.size else None)]
    assert [frame.format.name for frame in frames] == ["yuva420p"] * 12


def test_alpha_that_hides_nothing_is_no_loss(tmp_path: Path) -> None:
    opaque = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="pal8", frames=3)
    writer = copy(opaque, tmp_path / "b.mp4")
    assert writer.codec == "libx264rgb" and not [line for line in writer.differences if "alpha" in line]


@pytest.mark.parametrize("size", [(16400, 16), (2, 2), (1, 1), (63, 47), (62, 33)])
def test_a_size_that_the_first_encoder_refuses(plain: VideoInfo, size: tuple[int, int]) -> None:
    video = replace(plain, codec="hevc", width=size[0], height=size[1])
    found = chosen(video, ".mkv")
    assert found.losses == ()
    assert found.codec == "libx265" or "libx265 does not open for" in found.notes[0]


@pytest.mark.parametrize("codec", ["dnxhd", "prores", "mjpeg", "jpeg2000", "cfhd"])
def test_codecs_of_the_studio_are_nearly_lossless(tmp_path: Path, codec: str) -> None:
    pix_fmt = "yuv422p" if codec in ("dnxhd", "mjpeg") else "yuv422p10le"
    source = make_clip(tmp_path / "a.mkv", pix_fmt=pix_fmt, size=(256, 144), frames=3)
    copy(source, tmp_path / "b.mov", codec=codec)
    deep = probe(source).video.depth > 8
    a, b = (_flat(samples(path), deep) for path in (source, tmp_path / "b.mov"))
    assert ((a - b) ** 2).mean() ** 0.5 < (1 << (10 if deep else 8)) / 80  # 38 dB


def _flat(frames: list[list[bytes]], deep: bool):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.concatenate([np.frombuffer(p, np.uint16 if deep else np.uint8) for f in frames for p in f]).astype(float)


@cache
def _pcm_clip(folder: Path) -> Path:
    return make_clip(folder / "a.mkv", codec="mpeg2video", audio="pcm_s16le", options={"b": "2M"})


def test_mxf_takes_sound_beside_video(tmp_path: Path) -> None:
    writer = copy(_pcm_clip(tmp_path), tmp_path / "b.mxf")
    assert not [line for line in writer.differences if "dropped" in line]
    assert [other.codec for other in probe(tmp_path / "b.mxf").others] == ["pcm_s16le"]


def test_a_rate_that_mxf_does_not_know_is_told(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="libx264", rate=12)
    assert [
        line for line in copy(source, tmp_path / "b.mxf").differences if "times of " in line and "frames differ" in line
    ]
