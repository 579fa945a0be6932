"""YCbCr <-> RGB: zero changes are exact, targets are reached within one code value, siting is the tagged one."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deblurcli.errors import InputError
from deblurcli.media import colour as maths
from deblurcli.media.frames import Frame
from deblurcli.media.layout import PACKED, Colour, PlaneLayout, layout_of, pack, repacks, unpack

MATRICES = [*maths.LUMA_WEIGHTS, "ycgco"]


def layout(pix_fmt: str, matrix: str = "bt709", full: bool = False, siting: str = "left") -> PlaneLayout:
    return layout_of(pix_fmt, Colour("rgb" if "gbr" in pix_fmt else matrix, full, False, siting))


def planes(shape: PlaneLayout, height: int, width: int, low: float = 0.0, high: float = 1.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(height * 1000 + width)
    dtype = np.uint8 if shape.depth <= 8 else np.uint16
    chroma = (-(-height >> shape.shift[1]), -(-width >> shape.shift[0]))
    sizes = {"yuv": [(height, width), chroma, chroma], "rgb": [(height, width)] * 3, "grey": [(height, width)]}
    sizes = sizes[shape.kind] + [(height, width)] * shape.alpha
    return tuple(rng.integers(int(low * shape.top), int(high * shape.top) + 1, s).astype(dtype) for s in sizes)


def rgb_to_codes(rgb: torch.Tensor, shape: PlaneLayout) -> list[torch.Tensor]:
    """The textbook forward transform, in float64, apart from the code under test."""
    red, green, blue = rgb.double()
    if shape.colour.matrix == "ycgco":
        y, u, v = red / 4 + green / 2 + blue / 4, -red / 4 + green / 2 - blue / 4, red / 2 - blue / 2
    else:
        kr, kb = maths.LUMA_WEIGHTS[shape.colour.matrix]
        y = kr * red + (1 - kr - kb) * green + kb * blue
        u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    if shape.colour.full_range:
        return [y * shape.top, u * shape.top + (shape.top + 1) / 2, v * shape.top + (shape.top + 1) / 2]
    unit = 2.0 ** (shape.depth - 8)
    return [(219 * y + 16) * unit, (224 * u + 128) * unit, (224 * v + 128) * unit]


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1), (2, 1), (1, 2), (3, 5)])
@pytest.mark.parametrize("siting", ["left", "centre"])
@pytest.mark.parametrize(
    "pix_fmt",
    ["yuv420p", "yuv422p10le", "yuv444p", "yuv440p", "yuv410p", "yuv411p", "gray", "gbrp12le", "yuva420p", "ya8"],
)
def test_zero_change_is_exact(pix_fmt: str, siting: str, size: tuple[int, int]) -> None:
    shape = layout(pix_fmt, siting=siting)
    source = planes(shape, *size)
    result = maths.add_change(source, shape, torch.zeros(3, *size))
    assert len(result) == len(source)
    for before, after in zip(source, result, strict=True):
        assert before.dtype == after.dtype
        assert (before == after).all()
    rgb = maths.to_rgb(source, shape)
    assert rgb.shape == (3, *size)
    assert rgb.dtype == torch.float32
    assert rgb.is_contiguous()
    assert rgb.min() >= 0 and rgb.max() <= 1


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le", "yuv444p16le"])
def test_a_target_is_reached_within_one_code_value(pix_fmt: str, matrix: str, full: bool) -> None:
    shape = layout(pix_fmt, matrix, full)
    target, start = (torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    dtype = np.uint8 if shape.depth == 8 else np.uint16
    source = tuple(code.round().clamp(0, shape.top).numpy().astype(dtype) for code in rgb_to_codes(start, shape))
    result = maths.add_change(source, shape, target - maths.to_rgb(source, shape))
    for got, wanted in zip(result, rgb_to_codes(target, shape), strict=True):
        # Half a code of rounding, and what the source's own rounding pushed out of the RGB cube.
        error = (torch.from_numpy(got.astype(np.float64)) - wanted).abs()
        assert error.max() <= 1.0 + 2e-5 * shape.top
    assert (maths.to_rgb(result, shape) - target).abs().max() <= 2.5 / (shape.top * (1.0 if full else 0.86))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "name"), [("bt601", "ITU601"), ("bt709", "ITU709"), ("bt2020", "BT2020")])
def test_agrees_with_swscale(matrix: str, name: str, full: bool) -> None:
    """Our reading of matrix and range is FFmpeg's, within swscale's own rounding."""
    from av.video.reformatter import Colorspace

    shape = layout("yuv444p", matrix, full)
    source = tuple(
        code.round().clamp(0, 255).numpy().astype(np.uint8) for code in rgb_to_codes(torch.rand(3, 32, 32), shape)
    )
    frame = pack(source, shape, "yuv444p")
    spoken = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace[name],
        dst_colorspace=Colorspace[name],
        src_color_range="JPEG" if full else "MPEG",
        dst_color_range="JPEG",
        interpolation="ACCURATE_RND",
    )
    theirs = torch.from_numpy(spoken.to_ndarray().copy()).permute(2, 0, 1).float() / 255
    assert (theirs - maths.to_rgb(source, shape)).abs().max() < 3 / 255


def test_primaries_land_where_the_standards_put_them() -> None:
    """BT.601 and BT.709 limited range: white, black and pure red."""
    for matrix, red in (("bt601", (81, 90, 240)), ("bt709", (63, 102, 240))):
        shape = layout("yuv444p", matrix)
        for codes, rgb in (((235, 128, 128), (1, 1, 1)), ((16, 128, 128), (0, 0, 0)), (red, (1, 0, 0))):
            pixel = tuple(np.full((1, 1), code, np.uint8) for code in codes)
            assert (maths.to_rgb(pixel, shape).flatten() - torch.tensor(rgb)).abs().max() < 2.5 / 255


@pytest.mark.parametrize(
    ("siting", "expected"),
    [("left", [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]), ("centre", [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])],
)
def test_chroma_siting(siting: str, expected: list[float]) -> None:
    ramp = np.arange(4, dtype=np.float32)[None]
    assert np.allclose(maths._double_columns(ramp, siting == "centre"), [expected])
    # Averaging a ramp must land on the positions that upsampling starts from.
    position = torch.arange(8.0).view(1, 1, 8)
    halved = maths._halve(position, 2, siting == "centre").flatten()[1:]
    assert torch.allclose(halved, torch.arange(1, 4) * 2 + (0.5 if siting == "centre" else 0.0))


@pytest.mark.parametrize("size", [(47, 63), (1, 1), (2, 1), (1, 5)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "gray", "gbrp", "gbrap"])
def test_bytes_are_the_rounded_floats(pix_fmt: str, size: tuple[int, int]) -> None:
    for siting in ("left", "centre"):
        shape = layout(pix_fmt, siting=siting)
        source = planes(shape, *size)
        exact, found = 255 * maths.to_rgb(source, shape), maths.to_rgb8(source, shape)
        assert found.dtype == torch.uint8 and found.shape == (3, *size) and found.is_contiguous()
        assert (found - exact).abs().max() < 0.501


@pytest.mark.parametrize("siting", ["left", "centre"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "yuv411p", "gray", "gbrp"])
def test_a_flat_change_moves_every_sample_by_the_same_step(pix_fmt: str, siting: str) -> None:
    shape = layout(pix_fmt, siting=siting)
    source = planes(shape, 47, 63, 0.3, 0.6)
    flat = torch.tensor([0.11, -0.07, 0.04])
    result = maths.add_change(source, shape, flat.view(3, 1, 1).expand(3, 47, 63))
    steps = maths.matrix("bt709") @ flat * torch.tensor([219.0, 224.0, 224.0]) * 2 ** (shape.depth - 8)
    if shape.kind == "rgb":
        steps = flat[[1, 2, 0]] * 219
    for before, after, step in zip(source, result, steps, strict=False):
        assert np.abs(after.astype(int) - before - float(step)).max() <= 0.5001


def test_a_change_is_clipped_not_wrapped_and_alpha_is_kept() -> None:
    for pix_fmt in ("yuva420p", "gbrap10le", "ya8"):
        shape = layout(pix_fmt)
        source = planes(shape, 16, 16)
        for sign in (1, -1):
            result = maths.add_change(source, shape, torch.full((3, 16, 16), 5.0 * sign))
            assert (result[0] == (shape.top if sign > 0 else 0)).all()
            assert (result[-1] == source[-1]).all()


def test_wrong_shape_is_refused() -> None:
    shape = layout("yuv420p")
    with pytest.raises(ValueError, match="frame needs"):
        maths.add_change(planes(shape, 48, 64), shape, torch.zeros(3, 64, 48))


@pytest.mark.parametrize("name", [name for name in PACKED if name != "pal8"])
def test_packed_layouts_repack_exactly(name: str) -> None:
    shape = layout(PACKED[name].planar)
    source = planes(shape, 47 if "422" not in shape.pix_fmt else 48, 64)
    frame = pack(source, shape, name)
    assert frame.format.name == name
    for before, after in zip(source, unpack(frame, shape), strict=True):
        assert (before == after).all()


@pytest.mark.parametrize(
    "name",
    ["nv12", "nv21", "p010le", "p210le", "yuyv422", "uyvy422", "rgb24", "bgr0", "argb", "rgba64le", "nv16", "y210le"],
)
def test_packed_layouts_are_ffmpegs(name: str) -> None:
    """swscale's own repacking, which is exact between these pairs, reads back to the same planes."""
    shape = layout(PACKED[name].planar)
    source = planes(shape, 48, 64)
    frame = pack(source, shape, shape.pix_fmt).reformat(format=name)
    for before, after in zip(source, unpack(frame, shape), strict=True):
        assert (before == after).all()


def test_layouts_that_cannot_be_kept_are_refused() -> None:
    for name in ("gbrpf32le", "bayer_rggb8", "monow", "rgb565le", "xyz12le"):
        with pytest.raises(InputError, match=f"{name} is not supported"):
            layout_of(name, Colour("bt709", False, False))
    assert "nv12" in repacks("yuv420p")


def test_frame_applies_the_change() -> None:
    from fractions import Fraction

    shape = layout("yuv420p")
    frame = Frame(planes(shape, 48, 64), shape, 7, Fraction(1, 25), 1)
    after = frame.with_change(torch.full((3, 48, 64), 0.1))
    assert (after.pts, after.duration, after.layout) == (7, 1, shape)
    assert (after.planes[0] >= frame.planes[0]).all()
    assert (after.planes[1] == frame.planes[1]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["yuv420p", "yuv422p", "yuv410p", "yuv440p10le"]))
def test_any_size(height: int, width: int, pix_fmt: str) -> None:
    shape = layout(pix_fmt)
    source = planes(shape, height, width)
    change = torch.randn(3, height, width) * 0.2
    there = maths.add_change(source, shape, change)
    assert [p.shape for p in there] == [p.shape for p in source]
    assert torch.isfinite(maths.to_rgb(there, shape)).all()


def test_speed_of_720p() -> None:
    """Loose: a quiet machine takes 2 to 5 ms for each."""
    shape = layout("yuv420p")
    source = planes(shape, 720, 1280)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        change = torch.zeros(3, 720, 1280)
        for run in (lambda: maths.to_rgb(source, shape), lambda: maths.add_change(source, shape, change)):
            taken = []
            for _ in range(8):
                start = time.process_time()
                run()
                taken.append(time.process_time() - start)
            assert min(taken) < 0.030
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("siting", ["left", "centre"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "gbrp", "gray", "yuva420p"])
def test_large_frames_are_converted_in_parts_to_the_same(
    pix_fmt: str, siting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, size = layout(pix_fmt, siting=siting), (2 * maths.ROWS + 39, 46)
    source = planes(shape, *size)
    change = (torch.rand(3, *size, generator=torch.Generator().manual_seed(1)) - 0.5) / 4
    preview, changed = maths.to_rgb8(source, shape), maths.add_change(source, shape, change.clone())
    monkeypatch.setattr(maths, "LARGE", 16)
    assert (maths.to_rgb8(source, shape) == preview).all()
    for before, after in zip(changed, maths.add_change(source, shape, change), strict=True):
        assert np.abs(before.astype(int) - after.astype(int)).max() <= 1  # sums in another order
        assert (before == after).mean() > 0.999
    for before, after in zip(source, maths.add_change(source, shape, torch.zeros(3, *size)), strict=True):
        assert (before == after).all()
